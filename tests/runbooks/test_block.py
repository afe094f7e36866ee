"""The runbook that blocks a user, and what it says about a suspended identity."""

import re
from typing import NamedTuple

import pytest

from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import CHAT, Client, Control, Me, claims, teams_body
from tests.support.stack import Azure

RUNBOOK = section("block-a-user")
FIND = RUNBOOK.command("acsid find")
CREATE = RUNBOOK.command("acsid create")
SUSPEND = RUNBOOK.command("acsid suspend")
RESUME = RUNBOOK.command("acsid resume")


class Call(NamedTuple):
    """A call in the table, with the status and the code of its response."""

    text: str
    status: int
    code: str


CALLS = [
    Call(call, int(status), code)
    for calls, status, code in re.findall(
        r"^\| (`.*?) \| (\d{3})(?: \[?`(\w+)`)?", RUNBOOK.text, re.MULTILINE
    )
    for call in re.findall(r"`([A-Z]+ [\w/-]+)`", calls)
]


async def found(operator: Operator, me: Me) -> str:
    """The id that step 1 prints."""
    output = (await operator.run(FIND, USER=me.user_id)).output
    [identity_id] = re.findall(r"8:acs:\S+", output)
    return str(identity_id)


@pytest.fixture
async def blocked(operator: Operator, me: Me) -> str:
    """The id of a user whom the operator has blocked."""
    (await me.issue()).assert_success()
    identity_id = await found(operator, me)
    await operator.run(SUSPEND, ID=identity_id)
    return identity_id


async def test_a_blocked_user_gets_no_token(operator: Operator, me: Me, control: Control) -> None:
    """Existing tokens are revoked, and the user gets no other one and no other identity."""
    token = (await me.issue()).assert_success()["token"]

    await operator.run(SUSPEND, ID=await found(operator, me))

    assert await control.token_state(token) == "revoked"
    (await me.issue()).assert_problem(409, "identity_suspended")
    (await me.remove()).assert_problem(409, "identity_suspended")


async def test_the_user_gets_tokens_again(operator: Operator, me: Me, blocked: str) -> None:
    """Resuming keeps the identity."""
    await operator.run(RESUME, ID=blocked)

    assert (await me.issue()).assert_success()["id"] == blocked


async def test_a_user_without_an_identity_is_blocked(operator: Operator, me: Me) -> None:
    """The operator creates the identity first."""
    await operator.run(CREATE, USER=me.user_id)

    await operator.run(SUSPEND, ID=await found(operator, me))

    (await me.issue()).assert_problem(409, "identity_suspended")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.text)
async def test_the_responses_are_as_documented(
    operator: Operator, me: Me, control: Control, blocked: str, call: Call
) -> None:
    """Each call of a suspended identity gets the response in the table."""
    method, _, path = call.text.partition(" ")
    caller = me if path.startswith("me") else operator.api
    bodies: dict[str, object] = {
        "POST identities": {"userId": me.user_id},
        "POST identities/ID/tokens": CHAT,
        "POST me/teams-token": {
            "token": await control.teams_token(claims(me.sign_in_token)["oid"])
        },
    }

    reply = await caller.call(method, path.replace("ID", blocked), bodies.get(call.text))

    assert (reply.status, reply.code) == (call.status, call.code)


async def test_the_user_reads_that_they_are_blocked(me: Me, blocked: str) -> None:
    """`GET me` has the state and the date."""
    identity = (await me.read()).assert_success()

    assert (identity["id"], identity["state"]) == (blocked, "suspended")
    assert "suspendedOn" in identity


async def test_a_restore_keeps_the_suspension(api: Client, me: Me, blocked: str) -> None:
    """Deleting and restoring does not lift it."""
    (await api.delete(f"identities/{blocked}")).assert_success(202)

    restored = (await api.post(f"deleted-identities/{blocked}/restore")).assert_success()

    assert restored["state"] == "suspended"
    (await me.issue()).assert_problem(409, "identity_suspended")


async def test_a_service_still_exchanges_teams_tokens(
    api: Client, azure: Azure, blocked: str
) -> None:
    """That call does not use the registry."""
    (await api.post("teams/token", teams_body(azure))).assert_success()
