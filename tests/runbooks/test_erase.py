"""Erasing one person's data, and proving it."""

import hashlib
import json
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.end_to_end.client import CHAT, Api, Control
from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section

RUNBOOK = section("Erase one person's data, and prove it")
FIND = RUNBOOK.command("--data-urlencode")
DELETE = RUNBOOK.command("/identities/ID")
PURGE = RUNBOOK.command("deleted-identities/ID")
ROWS = RUNBOOK.command("entity query")
WHOLE_TABLE = section("Recover from a lost storage account").command("entity query")


@dataclass(frozen=True)
class Person:
    """A user, and the identity that they have."""

    user_id: str
    identity_id: str

    def traces(self) -> set[str]:
        """What tells of them."""
        return {
            self.user_id,
            self.identity_id,
            hashlib.sha256(self.user_id.encode()).hexdigest(),
        }


@pytest.fixture
async def person(api: Api) -> Person:
    """Somebody whose user id does not fit into an address as it is."""
    user_id = f"o'neil & söhne+{uuid4()}@example.com"
    made = await api.post("identities", {"userId": user_id})
    return Person(user_id, made.assert_success(201)["id"])


async def found_in_table(operator: Operator, person: Person) -> set[str]:
    """Which of their traces the table holds, wherever."""
    table = json.dumps((await operator.runs(WHOLE_TABLE)).json(), ensure_ascii=False)
    return {trace for trace in person.traces() if trace in table}


async def erase(operator: Operator, person: Person) -> list[int]:
    """Steps 2 and 3; how they were answered."""
    deleted = await operator.runs(DELETE, ID=person.identity_id)
    purged = await operator.runs(PURGE, ID=person.identity_id)
    return deleted.statuses + purged.statuses


async def test_the_person_is_found_by_their_user_id(operator: Operator, person: Person) -> None:
    """Whatever is in it."""
    outcome = await operator.runs(FIND, USER=person.user_id)

    assert [each["id"] for each in outcome.json()["value"]] == [person.identity_id]


async def test_a_person_who_is_deleted_is_found_in_the_table(
    api: Api, operator: Operator, person: Person
) -> None:
    """Their user row names the identity; the list of the active ones is empty."""
    await api.delete(f"identities/{person.identity_id}")

    active = (await operator.runs(FIND, USER=person.user_id)).json()["value"]
    rows = (await operator.runs(ROWS, USER=person.user_id)).json()["items"]

    assert active == []
    assert [row["identityId"] for row in rows] == [person.identity_id]


async def test_erasing_leaves_no_trace_in_the_table(operator: Operator, person: Person) -> None:
    """There were all of them before."""
    assert await found_in_table(operator, person) == person.traces()

    assert await erase(operator, person) == [202, 204]

    assert await found_in_table(operator, person) == set()


async def test_erasing_deletes_the_identity_and_its_tokens_in_acs(
    api: Api, operator: Operator, person: Person, control: Control
) -> None:
    """With its chats, in Azure."""
    token = await api.new_token(person.identity_id)
    assert await control.fate(token) == "works"

    await erase(operator, person)

    assert await control.state(person.identity_id) == "deleted"
    assert await control.fate(token) != "works"


async def test_the_proof_fails_before_and_holds_afterwards(
    api: Api, operator: Operator, person: Person
) -> None:
    """Nothing is found, purged, given a token, or in the table."""

    async def proof() -> list[object]:
        found = await operator.runs(FIND, USER=person.user_id)
        rows = await operator.runs(ROWS, USER=person.user_id, ID=person.identity_id)
        token = await api.post(f"identities/{person.identity_id}/tokens", CHAT)
        return [len(found.json()["value"]), len(rows.json()["items"]), token.status]

    assert await proof() == [1, 2, 200]

    await erase(operator, person)

    again = await operator.runs(PURGE, ID=person.identity_id)
    assert [*await proof(), *again.statuses] == [0, 0, 404, 404]


async def test_with_purge_protection_step_three_has_to_wait(
    operate: Operate, person: Person, control: Control
) -> None:
    """403, and the identity stays as it is until its time."""
    protected = operate(settings={"PURGE_PROTECTION": "true"})

    statuses = await erase(protected, person)

    assert statuses == [202, 403]
    assert await control.state(person.identity_id) == "active"
