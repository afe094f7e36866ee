"""Recovering from a lost storage account, and from a lost table."""

import re
from uuid import uuid4

import pytest

from tests.end_to_end.client import CHAT, Api, Control, until
from tests.runbooks.conftest import Operate, finds_its_registry
from tests.runbooks.operator import TABLES, Operator
from tests.runbooks.page import section
from tests.runbooks.storage import Account

RUNBOOK = section("Recover from a lost storage account")
DELETE = RUNBOOK.command("DELETE")
COPY = RUNBOOK.command("entity query")
CREATED = re.compile(r"identity_created identity_id=(\S+)")


@pytest.fixture
async def lost_id(caretaker: Operator, account: Account) -> str:
    """An identity that the registry knew before it was lost."""
    identity_id = await caretaker.api.new_identity()
    account.is_lost()
    await until(lambda: finds_its_registry(caretaker.api))
    assert await caretaker.api.all_ids("identities") == []
    return identity_id


async def test_callers_who_know_their_ids_go_on(
    caretaker: Operator, control: Control, lost_id: str
) -> None:
    """Tokens are issued for them as before."""
    token = await caretaker.api.new_token(lost_id)

    assert await control.fate(token) == "works"


async def test_where_strangers_are_refused_they_go_on_once_that_is_off(
    operate: Operate, account: Account, lost_id: str
) -> None:
    """With `REGISTERED_IDENTITIES_ONLY` all of them are strangers now."""
    settings = {TABLES: account.tables.address, "REGISTERED_IDENTITIES_ONLY": "true"}
    strict = operate(settings=settings)
    refused = await strict.api.post(f"identities/{lost_id}/tokens", CHAT)
    refused.assert_problem(404, "identity_not_found")

    await strict.sets(REGISTERED_IDENTITIES_ONLY="false")

    await strict.api.new_token(lost_id)


async def test_a_user_who_is_created_again_gets_a_new_identity(
    caretaker: Operator, account: Account
) -> None:
    """Nobody knows whose the old one was."""
    user = {"userId": f"user-{uuid4()}"}
    before = (await caretaker.api.post("identities", user)).assert_success(201)
    account.is_lost()
    await until(lambda: finds_its_registry(caretaker.api))

    after = (await caretaker.api.post("identities", user)).assert_success(201)

    assert after["id"] != before["id"]


async def test_what_should_not_live_on_is_deleted_by_its_id(
    caretaker: Operator, control: Control, lost_id: str
) -> None:
    """It gets into the registry as deleted, and the sweep deletes it in ACS."""
    outcome = await caretaker.runs(DELETE, ID=lost_id)

    assert outcome.statuses == [202]
    assert await caretaker.api.all_ids("deleted-identities") == [lost_id]
    await caretaker.api.sweep()
    await until(lambda: caretaker.api.is_gone(lost_id))
    assert await control.state(lost_id) == "deleted"


async def test_the_log_names_every_identity_that_there_was(
    caretaker: Operator, account: Account, control: Control
) -> None:
    """However it was created; ACS has no other."""
    others, lines = await control.identities(), len(caretaker.api.app.log)
    await caretaker.api.new_identity()
    await caretaker.api.post("identities", {"userId": f"user-{uuid4()}"})
    await caretaker.api.post("identities/with-token", CHAT)
    account.is_lost()

    named = CREATED.findall(caretaker.api.app.log[lines:])

    assert len(named) == 3
    assert set(named) == (await control.identities()).keys() - others.keys()


async def test_a_lost_table_appears_anew_by_itself(
    caretaker: Operator, account: Account, control: Control
) -> None:
    """Old ids go on, and new ones are written down."""
    old = await caretaker.api.new_identity()
    await account.loses_its_table()
    await until(lambda: finds_its_registry(caretaker.api))

    token = await caretaker.api.new_token(old)
    new = await caretaker.api.new_identity()

    assert await control.fate(token) == "works"
    assert await caretaker.api.all_ids("identities") == [new]


async def test_a_copy_of_the_table_has_every_identity(operator: Operator, api: Api) -> None:
    """With its user, so that both can be written down elsewhere."""
    user_id = f"user-{uuid4()}"
    made = (await api.post("identities", {"userId": user_id})).assert_success(201)

    copy = (await operator.runs(COPY)).json()["items"]

    rows = [row for row in copy if row["RowKey"] == f"i|{made['id']}"]
    assert [row["userId"] for row in rows] == [user_id]
