"""Microsoft's own clients, unchanged, over TLS: sync and async, with each credential."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.identity.aio import CommunicationIdentityClient as AsyncClient
from azure.core.credentials import AccessToken, AzureKeyCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.core.pipeline.transport import AioHttpTransport, RequestsTransport

from local.entra import ACS_AUDIENCE, Issuer
from tests.local.acs.served import Served, random_key

CREDENTIALS = ["primary key", "secondary key", "connection string", "Entra token"]
HOUR = timedelta(hours=1)


class EntraCredential:
    """Signs tokens as the tenant does."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the scope that the SDK asks for."""
        assert scopes == (f"{ACS_AUDIENCE}//.default",)
        return AccessToken(self._issuer.sign(ACS_AUDIENCE, 3600), 2**40)


class AsyncEntraCredential:
    """The same, awaited."""

    def __init__(self, issuer: Issuer) -> None:
        self._credential = EntraCredential(issuer)

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for the scope that the SDK asks for."""
        return self._credential.get_token(*scopes, **options)


class Awaited:
    """The sync client, so that one test serves both: each method runs in a thread."""

    def __init__(self, client: CommunicationIdentityClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)
        return lambda *args, **options: asyncio.to_thread(method, *args, **options)


def connect(client: Any, acs: Served, credential: str, **options: Any) -> Any:
    """A client with the credential of that name; faults are not retried."""
    options["retry_total"] = 0
    if credential == "connection string":
        return client.from_connection_string(acs.connection_string, **options)
    entra = AsyncEntraCredential if client is AsyncClient else EntraCredential
    chosen = {
        "primary key": AzureKeyCredential(acs.keys[0]),
        "secondary key": AzureKeyCredential(acs.keys[1]),
        "wrong key": AzureKeyCredential(random_key()),
        "Entra token": entra(acs.issuer),
    }[credential]
    return client(acs.endpoint, chosen, **options)


async def connected(acs: Served, kind: str, credential: str) -> AsyncIterator[Any]:
    """The sync or the async client, until it is no longer needed."""
    ca_file = str(acs.ca_file)
    if kind == "sync":
        with RequestsTransport(connection_verify=ca_file) as transport:
            client = connect(CommunicationIdentityClient, acs, credential, transport=transport)
            yield Awaited(client)
    else:
        async with AioHttpTransport(connection_verify=ca_file) as transport:
            yield connect(AsyncClient, acs, credential, transport=transport)


def code_of(error: HttpResponseError) -> str | None:
    """The service's own code, as the SDK hands it on."""
    return error.error.code if error.error else None


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which of the two clients."""
    return str(request.param)


@pytest.fixture
async def client(acs: Served, kind: str) -> AsyncIterator[Any]:
    """Either client, with the primary key."""
    async for client in connected(acs, kind, "primary key"):
        yield client


@pytest.mark.parametrize("credential", CREDENTIALS)
async def test_the_quickstart_works_with_every_credential(
    acs: Served, kind: str, credential: str
) -> None:
    """Create, issue, revoke, delete: what Microsoft's quickstart does, step by step."""
    async for client in connected(acs, kind, credential):
        user = await client.create_user()
        await client.get_token(user, ["voip"])
        await client.revoke_tokens(user)
        await client.delete_user(user)

    effects = [acs.counts(name) for name in ("create", "issue", "revoke", "delete")]
    assert effects == [(1, 1)] * 4


async def test_a_wrong_key_is_an_authentication_error(acs: Served, kind: str) -> None:
    """With the service's code."""
    async for client in connected(acs, kind, "wrong key"):
        with pytest.raises(ClientAuthenticationError) as refused:
            await client.create_user()

        assert code_of(refused.value) == "Denied"


async def test_a_user_and_its_token_are_made_at_once(acs: Served, client: Any) -> None:
    """The token is the new user's."""
    user, token = await client.create_user_and_token(["chat", "voip"], token_expires_in=HOUR)

    claims = acs.verify(token.token)["claims"]
    assert f"8:{claims['skypeid']}" == user.properties["id"]
    assert claims["exp"] - claims["iat"] == 3600


async def test_a_token_is_issued_with_scopes_and_lifetime(acs: Served, client: Any) -> None:
    """Join scopes too: the SDK speaks api-version 2023-10-01."""
    user = await client.create_user()

    token = await client.get_token(user, ["chat.join", "voip.join"], token_expires_in=HOUR)

    claims = acs.verify(token.token)["claims"]
    assert claims["acsScope"] == "chat.join,voip.join"
    assert claims["exp"] - claims["iat"] == 3600


async def test_revoking_kills_the_token(acs: Served, client: Any) -> None:
    """The verdict changes from valid to revoked."""
    user, token = await client.create_user_and_token(["voip"])

    await client.revoke_tokens(user)

    assert acs.verify(token.token)["reason"] == "revoked"


async def test_a_deleted_user_is_not_found(client: Any) -> None:
    """The SDK's own error for a 404."""
    user = await client.create_user()
    await client.delete_user(user)

    with pytest.raises(ResourceNotFoundError) as refused:
        await client.get_token(user, ["voip"])

    assert code_of(refused.value) == "IdentityNotFound"


async def test_a_teams_token_is_exchanged(acs: Served, client: Any) -> None:
    """Three arguments in, an access token out."""
    teams = acs.emulator.teams_user()

    token = await client.get_token_for_teams_user(teams.token, teams.app_id, teams.user_id)

    assert acs.verify(token.token)["valid"]


async def test_an_expired_teams_token_is_an_authentication_error(acs: Served, client: Any) -> None:
    """With a code that tells it from a failure to authenticate."""
    teams = acs.emulator.teams_user()

    with pytest.raises(ClientAuthenticationError) as refused:
        await client.get_token_for_teams_user(teams.expired_token, teams.app_id, teams.user_id)

    assert code_of(refused.value) == "InvalidAccessToken"


async def test_creating_with_no_scopes_leaves_an_orphan(acs: Served, client: Any) -> None:
    """The service makes an identity, and the SDK stumbles over the token that is not there."""
    with pytest.raises(AttributeError):
        await client.create_user_and_token([])

    assert acs.counts("create") == (1, 1)


async def test_an_html_page_is_an_error_without_a_model(acs: Served, client: Any) -> None:
    """A gateway's answer has no code of the service's."""
    acs.arm(kind="status", status=502, body="html")

    with pytest.raises(HttpResponseError) as refused:
        await client.create_user()

    assert (refused.value.status_code, refused.value.error) == (502, None)


@pytest.mark.parametrize("fault", ["drop", "half"])
async def test_a_broken_connection_is_an_error_of_the_sdk(
    acs: Served, client: Any, fault: str
) -> None:
    """Nothing of the transport's own comes out."""
    acs.arm(kind=fault)

    with pytest.raises(AzureError):
        await client.create_user()


async def test_the_async_client_calls_a_lost_answer_a_lost_request(acs: Served) -> None:
    """ServiceRequestError means "never arrived" elsewhere; here the user has been made."""
    acs.arm(kind="drop", when="after")

    async for client in connected(acs, "async", "primary key"):
        with pytest.raises(ServiceRequestError):
            await client.create_user()

    assert acs.counts("create") == (1, 1)
