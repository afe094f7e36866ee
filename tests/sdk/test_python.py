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
    keys = {
        "primary key": azure.client.keys[0],
        "secondary key": azure.client.keys[1],
        "wrong key": random_key(),
    }
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
    """All operations succeed, and tokens are valid until they are revoked."""
    teams = acs.emulator.teams_user()

    async with connect(credential) as client:
        user = await client.create_user()
        token = await client.get_token(user, ["voip"])
        assert acs.verify(token.token)["valid"]
        await client.revoke_tokens(user)
        await client.delete_user(user)
        await client.create_user_and_token(["chat"])
        await client.get_token_for_teams_user(teams.token, teams.app_id, teams.user_id)

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


async def test_a_wrong_key_is_an_authentication_error(connect: Connect) -> None:
    """The error has the code of the service."""
    async with connect("wrong key") as client:
        with pytest.raises(ClientAuthenticationError) as refused:
            await client.create_user()

    assert code_of(refused.value) == "Denied"


async def test_a_user_and_a_token_are_created_together(acs: EmulatorClient, client: Any) -> None:
    """The token is issued for the new user, with the requested lifetime."""
    user, token = await client.create_user_and_token(["chat", "voip"], token_expires_in=HOUR)

    claims = acs.verify(token.token)["claims"]
    assert f"8:{claims['skypeid']}" == user.properties["id"]
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_token_has_the_requested_scopes_and_lifetime(
    acs: EmulatorClient, client: Any
) -> None:
    """The join scopes work too, because the SDK uses api-version 2023-10-01."""
    user = await client.create_user()

    token = await client.get_token(user, ["chat.join", "voip.join"], token_expires_in=HOUR)

    claims = acs.verify(token.token)["claims"]
    assert claims["acsScope"] == "chat.join,voip.join"
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_revoked_token_is_invalid(acs: EmulatorClient, client: Any) -> None:
    """The reason is `revoked`."""
    user, token = await client.create_user_and_token(["voip"])

    await client.revoke_tokens(user)

    assert acs.verify(token.token)["reason"] == "revoked"


async def test_a_deleted_user_is_not_found(client: Any) -> None:
    """The SDK raises its own error for a 404."""
    user = await client.create_user()
    await client.delete_user(user)

    with pytest.raises(ResourceNotFoundError) as refused:
        await client.get_token(user, ["voip"])

    assert code_of(refused.value) == "IdentityNotFound"


async def test_a_teams_token_is_exchanged(acs: EmulatorClient, client: Any) -> None:
    """The access token is valid."""
    teams = acs.emulator.teams_user()

    token = await client.get_token_for_teams_user(teams.token, teams.app_id, teams.user_id)

    assert acs.verify(token.token)["valid"]


async def test_an_expired_teams_token_is_an_authentication_error(
    acs: EmulatorClient, client: Any
) -> None:
    """Its code differs from that of a caller who is not authenticated."""
    teams = acs.emulator.teams_user()

    with pytest.raises(ClientAuthenticationError) as refused:
        await client.get_token_for_teams_user(teams.expired_token, teams.app_id, teams.user_id)

    assert code_of(refused.value) == "InvalidAccessToken"


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
