"""`python -m local token`: asks the local Azure that runs, for the issuer's key is nowhere else."""

import ssl
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp

from local.workplace import CannotStart, Workplace


async def fetch_token(workplace: Workplace, user: str, minutes: float) -> str:
    """A bearer token of that user for the app.

    Raises:
        CannotStart: no local Azure runs in the folder, or it does not give this token.
    """
    env = workplace.read_env()
    if "ACS_CONTROL_URL" not in env:
        raise _nothing_runs(workplace)
    try:
        return await _sign_in(env, {"user": user, "minutes": minutes})
    except (aiohttp.ClientConnectionError, OSError):
        raise _nothing_runs(workplace) from None


async def _sign_in(env: Mapping[str, str], wanted: Mapping[str, object]) -> str:
    tls = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
    headers = {"x-acs-control-key": env["ACS_CONTROL_KEY"]}
    address = f"{env['ACS_CONTROL_URL']}/sign-in"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(address, json=wanted, ssl=tls) as response,
    ):
        answer = await response.json()
    if response.ok:
        return str(answer["token"])
    if response.status == HTTPStatus.NOT_FOUND:
        raise CannotStart("The ACS emulator alone signs nobody in: start `python -m local`.")
    raise CannotStart(f"There is no such token: {answer['error']['message']}.")


def _nothing_runs(workplace: Workplace) -> CannotStart:
    return CannotStart(
        f"No local Azure is running in {workplace.project}: start one with `python -m local`."
    )
