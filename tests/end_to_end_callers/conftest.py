"""One local Azure for each worker of pytest, and apps before it, with sign-in and without."""

import ssl
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import aiohttp
import pytest
from azure.communication.identity.aio import CommunicationIdentityClient

from local.entra import object_id
from tests.end_to_end_callers.client import Client, Control, Me
from tests.end_to_end_callers.stack import App, Azure, running_app, running_azure

StartApp = Callable[..., Client]


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The local Azure."""
    with running_azure(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="session")
def easy_auth(azure: Azure) -> str:
    """What the Functions host stand-in checks sign-ins with."""
    request = urllib.request.Request(  # noqa: S310 -- our own address
        f"{azure.env['ACS_CONTROL_URL']}/sign-in",
        headers={"x-acs-control-key": azure.env["ACS_CONTROL_KEY"]},
    )
    tls = ssl.create_default_context(cafile=azure.env["SSL_CERT_FILE"])
    with urllib.request.urlopen(request, context=tls) as response:  # noqa: S310 -- the same
        configuration: bytes = response.read()
    return configuration.decode()


@pytest.fixture(scope="session")
def app(azure: Azure, easy_auth: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app behind sign-in."""
    with running_app(azure, tmp_path_factory.mktemp("app"), {}, easy_auth) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """What requests are sent with."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


@pytest.fixture
def client(session: aiohttp.ClientSession, app: App) -> Client:
    """Whoever calls the app that is behind sign-in."""
    return Client(session, app)


@pytest.fixture
def control(session: aiohttp.ClientSession, azure: Azure) -> Control:
    """What stands behind the app."""
    return Control(session, azure)


@pytest.fixture
def start_app(
    azure: Azure,
    session: aiohttp.ClientSession,
    easy_auth: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartApp]:
    """Starts one more app with these settings changed, behind sign-in unless told otherwise."""
    with ExitStack() as apps:

        def start(*, signs_in: bool = True, **changes: str) -> Client:
            folder = tmp_path_factory.mktemp("app")
            checks = easy_auth if signs_in else ""
            return Client(session, apps.enter_context(running_app(azure, folder, changes, checks)))

        yield start


@pytest.fixture
def name() -> str:
    """The name of a user whom nobody has seen before."""
    return f"user-{uuid.uuid4()}"


@pytest.fixture
def oid(name: str) -> str:
    """Their object id in Entra."""
    return object_id(name)


@pytest.fixture
async def me(client: Client, control: Control, name: str) -> Me:
    """The user, signed in."""
    return Me(client, await control.sign_in(name))


@pytest.fixture
async def identity_made_elsewhere(azure: Azure) -> str:
    """An identity that somebody else made in the same resource, past the app."""
    client = CommunicationIdentityClient.from_connection_string(
        azure.env["ACS_CONNECTION_STRING"], connection_verify=azure.env["SSL_CERT_FILE"]
    )
    async with client:
        return str((await client.create_user()).properties["id"])
