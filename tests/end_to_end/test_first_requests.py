"""The first requests of a worker that nobody has warmed up."""

import asyncio
from collections.abc import Awaitable

import pytest

from tests.end_to_end.client import CHAT, Api, Control, Reply, until
from tests.end_to_end.conftest import StartApp

COLD = {"AzureWebJobs.warmup.Disabled": "true"}
ACS, STORAGE = "https://communication.azure.com", "https://storage.azure.com"


async def test_a_hundred_first_requests_ask_once_for_each_token(
    start_app: StartApp, control: Control
) -> None:
    """And all are answered, over no more connections than one client opens."""
    cold = start_app(**COLD)
    before = await control.identity_requests()

    replies = await asyncio.gather(*(cold.post("identities/with-token", CHAT) for _ in range(100)))

    assert len({reply.assert_success(201)["id"] for reply in replies}) == 100
    after = await control.identity_requests()
    assert {name: after[name] - before.get(name, 0) for name in (ACS, STORAGE)} == {
        ACS: 1,
        STORAGE: 1,
    }
    assert await control.most_at_once() <= 100


async def test_the_warm_up_asks_for_the_tokens_ahead(start_app: StartApp, control: Control) -> None:
    """After GET /admin/warmup the first request asks for none."""
    warm = start_app()
    before = await control.identity_requests()

    await warm.call("GET", "warmup", headers={}, prefix="/admin/")

    warmed = await control.identity_requests()
    assert {name: warmed[name] - before.get(name, 0) for name in (ACS, STORAGE)} == {
        ACS: 1,
        STORAGE: 1,
    }
    await warm.new_identity()
    assert await control.identity_requests() == warmed


async def test_the_first_requests_wait_for_a_managed_identity_that_is_slow(
    start_app: StartApp, api: Api, control: Control
) -> None:
    """Two seconds for each token, and every operation succeeds within the promised time."""
    identity_id = await api.new_identity()
    cold = start_app(**COLD)
    await control.trouble(delaySeconds=2)

    replies = await asyncio.gather(*every_operation(cold, identity_id))

    assert [reply.status for reply in replies] == [201, 201, 200, 204, 200, 200]
    assert all(reply.seconds < 10 for reply in replies)


@pytest.mark.parametrize(
    "trouble",
    [{"delaySeconds": 60}, {"status": 500}, {"drop": True}],
    ids=["hanging", "failing", "down"],
)
async def test_without_a_managed_identity_the_first_requests_are_answered_in_time(
    start_app: StartApp, api: Api, control: Control, trouble: dict[str, object]
) -> None:
    """With a problem; and afterwards all is well."""
    identity_id = await api.new_identity()
    cold = start_app(**COLD)
    await control.trouble(**trouble)

    replies = await asyncio.gather(*every_operation(cold, identity_id))

    for reply in replies[:4]:
        reply.assert_problem(503, "acs_unavailable")
    for reply in replies[4:]:
        reply.assert_problem(503, "registry_unavailable")
    await control.peace()
    await until(lambda: answers(cold))


async def test_an_identity_that_a_cold_worker_makes_too_late_is_recorded(
    start_app: StartApp, api: Api, control: Control
) -> None:
    """Five seconds for each of two tokens: the caller has gone when the registry hears of it."""
    cold = start_app(**COLD)
    before = await control.identities()
    await control.trouble(delaySeconds=5)

    reply = await cold.post("identities")

    reply.assert_problem(504, "acs_too_slow")
    (new,) = (await control.identities()).keys() - before.keys()
    await until(lambda: is_recorded(api, new))


async def is_recorded(api: Api, identity_id: str) -> bool:
    """Whether the registry has it as active."""
    return (await api.get(f"identities/{identity_id}")).status == 200


async def answers(api: Api) -> bool:
    """Whether it makes identities."""
    return (await api.post("identities")).status == 201


def every_operation(api: Api, identity_id: str) -> list[Awaitable[Reply]]:
    """Calls that need ACS, the registry, or both."""
    return [
        api.post("identities"),
        api.post("identities/with-token", CHAT),
        api.post(f"identities/{identity_id}/tokens", CHAT),
        api.delete(f"identities/{identity_id}/tokens"),
        api.get(f"identities/{identity_id}"),
        api.get("identities"),
    ]
