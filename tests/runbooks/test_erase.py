"""The runbook that erases one person's data and proves it."""

import hashlib
import json
from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import CHAT, Client, Control

RUNBOOK = section("erase-one-persons-data-and-prove-it")
FIND = RUNBOOK.command("acsid find")
DELETE = RUNBOOK.command("acsid delete")
PURGE = RUNBOOK.command("acsid purge")
ROWS = RUNBOOK.command("entity query")
# Exit codes of acsid.
REFUSED, NOT_FOUND = 1, 3
WHOLE_TABLE = section("recover-from-a-lost-storage-account").command("entity query")


@dataclass(frozen=True)
class Person:
    """A user and their identity."""

    user_id: str
    identity_id: str

    def traces(self) -> set[str]:
        """Returns everything that identifies the person."""
        return {
            self.user_id,
            self.identity_id,
            hashlib.sha256(self.user_id.encode()).hexdigest(),
        }


@pytest.fixture
async def person(api: Client) -> Person:
    """A person whose user id must be encoded in a URL."""
    user_id = f"o'neil & söhne+{uuid4()}@example.com"
    created = await api.post("identities", {"userId": user_id})
    return Person(user_id, created.assert_success(201)["id"])


async def traces_in_table(operator: Operator, person: Person) -> set[str]:
    """Returns the person's traces that the table contains."""
    table = json.dumps((await operator.run(WHOLE_TABLE)).json(), ensure_ascii=False)
    return {trace for trace in person.traces() if trace in table}


async def erase(operator: Operator, person: Person) -> None:
    """Runs steps 2 and 3."""
    for step in (DELETE, PURGE):
        await operator.run(step, ID=person.identity_id)


async def test_a_deleted_person_is_found_in_the_table(
    api: Client, operator: Operator, person: Person
) -> None:
    """The user row names the identity."""
    await api.delete(f"identities/{person.identity_id}")

    rows = (await operator.run(ROWS, USER=person.user_id)).json()["items"]

    assert [row["identityId"] for row in rows] == [person.identity_id]


async def test_a_deleted_person_is_found(api: Client, operator: Operator, person: Person) -> None:
    """Only the user id is needed."""
    await api.delete(f"identities/{person.identity_id}")

    output = (await operator.run(FIND, USER=person.user_id)).output

    assert person.identity_id in output


async def test_erasing_leaves_no_trace_in_the_table(operator: Operator, person: Person) -> None:
    """Before, the table contains all traces."""
    assert await traces_in_table(operator, person) == person.traces()

    await erase(operator, person)

    assert await traces_in_table(operator, person) == set()


async def test_erasing_deletes_the_identity_and_its_tokens_in_acs(
    api: Client, operator: Operator, person: Person, control: Control
) -> None:
    """In Azure, its chats are deleted too."""
    token = await api.new_token(person.identity_id)
    assert await control.token_state(token) == "valid"

    await erase(operator, person)

    assert await control.state(person.identity_id) == "deleted"
    assert await control.token_state(token) != "valid"


async def test_the_proof_fails_before_and_succeeds_after(
    api: Client, operator: Operator, person: Person
) -> None:
    """Afterwards the person is in no list and no row, and gets no token and no purge."""

    async def proof(found: int) -> list[int]:
        await operator.run(FIND, exit_code=found, USER=person.user_id)
        rows = await operator.run(ROWS, USER=person.user_id, ID=person.identity_id)
        token = await api.post(f"identities/{person.identity_id}/tokens", CHAT)
        return [len(rows.json()["items"]), token.status]

    assert await proof(found=0) == [2, 200]

    await erase(operator, person)

    assert await proof(found=NOT_FOUND) == [0, 404]
    await operator.run(PURGE, exit_code=NOT_FOUND, ID=person.identity_id)


async def test_with_purge_protection_the_purge_must_wait(
    operate: Operate, person: Person, control: Control
) -> None:
    """The purge is refused, and the identity stays in ACS."""
    protected = operate(settings={"PURGE_PROTECTION": "true"})
    await protected.run(DELETE, ID=person.identity_id)

    await protected.run(PURGE, exit_code=REFUSED, ID=person.identity_id)

    assert await control.state(person.identity_id) == "active"
