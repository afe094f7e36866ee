"""The runbook for a lost storage account or a lost table."""

import re
from uuid import uuid4

import pytest

from tests.runbooks.conftest import Account, has_registry
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import CHAT, Client, Control, until

RUNBOOK = section("recover-from-a-lost-storage-account")
DELETE = RUNBOOK.command("acsid delete")
IMPORT = RUNBOOK.command("acsid import")
EXPORT = RUNBOOK.command("acsid export")
COPY = RUNBOOK.command("entity query")
CREATED = re.compile(r"identity_created identity_id=(\S+)")


@pytest.fixture
def api(account_operator: Operator) -> Client:
    """A service that calls the app whose registry is in the account."""
    return account_operator.api


@pytest.fixture
async def lost_id(api: Client, account: Account) -> str:
    """The id of an identity that the registry had before it was lost."""
    identity_id = await api.new_identity()
    account.lose()
    await until(lambda: has_registry(api))
    assert await api.all_ids("identities") == []
    return identity_id


async def test_callers_who_know_their_ids_still_get_tokens(
    api: Client, control: Control, lost_id: str
) -> None:
    """The identity is still in ACS."""
    token = await api.new_token(lost_id)

    assert await control.token_state(token) == "valid"


async def test_a_lost_identity_can_be_deleted(
    account_operator: Operator, api: Client, control: Control, lost_id: str
) -> None:
    """The command registers it as deleted, and the sweep deletes it in ACS."""
    await account_operator.run(DELETE, ID=lost_id)

    assert await api.all_ids("deleted-identities") == [lost_id]
    await api.sweep()
    await until(lambda: api.is_gone(lost_id))
    assert await control.state(lost_id) == "deleted"


async def test_an_export_restores_the_registry(
    account_operator: Operator, api: Client, account: Account
) -> None:
    """After the import, the user has the same identity again."""
    user_id = f"user-{uuid4()}"
    created = (await api.post("identities", {"userId": user_id})).assert_success(201)
    await account_operator.run(EXPORT, FILE="identities.csv")
    account.lose()
    await until(lambda: has_registry(api))

    await account_operator.run(IMPORT, FILE="identities.csv")

    found = (await api.post("identities", {"userId": user_id})).assert_success(200)
    assert found["id"] == created["id"]


async def test_the_log_names_every_identity(
    api: Client, account: Account, control: Control
) -> None:
    """Each way to create one is logged, and ACS has no others."""
    others, logged = await control.identities(), len(api.app.log)
    await api.new_identity()
    await api.post("identities", {"userId": f"user-{uuid4()}"})
    await api.post("identities/with-token", CHAT)
    account.lose()

    named = CREATED.findall(api.app.log[logged:])

    assert len(named) == 3
    assert set(named) == (await control.identities()).keys() - others.keys()


async def test_a_copy_of_the_table_has_every_identity(operator: Operator) -> None:
    """The row of an identity has its user."""
    user_id = f"user-{uuid4()}"
    created = await operator.api.post("identities", {"userId": user_id})

    copy = (await operator.run(COPY)).json()["items"]

    rows = [row for row in copy if row["RowKey"] == f"i|{created.assert_success(201)['id']}"]
    assert [row["userId"] for row in rows] == [user_id]
