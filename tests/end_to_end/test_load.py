"""Many calls at once, and callers who close the connection."""

import asyncio
from uuid import uuid4

import pytest

from tests.support.client import CHAT, Client, Control, Reply, until


async def test_five_hundred_calls_at_once_succeed_with_a_slow_acs(
    api: Client, control: Control
) -> None:
    """All responses come in time, over a bounded number of connections."""
    identity_id = await api.new_identity()
    await control.inject("delay", delaySeconds=0.6)

    replies: list[Reply] = await asyncio.gather(
        *(api.post(f"identities/{identity_id}/tokens", CHAT) for _ in range(500))
    )

    assert len({reply.assert_success()["token"] for reply in replies}) == 500
    assert await control.most_calls_in_flight() <= 100


@pytest.mark.parametrize("path", ["identities", "identities/with-token"])
async def test_a_creation_is_finished_although_the_caller_has_gone(
    api: Client, control: Control, path: str
) -> None:
    """The identity is recorded."""
    before = await control.identities()
    await control.inject("delay", operation="create", when="after", delaySeconds=0.5)
    call = asyncio.create_task(api.post(path, {**CHAT} if "token" in path else None))
    await until(lambda: is_created(control, before))

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
    await until(lambda: is_busy(control))

    for call in leaving:
        call.cancel()
    replies = await asyncio.gather(*staying)

    assert [reply.status for reply in replies] == [200] * 100
    await until(lambda: is_idle(control))
    assert "Traceback" not in api.app.log


async def test_different_calls_at_once_do_not_affect_each_other(api: Client) -> None:
    """25 callers create, use, delete and purge one identity each."""

    async def use_an_identity() -> None:
        body = {"userId": f"user-{uuid4()}", **CHAT}
        created = (await api.post("identities/with-token", body)).assert_success(201)
        path = f"identities/{created['id']}"
        (await api.post(f"{path}/tokens", CHAT)).assert_success()
        (await api.delete(path)).assert_success(202)
        (await api.post(f"{path}/tokens", CHAT)).assert_problem(409, "identity_deleted")
        (await api.delete(f"deleted-{path}")).assert_success(204)

    await asyncio.gather(*(use_an_identity() for _ in range(25)))


async def is_created(control: Control, before: dict[str, str]) -> bool:
    """Whether ACS has created an identity since."""
    return await control.identities() != before


async def is_busy(control: Control) -> bool:
    """Whether many calls to ACS are in flight."""
    return await control.calls_in_flight() > 50


async def is_idle(control: Control) -> bool:
    """Whether no call to ACS is in flight."""
    return await control.calls_in_flight() == 0
