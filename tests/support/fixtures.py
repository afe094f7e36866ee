"""Fixtures for tests that run the whole stack. Each worker of pytest has one local Azure."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from uuid import uuid4

import aiohttp
import pytest
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.pipeline.transport import AioHttpTransport

from tests.support.client import Client, Control, Me, http_session
from tests.support.programs import required
from tests.support.stack import HOST_URL, App, Azure, running_app, running_azure
from tools.setup.programs import program

StartApp = Callable[..., Client]


@pytest.fixture(scope="session")
def curl() -> str:
    """The path of curl, for tests of commands that users paste into a shell."""
    return required(partial(program, "curl"))


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The local Azure."""
    with running_azure(tmp_path_factory.mktemp("azure")) as started:
        yield started


@pytest.fixture(scope="session")
def app(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with the settings of the sample."""
    with running_app(azure, tmp_path_factory.mktemp("app")) as started:
        yield started


@pytest.fixture(scope="session")
def app_without_retention(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """A second worker of the same app, whose deleted identities are due at once."""
    settings = {"DELETED_IDENTITY_RETENTION_DAYS": "0"}
    with running_app(azure, tmp_path_factory.mktemp("no-retention"), settings) as started:
        yield started


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The session that sends all requests."""
    async with http_session() as opened:
        yield opened


@pytest.fixture
def api(session: aiohttp.ClientSession, app: App) -> Client:
    """A service that calls the app."""
    return Client(session, app)


@pytest.fixture
def no_retention(session: aiohttp.ClientSession, app_without_retention: App) -> Client:
    """A service that calls the app without retention."""
    return Client(session, app_without_retention)


@pytest.fixture
async def control(session: aiohttp.ClientSession, azure: Azure) -> AsyncIterator[Control]:
    """The emulator's control endpoint. All faults are removed after the test."""
    endpoint = Control(session, azure.env)
    yield endpoint
    await endpoint.clear()


@pytest.fixture
async def foreign_identity(azure: Azure) -> str:
    """The id of an identity that Microsoft's SDK created."""
    transport = AioHttpTransport(
        connection_verify=azure.env["SSL_CERT_FILE"], use_env_settings=False
    )
    async with CommunicationIdentityClient.from_connection_string(
        azure.env["ACS_CONNECTION_STRING"], transport=transport
    ) as sdk:
        return str((await sdk.create_user()).properties["id"])


@pytest.fixture
def user() -> str:
    """The name of a new user."""
    return f"user-{uuid4()}"


@pytest.fixture
async def me(api: Client, control: Control, user: str) -> Me:
    """The new user, signed in."""
    return api.signed_in(await control.sign_in(user))


@pytest.fixture
def start_app(
    azure: Azure, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartApp]:
    """Starts another worker of the app with changed settings, and returns a service that calls it.

    `without` names settings to leave out; `signs_in=False` turns off sign-in.
    """
    with ExitStack() as apps:
        if HOST_URL:
            pytest.skip("starts an app of its own")

        def start(without: Sequence[str] = (), *, signs_in: bool = True, **settings: str) -> Client:
            folder = tmp_path_factory.mktemp("app")
            started = running_app(azure, folder, settings, without, signs_in=signs_in)
            return Client(session, apps.enter_context(started))

        yield start
