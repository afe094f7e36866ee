"""Whatever ACS does: a problem from the table, within ten seconds, at a known cost upstream."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import pytest

from tests.end_to_end.client import CHAT, Api, Control, Reply, until
from tests.end_to_end.stack import Azure
from tests.end_to_end.test_quickstart import teams_body

Send = Callable[[], Awaitable[Reply]]


@dataclass(frozen=True)
class Operation:
    """An operation of ours.

    Attributes:
        upstream: What it asks of ACS.
        success: Its status when all goes well.
        repeatable: Whether it may ask ACS again by itself.
    """

    name: str
    upstream: str
    success: int
    method: str
    path: str
    body: object = None
    repeatable: bool = field(default=True, kw_only=True)

    async def ready(self, api: Api, azure: Azure) -> Send:
        """Everything that it needs is there; the call itself is yet to be made."""
        path = self.path
        if path.startswith("deleted-"):
            path = path.format(await api.deleted_identity())
        elif "{}" in path:
            path = path.format(await api.new_identity())
        body = teams_body(azure) if self.name == "exchange" else self.body
        return lambda: api.call(self.method, path, body)


OPERATIONS = [
    Operation("create", "create", 201, "POST", "identities", repeatable=False),
    Operation(
        "create with token", "create", 201, "POST", "identities/with-token", CHAT, repeatable=False
    ),
    Operation("issue", "issue", 200, "POST", "identities/{}/tokens", CHAT),
    Operation("revoke", "revoke", 204, "DELETE", "identities/{}/tokens"),
    Operation("delete", "revoke", 202, "DELETE", "identities/{}"),
    Operation("purge", "delete", 204, "DELETE", "deleted-identities/{}"),
    Operation("exchange", "exchange", 200, "POST", "teams/token"),
]


@dataclass(frozen=True)
class Fault:
    """A fault of ACS and what becomes of it.

    Attributes:
        attempts: How often ACS is asked by an operation that may be repeated.
        retry_after: What the caller is told.
    """

    kind: str
    members: Mapping[str, object]
    status: int
    code: str
    attempts: int
    retry_after: str | None = field(default=None, kw_only=True)


def answer(status: int, **members: object) -> tuple[str, dict[str, object]]:
    """ACS gives this answer instead of its own."""
    return "status", {"status": status, **members}


UNAVAILABLE = (503, "acs_unavailable")
TOO_SLOW = (504, "acs_too_slow")
REFUSED = (502, "acs_refused_us")
THROTTLED = (429, "throttled")
HOUR = {"retryAfter": 3600}

FAULTS = {
    "500": Fault(*answer(500), *UNAVAILABLE, 2),
    "502": Fault(*answer(502), *UNAVAILABLE, 2),
    "503": Fault(*answer(503), *UNAVAILABLE, 2),
    "503 for an hour": Fault(*answer(503, **HOUR), *UNAVAILABLE, 2, retry_after="3600"),
    "503 html": Fault(*answer(503, body="html"), *UNAVAILABLE, 2),
    "503 empty": Fault(*answer(503, body="empty"), *UNAVAILABLE, 2),
    "503 slowly": Fault(*answer(503, delaySeconds=0.1), *UNAVAILABLE, 2),
    "503 after the effect": Fault(*answer(503, when="after"), *UNAVAILABLE, 2),
    "504": Fault(*answer(504), *TOO_SLOW, 2),
    "504 for an hour": Fault(*answer(504, **HOUR), *TOO_SLOW, 2),
    "408": Fault(*answer(408), *TOO_SLOW, 1),
    "408 for an hour": Fault(*answer(408, **HOUR), *TOO_SLOW, 1),
    "429": Fault(*answer(429), *THROTTLED, 1, retry_after="30"),
    "429 for 7 s": Fault(*answer(429, retryAfter=7), *THROTTLED, 1, retry_after="7"),
    "429 for an hour": Fault(*answer(429, **HOUR), *THROTTLED, 1, retry_after="3600"),
    "429 html": Fault(*answer(429, body="html"), *THROTTLED, 1, retry_after="30"),
    "429 empty": Fault(*answer(429, body="empty"), *THROTTLED, 1, retry_after="30"),
    "denied": Fault(*answer(401, code="Denied"), *REFUSED, 1),
    "denied for an hour": Fault(*answer(401, code="Denied", **HOUR), *REFUSED, 1),
    "401 html": Fault(*answer(401, body="html"), *REFUSED, 1),
    "403": Fault(*answer(403, code="Forbidden"), *REFUSED, 1),
    "404 html": Fault(*answer(404, body="html"), *UNAVAILABLE, 1),
    "400 empty": Fault(*answer(400, body="empty"), *UNAVAILABLE, 1),
    "418": Fault(*answer(418), *UNAVAILABLE, 1),
    "dropped before": Fault("drop", {"when": "before"}, *UNAVAILABLE, 2),
    "dropped after": Fault("drop", {"when": "after"}, *UNAVAILABLE, 2),
    "half": Fault("half", {}, *UNAVAILABLE, 2),
}
# Of these a second attempt makes good.
PASSING = [name for name, fault in FAULTS.items() if fault.attempts == 2]


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_that_lasts_is_told_from_the_table(
    api: Api, azure: Azure, control: Control, name: str
) -> None:
    """ACS is asked to create exactly once, and for what can be repeated at most twice."""
    fault = FAULTS[name]
    replies, attempts = {}, {}
    for operation in OPERATIONS:
        send = await operation.ready(api, azure)
        await control.fault(fault.kind, operation=operation.upstream, **fault.members)
        before = await control.attempts(operation.upstream)

        replies[operation.name] = await send()

        attempts[operation.name] = await control.attempts(operation.upstream) - before
        await control.peace()
    for reply in replies.values():
        reply.assert_problem(fault.status, fault.code)
        if fault.retry_after:
            assert reply.headers["Retry-After"] == fault.retry_after
    expected = {each.name: fault.attempts if each.repeatable else 1 for each in OPERATIONS}
    assert attempts == expected


@pytest.mark.parametrize("name", PASSING)
async def test_a_fault_that_strikes_once_is_not_noticed_where_it_can_be_repeated(
    api: Api, azure: Azure, control: Control, name: str
) -> None:
    """Creating is never repeated: the caller is told."""
    fault = FAULTS[name]
    seen, expected = {}, {}
    for operation in OPERATIONS:
        send = await operation.ready(api, azure)
        await control.fault(fault.kind, operation=operation.upstream, times=1, **fault.members)
        before = await control.attempts(operation.upstream)

        reply = await send()

        attempts = await control.attempts(operation.upstream) - before
        seen[operation.name] = (reply.status, attempts)
        expected[operation.name] = (operation.success, 2)
        if not operation.repeatable:
            expected[operation.name] = (fault.status, 1)
        elif operation.name == "purge" and took_effect(fault):
            # The second attempt finds nothing, which of so young an identity proves nothing.
            expected[operation.name] = (503, 2)
        await control.peace()
    assert seen == expected


@pytest.mark.parametrize("name", ["503 for an hour", "429 for an hour", "denied", "dropped before"])
async def test_after_a_fault_the_same_call_succeeds(
    api: Api, azure: Azure, control: Control, name: str
) -> None:
    """Nothing of it sticks."""
    fault = FAULTS[name]
    calls = [await operation.ready(api, azure) for operation in OPERATIONS]
    await control.fault(fault.kind, **fault.members)
    assert {(await call()).status for call in calls} == {fault.status}
    await control.peace()

    replies = [await call() for call in calls]

    assert [reply.status for reply in replies] == [each.success for each in OPERATIONS]


async def test_a_short_delay_is_waited_for(api: Api, azure: Azure, control: Control) -> None:
    """It is no fault."""
    calls = [await operation.ready(api, azure) for operation in OPERATIONS]
    before = await total_attempts(control)
    await control.fault("delay", delaySeconds=1)

    replies = await asyncio.gather(*(call() for call in calls))

    assert [reply.status for reply in replies] == [each.success for each in OPERATIONS]
    assert all(reply.seconds > 1 for reply in replies)
    assert await total_attempts(control) == before + len(OPERATIONS)


async def test_a_token_of_an_unknown_key_is_handed_on(api: Api, control: Control) -> None:
    """The service does not judge ACS's tokens: it has no key to do so."""
    identity_id = await api.new_identity()
    await control.fault("unknownKey", operation="issue")

    reply = await api.post(f"identities/{identity_id}/tokens", CHAT)

    assert await control.fate(reply.assert_success()["token"]) == "signature"


async def test_when_acs_hangs_every_operation_is_answered_in_time(
    api: Api, azure: Azure, control: Control
) -> None:
    """504 within ten seconds, after one attempt each."""
    calls = [await operation.ready(api, azure) for operation in OPERATIONS]
    before = await total_attempts(control)
    await control.fault("hang")

    replies = await asyncio.gather(*(call() for call in calls))

    for reply in replies:
        reply.assert_problem(504, "acs_too_slow")
    assert await total_attempts(control) - before == len(OPERATIONS)


async def test_when_acs_is_out_of_reach_every_operation_is_told_at_once(
    api: Api, azure: Azure, control: Control
) -> None:
    """Refused connections are 503, and when ACS is back all goes on."""
    calls = [await operation.ready(api, azure) for operation in OPERATIONS]
    await control.outage(2)

    replies = await asyncio.gather(*(call() for call in calls))

    for reply in replies:
        reply.assert_problem(503, "acs_unavailable")
        assert reply.seconds < 2
    await control.peace()
    again = await asyncio.gather(*(call() for call in calls))
    assert [reply.status for reply in again] == [each.success for each in OPERATIONS]


async def test_what_acs_creates_after_the_callers_deadline_is_recorded_all_the_same(
    api: Api, control: Control
) -> None:
    """With a user and without, with a token and without: nobody is lost."""
    before = await control.identities()
    await control.fault("hang", operation="create", when="after")
    calls: list[tuple[str, object]] = [
        ("identities", None),
        ("identities/with-token", CHAT),
        ("identities", {"userId": "somebody-who-waits-in-vain"}),
    ]
    replies = await asyncio.gather(*(api.post(*call) for call in calls))
    for reply in replies:
        reply.assert_problem(504, "acs_too_slow")
    new = (await control.identities()).keys() - before.keys()
    assert len(new) == 3

    await control.peace()

    for identity_id in new:
        await until(lambda name=identity_id: is_recorded(api, name))  # type: ignore[misc]  # a lambda's default is untyped
    (await api.post(*calls[2])).assert_success(200)


async def test_a_deletion_that_could_not_revoke_lets_no_token_out(
    api: Api, control: Control
) -> None:
    """The mark stands before ACS is asked; deleting again finishes it."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)
    await control.fault("status", operation="revoke", status=503)
    (await api.delete(f"identities/{identity_id}")).assert_problem(503, "acs_unavailable")

    issued = await api.post(f"identities/{identity_id}/tokens", CHAT)

    issued.assert_problem(409, "identity_deleted")
    assert await control.fate(old) == "works"
    await control.peace()
    (await api.delete(f"identities/{identity_id}")).assert_success(202)
    assert await control.fate(old) == "revoked"


async def test_a_restore_finishes_the_revocation_first(api: Api, control: Control) -> None:
    """As long as ACS does not take it, the identity stays deleted."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)
    await control.fault("status", operation="revoke", status=503)
    await api.delete(f"identities/{identity_id}")
    refused = await api.post(f"deleted-identities/{identity_id}/restore")
    refused.assert_problem(503, "acs_unavailable")
    await control.peace()

    reply = await api.post(f"deleted-identities/{identity_id}/restore")

    reply.assert_success()
    assert await control.fate(old) == "revoked"


async def test_acs_quotas_are_told_as_429(api: Api, control: Control) -> None:
    """Each call beyond the quota is told when to come again, and none is repeated."""
    identity_id = await api.new_identity()
    quota = {"windowSeconds": 60, "limits": {"issue": 5}, "retryAfter": True}
    await control.ask("PUT", "quotas", quota)
    before = await control.attempts("issue")

    replies = await asyncio.gather(
        *(api.post(f"identities/{identity_id}/tokens", CHAT) for _ in range(20))
    )

    assert sorted(reply.status for reply in replies) == [200] * 5 + [429] * 15
    for reply in replies:
        if reply.status == 429:
            reply.assert_problem(429, "throttled")
            assert 0 < int(reply.headers["Retry-After"]) <= 60
    assert await control.attempts("issue") == before + 20


def took_effect(fault: Fault) -> bool:
    """Whether ACS does what it was asked for, in spite of the fault."""
    return fault.kind == "half" or fault.members.get("when") == "after"


async def total_attempts(control: Control) -> int:
    """How often ACS was asked for anything."""
    counts = await control.ask("GET", "counts")
    return sum(each["attempts"] for each in counts["operations"].values())


async def is_recorded(api: Api, identity_id: str) -> bool:
    """Whether the registry has it as active."""
    return (await api.get(f"identities/{identity_id}")).status == 200
