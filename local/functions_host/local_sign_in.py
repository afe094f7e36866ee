"""A way for the pages beside the app to sign in. Azure has none: there it is the tenant's own page.

The host holds nobody's signing key. It asks the local Azure's control endpoint, whose key no page
ever sees.
"""

import json
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import aiohttp
import msgspec

from local.functions_host.pipeline import Answer, Handler, Request

# No function's route begins so.
PATH = "/.local/sign-in"
KEY_HEADER = "x-acs-control-key"
# Seconds.
PATIENCE = 10.0


class _Endpoint(msgspec.Struct, frozen=True):
    url: str
    key: str
    certificates: str


@dataclass(frozen=True, repr=False)
class LocalSignIn:
    """Passes sign-ins on to who can sign them.

    It comes before CORS: the answer is for pages of this origin, whoever else is let in to the app.
    """

    url: str
    key: str
    tls: ssl.SSLContext

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `{"url": …, "key": …, "certificates": …}`: the endpoint, its key, its authority.

        Raises:
            ValueError: it is not of that form.
        """
        endpoint = msgspec.json.decode(text, type=_Endpoint)
        try:
            tls = ssl.create_default_context(cafile=endpoint.certificates)
        except OSError as error:
            raise ValueError(f"certificates: {error}") from error
        return cls(endpoint.url, endpoint.key, tls)

    async def layer(self, request: Request, rest: Handler) -> Answer:
        """Answer `POST /.local/sign-in {"user": "alice"}` with `{"token": …}`."""
        if (request.method, request.path) != ("POST", PATH):
            return await rest(request)
        try:
            return await self._ask(request.body)
        except (aiohttp.ClientError, TimeoutError):
            return _problem(HTTPStatus.BAD_GATEWAY, "The local Azure does not answer.")

    async def _ask(self, body: bytes) -> Answer:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with (
            aiohttp.ClientSession(headers={KEY_HEADER: self.key}, timeout=timeout) as session,
            session.post(self.url, data=body, ssl=self.tls) as response,
        ):
            said = await response.json()
        if response.ok:
            return _json(HTTPStatus.OK, "application/json", {"token": said["token"]})
        return _problem(response.status, said["error"]["message"])


def _problem(status: int, detail: str) -> Answer:
    document = {"title": "Nobody was signed in", "status": status, "detail": detail}
    return _json(status, "application/problem+json", document)


def _json(status: int, media_type: str, document: object) -> Answer:
    headers = (("Content-Type", media_type), ("Cache-Control", "no-store"))
    return Answer(status, headers, json.dumps(document).encode())
