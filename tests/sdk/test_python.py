"""Microsoft's Python SDK with DefaultAzureCredential, which finds the managed identity endpoint.

The other credentials: tests/local/acs/test_sdk.py.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.identity.aio import CommunicationIdentityClient as AsyncClient
from azure.core.exceptions import ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.identity import DefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential as AsyncCredential

from tests.sdk.conftest import Azure

VARIABLES = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")


class Awaited:
    """The sync client, so that one test serves both: each method runs in a thread."""

    def __init__(self, client: CommunicationIdentityClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)
        return lambda *args, **options: asyncio.to_thread(method, *args, **options)


@pytest.fixture(params=["sync", "async"])
async def client(
    azure: Azure, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """Either client, in an environment as App Service sets it up."""
    for name in VARIABLES:
        monkeypatch.setenv(name, azure.environment[name])
    endpoint, bundle = azure.acs.endpoint, str(azure.acs.bundle)
    if request.param == "sync":
        with (
            DefaultAzureCredential() as credential,
            RequestsTransport(connection_verify=bundle) as transport,
        ):
            yield Awaited(CommunicationIdentityClient(endpoint, credential, transport=transport))
    else:
        async with (
            AsyncCredential() as async_credential,
            AsyncClient(endpoint, async_credential, connection_verify=bundle) as async_client,
        ):
            yield async_client


async def test_create_and_issue(azure: Azure, client: Any) -> None:
    """A new user's token works."""
    user = await client.create_user()

    token = await client.get_token(user, ["voip"])

    assert azure.verify(token.token)["valid"]


async def test_create_with_token(azure: Azure, client: Any) -> None:
    """A user and its token come in one call."""
    user, token = await client.create_user_and_token(["chat"])

    claims = azure.verify(token.token)["claims"]
    assert f"8:{claims['skypeid']}" == user.properties["id"]


async def test_revoke(azure: Azure, client: Any) -> None:
    """A revoked token is dead."""
    user, token = await client.create_user_and_token(["chat"])

    await client.revoke_tokens(user)

    assert azure.verify(token.token)["reason"] == "revoked"


async def test_delete(client: Any) -> None:
    """A deleted user is not found any more."""
    user = await client.create_user()

    await client.delete_user(user)

    with pytest.raises(ResourceNotFoundError):
        await client.get_token(user, ["voip"])


async def test_exchange(azure: Azure, client: Any) -> None:
    """A Teams user's token is exchanged."""
    teams = azure.acs.emulator.teams_user()

    token = await client.get_token_for_teams_user(teams.token, teams.app_id, teams.user_id)

    assert azure.verify(token.token)["valid"]


async def test_one_token_serves_many_calls(azure: Azure, client: Any) -> None:
    """The managed identity endpoint is asked once, not per call."""
    before = azure.identity_requests().get("https://communication.azure.com", 0)

    for _ in range(3):
        await client.create_user()

    after = azure.identity_requests()["https://communication.azure.com"]
    assert after == before + 1
