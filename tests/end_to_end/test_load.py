"""Many calls at once, and callers who close the connection."""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from identity_service.limits import OPERATIONS
from tests.support.client import CHAT, Client, Control, until
from tests.support.stack import App

MIB = 1024 * 1024
# How many connections to ACS the app opens at most.
CONNECTIONS = 100


async def test_five_hundred_calls_at_once_succeed_with_a_slow_acs(
    api: Client, control: Control
) -> None:
    """All responses come in time, over a bounded number of connections."""
    identity_id = await api.new_identity()
    await control.inject("delay", delaySeconds=0.6)

    replies = await asyncio.gather(
        *(api.post(f"identities/{identity_id}/tokens", CHAT) for _ in range(500))
    )

    assert len({reply.assert_success()["token"] for reply in replies}) == 500
    assert await control.most_calls_in_flight() <= CONNECTIONS


async def test_two_thousand_callers_while_acs_hangs(api: Client, control: Control) -> None:
    """Every response comes in time, and what the app uses for the callers is bounded.

    The operations that run get 504 at the deadline. All others get 503 at once, and what needs no
    upstream responds. When ACS is back, calls succeed again.
    """
    identity_id = await api.new_identity()
    path = f"identities/{identity_id}/tokens"
    before = memory(api.app)
    await control.inject("hang", operation="issue")
    calls = [asyncio.create_task(api.post(path, CHAT)) for _ in range(OPERATIONS)]

    async def acs_is_full() -> bool:
        return await control.calls_in_flight() == CONNECTIONS

    await until(acs_is_full)
    calls += [asyncio.create_task(api.post(path, CHAT)) for _ in range(2_000 - OPERATIONS)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    others = [await api.get(name) for name in ("health", "openapi.json")]

    # Before the deadline: ACS does not notice at once that a connection is closed.
    peak = await control.most_calls_in_flight()

    replies = await asyncio.gather(*calls)

    assert Counter(reply.code for reply in replies) == {
        "acs_too_slow": OPERATIONS,
        "overloaded": 2_000 - OPERATIONS,
    }
    for reply in replies:
        reply.assert_problem(503 if reply.code == "overloaded" else 504, reply.code)
        if reply.code == "overloaded":
            assert reply.headers["Retry-After"] == "1"
            assert reply.seconds < 5  # there are 1,488 of them on a slow machine
    for other in others:
        other.assert_success()
        assert other.seconds < 5
    assert memory(api.app) - before < 100 * MIB
    assert peak <= CONNECTIONS
    await control.clear()
    (await api.post(path, CHAT)).assert_success()
    assert "Traceback" not in api.app.log


def memory(app: App) -> int:
    """Returns the bytes that the process of the app uses."""
    [kib] = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{app.process.pid}/status").read_text())
    return int(kib) * 1024


@pytest.mark.parametrize("path", ["identities", "identities/with-token"])
async def test_a_creation_is_finished_although_the_caller_has_gone(
    api: Client, control: Control, path: str
) -> None:
    """The identity is recorded."""
    before = await control.identities()
    await control.inject("delay", operation="create", when="after", delaySeconds=0.5)
    call = asyncio.create_task(api.post(path, {**CHAT} if "token" in path else None))

    async def is_created() -> bool:
        return await control.identities() != before

    await until(is_created)

    call.cancel()

    (new,) = (await control.identities()).keys() - before.keys()
    await until(lambda: api.is_active(new))


async def test_callers_who_close_the_connection_do_not_affect_others(
    api: Client, control: Control
) -> None:
    """The other callers succeed, and no call to ACS stays in flight."""
    identity_id = await api.new_identity()
    await control.inject("delay", delaySeconds=0.5)
    path = f"identities/{identity_id}/tokens"
    leaving = [asyncio.create_task(api.post(path, CHAT)) for _ in range(100)]
    staying = [asyncio.create_task(api.post(path, CHAT)) for _ in range(100)]

    async def is_busy() -> bool:
        return await control.calls_in_flight() > 50

    async def is_idle() -> bool:
        return await control.calls_in_flight() == 0

    await until(is_busy)

    for call in leaving:
        call.cancel()
    replies = await asyncio.gather(*staying)

    assert [reply.status for reply in replies] == [200] * 100
    await until(is_idle)
    assert "Traceback" not in api.app.log
