"""Microsoft's Python SDK: its sync and its async client, with each kind of credential."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.identity.aio import CommunicationIdentityClient as AsyncClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.core.pipeline.transport import AioHttpTransport, RequestsTransport
from azure.identity import DefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential as AsyncCredential

from tests.local.acs.support import EmulatorClient, random_key
from tests.sdk.conftest import Azure

CREDENTIALS = ["primary key", "secondary key", "connection string", "managed identity"]
HOUR = timedelta(hours=1)

Connect = Callable[[str], AbstractAsyncContextManager[Any]]


class AwaitableClient:
    """The sync client with async methods, so that one test can use both clients."""

    def __init__(self, client: CommunicationIdentityClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)
        return lambda *args, **options: asyncio.to_thread(method, *args, **options)


def new_client(client: Any, azure: Azure, credential: str, entra: Any, transport: Any) -> Any:
    """A client with this credential. It does not retry."""
    options = {"transport": transport, "retry_total": 0}
    if credential == "connection string":
        return client.from_connection_string(azure.acs.connection_string, **options)
    primary, secondary = azure.client.keys
    keys = {"primary key": primary, "secondary key": secondary, "wrong key": random_key()}
    key = keys.get(credential)
    return client(azure.acs.endpoint, AzureKeyCredential(key) if key else entra, **options)


def code_of(error: HttpResponseError) -> str | None:
    """The error code of the service, as the SDK returns it."""
    return error.error.code if error.error else None


@pytest.fixture
def acs(azure: Azure) -> EmulatorClient:
    """The emulator without identities, faults or counts."""
    azure.client.control("POST", "/reset")
    return azure.client


@pytest.fixture(params=["sync", "async"])
def connect(
    azure: Azure, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Connect:
    """Connects the sync or the async client, in an environment like that of App Service."""
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, azure.environment[name])
    bundle = str(azure.acs.bundle)

    @asynccontextmanager
    async def connect(credential: str) -> AsyncIterator[Any]:
        if request.param == "sync":
            with (
                DefaultAzureCredential() as entra,
                RequestsTransport(connection_verify=bundle) as transport,
            ):
                client = CommunicationIdentityClient
                yield AwaitableClient(new_client(client, azure, credential, entra, transport))
        else:
            async with (
                AsyncCredential() as async_entra,
                AioHttpTransport(connection_verify=bundle) as async_transport,
            ):
                yield new_client(AsyncClient, azure, credential, async_entra, async_transport)

    return connect


@pytest.fixture
async def client(acs: EmulatorClient, connect: Connect) -> AsyncIterator[Any]:
    """The sync or the async client, with the primary key."""
    async with connect("primary key") as client:
        yield client


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_every_operation_works_with_every_credential(
    acs: EmulatorClient, connect: Connect, credential: str
) -> None:
    """Tokens are as requested and valid until they are revoked, and each call has one effect."""
    teams = acs.emulator.teams_user()

    async with connect(credential) as client:
        user, first = await client.create_user_and_token(["chat", "voip"], token_expires_in=HOUR)
        second = await client.get_token(user, ["chat.join", "voip.join"], token_expires_in=HOUR)
        verified = [acs.verify(each.token) for each in (first, second)]
        await client.revoke_tokens(user)
        revoked = acs.verify(second.token)
        await client.delete_user(user)
        await client.create_user()
        exchanged = await client.get_token_for_teams_user(teams.token, teams.app_id, teams.user_id)

    for result, scopes in zip(verified, ("chat,voip", "chat.join,voip.join"), strict=True):
        claims = result["claims"]
        assert result["valid"]
        assert f"8:{claims['skypeid']}" == user.properties["id"]
        assert (claims["acsScope"], claims["exp"] - claims["iat"]) == (scopes, 3600)
    assert revoked["reason"] == "revoked"
    assert acs.verify(exchanged.token)["valid"]
    effects = [acs.counts(name) for name in ("create", "issue", "revoke", "delete", "exchange")]
    assert effects == [(2, 2), (1, 1), (1, 1), (1, 1), (1, 1)]


async def test_one_managed_identity_token_serves_many_requests(
    azure: Azure, acs: EmulatorClient, connect: Connect
) -> None:
    """DefaultAzureCredential gets its token from the managed identity endpoint, once."""
    before = azure.identity_requests()

    async with connect("managed identity") as client:
        for _ in range(3):
            await client.create_user()

    assert azure.identity_requests() == before + 1


async def test_refused_credentials_are_authentication_errors(
    acs: EmulatorClient, connect: Connect
) -> None:
    """An expired Teams token has another code than a wrong key."""
    teams = acs.emulator.teams_user()

    async with connect("wrong key") as client:
        with pytest.raises(ClientAuthenticationError) as denied:
            await client.create_user()
    async with connect("primary key") as client:
        with pytest.raises(ClientAuthenticationError) as expired:
            await client.get_token_for_teams_user(teams.expired_token, teams.app_id, teams.user_id)

    assert (code_of(denied.value), code_of(expired.value)) == ("Denied", "InvalidAccessToken")


async def test_a_deleted_user_is_not_found(client: Any) -> None:
    """The SDK raises its own error for a 404."""
    user = await client.create_user()
    await client.delete_user(user)

    with pytest.raises(ResourceNotFoundError) as refused:
        await client.get_token(user, ["voip"])

    assert code_of(refused.value) == "IdentityNotFound"


async def test_creating_with_no_scopes_loses_the_identity(acs: EmulatorClient, client: Any) -> None:
    """The service creates an identity without a token, and the SDK fails to read the response."""
    with pytest.raises(AttributeError):
        await client.create_user_and_token([])

    assert acs.counts("create") == (1, 1)


async def test_an_html_error_has_no_code(acs: EmulatorClient, client: Any) -> None:
    """The error page of a gateway has a status, but no code of the service."""
    acs.add_fault(kind="status", status=502, body="html")

    with pytest.raises(HttpResponseError) as refused:
        await client.create_user()

    assert (refused.value.status_code, refused.value.error) == (502, None)


@pytest.mark.parametrize("fault", ["drop", "half"])
async def test_a_broken_connection_is_an_azure_error(
    acs: EmulatorClient, client: Any, fault: str
) -> None:
    """The SDK does not raise the errors of its HTTP library."""
    acs.add_fault(kind=fault)

    with pytest.raises(AzureError):
        await client.create_user()


@pytest.mark.parametrize("connect", ["async"], indirect=True)
async def test_the_async_client_reports_a_lost_response_as_a_lost_request(
    acs: EmulatorClient, client: Any
) -> None:
    """It raises ServiceRequestError, although the service has created the identity."""
    acs.add_fault(kind="drop", when="after")

    with pytest.raises(ServiceRequestError):
        await client.create_user()

    assert acs.counts("create") == (1, 1)
