"""Many calls at once, and callers who do not wait."""

import asyncio
from uuid import uuid4

import pytest

from tests.end_to_end.client import CHAT, Api, Control, Reply, until


async def test_five_hundred_at_once_do_not_mind_a_slow_acs(api: Api, control: Control) -> None:
    """All are answered well and in time, over a bounded number of connections."""
    identity_id = await api.new_identity()
    await control.fault("delay", delaySeconds=0.6)

    replies: list[Reply] = await asyncio.gather(
        *(api.post(f"identities/{identity_id}/tokens", CHAT) for _ in range(500))
    )

    assert len({reply.assert_success()["token"] for reply in replies}) == 500
    assert await control.most_at_once() <= 100


@pytest.mark.parametrize("path", ["identities", "identities/with-token"])
async def test_what_a_caller_who_hangs_up_asked_for_is_finished(
    api: Api, control: Control, path: str
) -> None:
    """The identity is recorded as if somebody were there to hear of it."""
    before = await control.identities()
    await control.fault("delay", operation="create", when="after", delaySeconds=0.5)
    call = asyncio.create_task(api.post(path, {**CHAT} if "token" in path else None))
    await until(lambda: is_made(control, before))

    call.cancel()

    (new,) = (await control.identities()).keys() - before.keys()
    await until(lambda: is_recorded(api, new))


async def test_callers_who_hang_up_harm_nobody(api: Api, control: Control) -> None:
    """Those who stay are answered, and nothing stays under way."""
    identity_id = await api.new_identity()
    await control.fault("delay", delaySeconds=0.5)
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


async def test_a_hundred_different_calls_at_once_do_not_disturb_each_other(api: Api) -> None:
    """Each walks through its own identity's life."""

    async def walk() -> None:
        body = {"userId": f"walker-{uuid4()}", **CHAT}
        made = (await api.post("identities/with-token", body)).assert_success(201)
        path = f"identities/{made['id']}"
        (await api.post(f"{path}/tokens", CHAT)).assert_success()
        (await api.delete(path)).assert_success(202)
        (await api.post(f"{path}/tokens", CHAT)).assert_problem(409, "identity_deleted")
        (await api.delete(f"deleted-{path}")).assert_success(204)

    await asyncio.gather(*(walk() for _ in range(25)))


async def is_made(control: Control, before: dict[str, str]) -> bool:
    """Whether ACS has made an identity since."""
    return await control.identities() != before


async def is_recorded(api: Api, identity_id: str) -> bool:
    """Whether the registry has it as active."""
    return (await api.get(f"identities/{identity_id}")).status == 200


async def is_busy(control: Control) -> bool:
    """Whether ACS has many calls under way."""
    return await control.under_way() > 50


async def is_idle(control: Control) -> bool:
    """Whether ACS has none."""
    return await control.under_way() == 0
