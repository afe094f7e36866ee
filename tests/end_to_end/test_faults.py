"""What callers see while ACS fails, and how many calls to ACS it costs."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.support.client import CHAT, Client, Control, Reply, teams_body, until
from tests.support.stack import Azure

Send = Callable[[], Awaitable[Reply]]


@dataclass(frozen=True)
class Operation:
    """An operation of the app that calls ACS.

    Attributes:
        upstream: The operation of ACS.
        success: The status of a success.
        repeatable: Whether the app may retry it.
    """

    name: str
    upstream: str
    success: int
    method: str
    path: str
    body: object = None
    repeatable: bool = field(default=True, kw_only=True)

    async def prepare(self, api: Client, azure: Azure) -> Send:
        """Creates what the call needs, and returns the call."""
        path = self.path
        if path.startswith("deleted-"):
            path = path.format(await api.deleted_identity())
        elif "{}" in path:
            path = path.format(await api.new_identity())
        body = teams_body(azure) if self.name == "exchange" else self.body
        return lambda: api.call(self.method, path, body)


# Seconds without ACS: more than the calls that are refused need on a busy machine.
OUTAGE = 6
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
    """A fault of ACS, and the response of the app.

    Attributes:
        attempts: How many calls a repeatable operation sends to ACS.
        retry_after: The Retry-After header.
    """

    kind: str
    fields: Mapping[str, object]
    status: int
    code: str
    attempts: int
    retry_after: str | None = field(default=None, kw_only=True)


def response(status: int, **fields: object) -> tuple[str, dict[str, object]]:
    """ACS sends this response."""
    return "status", {"status": status, **fields}


UNAVAILABLE = (503, "acs_unavailable")
TOO_SLOW = (504, "acs_too_slow")
REFUSED = (502, "acs_refused_us")
THROTTLED = (429, "throttled")
HOUR = {"retryAfter": 3600}

FAULTS = {
    "500": Fault(*response(500), *UNAVAILABLE, 2),
    "502": Fault(*response(502), *UNAVAILABLE, 2),
    "503": Fault(*response(503), *UNAVAILABLE, 2),
    "503 for an hour": Fault(*response(503, **HOUR), *UNAVAILABLE, 2, retry_after="3600"),
    "503 html": Fault(*response(503, body="html"), *UNAVAILABLE, 2),
    "503 empty": Fault(*response(503, body="empty"), *UNAVAILABLE, 2),
    "503 slowly": Fault(*response(503, delaySeconds=0.1), *UNAVAILABLE, 2),
    "503 after the effect": Fault(*response(503, when="after"), *UNAVAILABLE, 2),
    "504": Fault(*response(504), *TOO_SLOW, 2),
    "504 for an hour": Fault(*response(504, **HOUR), *TOO_SLOW, 2),
    "408": Fault(*response(408), *TOO_SLOW, 1),
    "408 for an hour": Fault(*response(408, **HOUR), *TOO_SLOW, 1),
    "429": Fault(*response(429), *THROTTLED, 1, retry_after="30"),
    "429 for 7 s": Fault(*response(429, retryAfter=7), *THROTTLED, 1, retry_after="7"),
    "429 for an hour": Fault(*response(429, **HOUR), *THROTTLED, 1, retry_after="3600"),
    "429 html": Fault(*response(429, body="html"), *THROTTLED, 1, retry_after="30"),
    "429 empty": Fault(*response(429, body="empty"), *THROTTLED, 1, retry_after="30"),
    "denied": Fault(*response(401, code="Denied"), *REFUSED, 1),
    "denied for an hour": Fault(*response(401, code="Denied", **HOUR), *REFUSED, 1),
    "401 html": Fault(*response(401, body="html"), *REFUSED, 1),
    "403": Fault(*response(403, code="Forbidden"), *REFUSED, 1),
    "404 html": Fault(*response(404, body="html"), *UNAVAILABLE, 1),
    "400 empty": Fault(*response(400, body="empty"), *UNAVAILABLE, 1),
    "418": Fault(*response(418), *UNAVAILABLE, 1),
    "dropped before": Fault("drop", {"when": "before"}, *UNAVAILABLE, 2),
    "dropped after": Fault("drop", {"when": "after"}, *UNAVAILABLE, 2),
    "half": Fault("half", {}, *UNAVAILABLE, 2),
}
# A retry succeeds if these occur once.
PASSING = {name: fault for name, fault in FAULTS.items() if fault.attempts == 2}


Inject = Callable[..., Awaitable[dict[str, tuple[Reply, int]]]]


@pytest.fixture
def inject(api: Client, azure: Azure, control: Control) -> Inject:
    """Calls each operation under a fault; returns the replies and the numbers of calls of ACS."""

    async def call_each(fault: Fault, **fields: object) -> dict[str, tuple[Reply, int]]:
        seen = {}
        for operation in OPERATIONS:
            send = await operation.prepare(api, azure)
            fields = {**fault.fields, **fields, "operation": operation.upstream}
            await control.inject(fault.kind, **fields)
            before = await control.attempts(operation.upstream)
            reply = await send()
            seen[operation.name] = reply, await control.attempts(operation.upstream) - before
            await control.clear()
        return seen

    return call_each


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_lasting_fault_is_a_documented_problem(inject: Inject, fault: Fault) -> None:
    """Creation is attempted once, and repeatable operations at most twice."""
    seen = await inject(fault)

    for reply, _ in seen.values():
        reply.assert_problem(fault.status, fault.code)
        if fault.retry_after:
            assert reply.headers["Retry-After"] == fault.retry_after
    expected = {each.name: fault.attempts if each.repeatable else 1 for each in OPERATIONS}
    assert {name: attempts for name, (_, attempts) in seen.items()} == expected


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_a_fault_that_occurs_once_is_hidden_by_a_retry(inject: Inject, fault: Fault) -> None:
    """Creation is never retried: the caller gets the problem."""
    expected = {
        each.name: (each.success, 2) if each.repeatable else (fault.status, 1)
        for each in OPERATIONS
    }
    if fault.kind == "half" or fault.fields.get("when") == "after":
        # ACS deletes at the first attempt. The second gets 404, which proves nothing about an
        # identity this young.
        expected["purge"] = (503, 2)

    seen = await inject(fault, times=1)

    assert {name: (reply.status, attempts) for name, (reply, attempts) in seen.items()} == expected


async def test_when_acs_hangs_every_operation_responds_in_time(
    api: Client, azure: Azure, control: Control
) -> None:
    """The response is 504 within ten seconds, after one attempt."""
    calls = [await operation.prepare(api, azure) for operation in OPERATIONS]
    before = await total_attempts(control)
    await control.inject("hang")

    replies = await asyncio.gather(*(call() for call in calls))

    for reply in replies:
        reply.assert_problem(504, "acs_too_slow")
    assert await total_attempts(control) - before == len(OPERATIONS)


async def test_when_acs_refuses_connections_every_operation_responds_at_once(
    api: Client, azure: Azure, control: Control
) -> None:
    """The response is 503, and calls succeed as soon as ACS is back."""
    calls = [await operation.prepare(api, azure) for operation in OPERATIONS]
    await control.outage(OUTAGE)

    replies = await asyncio.gather(*(call() for call in calls))

    for reply in replies:
        reply.assert_problem(503, "acs_unavailable")
        assert reply.seconds < OUTAGE
    await control.clear()
    again = await asyncio.gather(*(call() for call in calls))
    assert [reply.status for reply in again] == [each.success for each in OPERATIONS]


async def test_identities_created_after_the_deadline(
    api: Client, control: Control, user: str
) -> None:
    """Only the one that has a user becomes active: nobody would find the others.

    Later calls log the lines that the host dropped because the response had been sent.
    """
    before = await control.identities()
    await control.inject("hang", operation="create", when="after")
    calls: list[tuple[str, object]] = [
        ("identities", None),
        ("identities/with-token", CHAT),
        ("identities", {"userId": user}),
    ]
    replies = await asyncio.gather(*(api.post(*call) for call in calls))
    for reply in replies:
        reply.assert_problem(504, "acs_too_slow")
    new = (await control.identities()).keys() - before.keys()
    assert len(new) == 3

    await control.clear()

    async def is_logged(identity_id: str) -> bool:
        await api.get(f"identities/{identity_id}")
        line = rf"identity_created identity_id={identity_id} .* replayed=true"
        return re.search(line, api.app.log) is not None

    for identity_id in new:
        await until(partial(is_logged, identity_id))
    found = (await api.post(*calls[2])).assert_success(200)["id"]
    assert {each for each in new if await api.is_active(each)} == {found}


async def total_attempts(control: Control) -> int:
    """Returns how many calls ACS has received so far."""
    return sum((await control.all_attempts()).values())
