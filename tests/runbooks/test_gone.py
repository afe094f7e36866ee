"""The runbook that replaces an identity which something else has deleted in ACS."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient

from identity_service.azure.registries import TableRegistry
from identity_service.azure.table import TABLE
from identity_service.identity import YOUNG, Identity
from tests.runbooks.conftest import created_elsewhere
from tests.runbooks.operator import TABLES, Operator
from tests.runbooks.page import section
from tests.support.azurite import StorageAccount
from tests.support.client import CHAT, Client
from tests.support.stack import Azure

RUNBOOK = section("replace-an-identity-that-acs-has-lost")
DELETE_AND_PURGE = RUNBOOK.command("acsid purge")
CREATE = RUNBOOK.command("acsid create")

Lose = Callable[[str], Awaitable[None]]


@pytest.fixture
def lose(azure: Azure) -> Lose:
    """Deletes an identity in ACS without the app, an hour after the registry got to know it."""
    account = StorageAccount(azure.settings[TABLES], Path(azure.env["SSL_CERT_FILE"]))

    async def delete_in_acs(identity_id: str) -> None:
        async with account.table(TABLE) as table:
            registry = TableRegistry(table)
            row = await registry.read(identity_id)
            assert row
            await registry.update(row, _older(row))
        client = CommunicationIdentityClient.from_connection_string(
            azure.env["ACS_CONNECTION_STRING"], connection_verify=azure.env["SSL_CERT_FILE"]
        )
        async with client:
            await client.delete_user(CommunicationUserIdentifier(identity_id))

    return delete_in_acs


def _older(row: Identity) -> Identity:
    hour = YOUNG + timedelta(seconds=1)
    return msgspec.structs.replace(
        row,
        created_on=row.created_on and row.created_on - hour,
        known_on=row.known_on and row.known_on - hour,
    )


@pytest.mark.parametrize("is_registered", [False, True])
async def test_its_user_gets_another_identity(
    api: Client, operator: Operator, azure: Azure, lose: Lose, is_registered: bool
) -> None:
    """Before, every token is refused for the same reason, whoever created the identity."""
    user = {"userId": f"gone-{is_registered}@example.com"}
    if is_registered:
        gone = await created_elsewhere(azure)
        (await api.call("PUT", f"identities/{gone}", user)).assert_success(201)
    else:
        gone = (await api.post("identities", user)).assert_success(201)["id"]
    await lose(gone)
    refused = [
        await api.post(f"identities/{gone}/tokens", CHAT),
        await api.post("identities/with-token", {**user, **CHAT}),
        await api.delete(f"identities/{gone}/tokens"),
    ]
    assert {one.assert_problem(404, "identity_gone")["identityId"] for one in refused} == {gone}

    await operator.run(DELETE_AND_PURGE, ID=gone)
    await operator.run(CREATE, USER=user["userId"])

    issued = (await api.post("identities/with-token", {**user, **CHAT})).assert_success(200)
    assert issued["id"] != gone
