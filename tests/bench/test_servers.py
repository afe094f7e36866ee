"""The two quickstarts that the app is compared with."""

from collections.abc import Iterator

import aiohttp
import pytest

from bench.speed import QUICKSTART_FOLDER
from bench.stack import running_express
from tests.support.client import CHAT, Client, Control
from tests.support.stack import App, Azure, running_app


@pytest.fixture(scope="module", params=["Functions", "Express"])
def quickstart(
    azure: Azure, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[App]:
    """A running quickstart."""
    running = {
        "Functions": running_app(azure, tmp_path_factory.mktemp("app"), root=QUICKSTART_FOLDER),
        "Express": running_express(azure),
    }
    with running[request.param] as started:
        yield started


async def test_a_quickstart_issues_a_token(
    session: aiohttp.ClientSession, quickstart: App, foreign_identity: str, control: Control
) -> None:
    """ACS accepts the token."""
    headers = {"x-functions-key": quickstart.function_key, "Content-Type": "application/json"}
    path = f"identities/{foreign_identity}/tokens"

    issued = await Client(session, quickstart, headers).post(path, CHAT)

    assert await control.token_state(issued.json()["token"]) == "valid"


async def test_a_host_responds_without_a_token(
    session: aiohttp.ClientSession, quickstart: App, control: Control
) -> None:
    """What is measured as the host's own cost calls nothing."""
    before = await control.all_attempts()

    reply = await Client(session, quickstart).post("nothing", CHAT)

    assert (reply.status, reply.json()) == (200, {})
    assert await control.all_attempts() == before
