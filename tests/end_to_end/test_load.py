"""Many calls at once, and callers who close the connection."""

import asyncio

import pytest

from local.functions_host.host import CALLS_AT_ONCE
from tests.support.client import CHAT, Client, Control, until


async def test_five_hundred_calls_at_once_succeed_with_a_slow_acs(
    api: Client, control: Control
) -> None:
    """All responses come in time, although one instance gets only some of the calls at a time."""
    identity_id = await api.new_identity()
    await control.inject("delay", delaySeconds=0.2)

    replies = await asyncio.gather(
        *(api.post(f"identities/{identity_id}/tokens", CHAT) for _ in range(500))
    )

    assert len({reply.assert_success()["token"] for reply in replies}) == 500


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
    before = await control.attempts("issue")
    leaving = [asyncio.create_task(api.post(path, CHAT)) for _ in range(100)]
    staying = [asyncio.create_task(api.post(path, CHAT)) for _ in range(100)]

    async def is_busy() -> bool:
        return await control.attempts("issue") - before >= CALLS_AT_ONCE

    async def is_idle() -> bool:
        return await control.calls_in_flight() == 0

    await until(is_busy)

    for call in leaving:
        call.cancel()
    replies = await asyncio.gather(*staying)

    assert [reply.status for reply in replies] == [200] * 100
    await until(is_idle)
    assert "Traceback" not in api.app.log
