"""ready: whether ACS and the registry answer, and how late the sweep is."""

import asyncio
from datetime import timedelta

from identity_service.errors import AcsRefusedUs
from identity_service.operations import ready
from identity_service.readiness import NOBODY, NotReady, Readiness, Ready
from tests.operations.world import ACS_IS_DOWN, RETENTION, SECOND, TABLE_IS_DOWN, World


def readiness(world: World) -> Readiness:
    """What a worker keeps of its looks."""
    return Readiness(world.acs, world.registry, world.clock)


async def test_service_is_ready_when_both_answer(world: World) -> None:
    """200."""
    answer = await ready(readiness(world))

    assert (type(answer), answer.status) == (Ready, 200)
    assert (answer.acs.status, answer.registry.status) == ("ok", "ok")


async def test_looking_creates_nothing(world: World) -> None:
    """ACS is asked for a token of an id that cannot exist."""
    await ready(readiness(world))

    assert (world.acs.asked_for, world.acs.identities) == ([NOBODY], [])


async def test_service_without_the_right_is_not_ready(world: World) -> None:
    """503, with the code that the caller of an operation would get."""
    world.acs.fails("issue_token", AcsRefusedUs("no role"))

    answer = await ready(readiness(world))

    assert (type(answer), answer.status) == (NotReady, 503)
    assert (answer.acs.status, answer.registry.status) == ("acs_refused_us", "ok")


async def test_service_without_acs_is_not_ready(world: World) -> None:
    """503."""
    world.acs.fails("issue_token", ACS_IS_DOWN)

    answer = await ready(readiness(world))

    assert (answer.status, answer.acs.status) == (503, "acs_unavailable")


async def test_service_without_its_registry_is_not_ready(world: World) -> None:
    """503, and nothing is said about the agenda."""
    world.registry.fails("agenda", TABLE_IS_DOWN)

    answer = await ready(readiness(world))

    assert (answer.status, answer.registry.status) == (503, "registry_unavailable")
    assert answer.registry.oldest_overdue_seconds is None


async def test_silent_upstreams_are_too_slow_within_five_seconds(world: World) -> None:
    """Both are asked at once, and neither is waited for for long."""
    for remote, call in ((world.acs, "issue_token"), (world.registry, "agenda")):
        remote.meets(call, lambda: asyncio.sleep(3600))
    started = world.clock.now()

    answer = await ready(readiness(world))

    assert (answer.status, answer.acs.status, answer.registry.status) == (
        503,
        "too_slow",
        "too_slow",
    )
    assert world.clock.now() - started < timedelta(seconds=5)


async def test_empty_agenda_is_not_overdue(world: World) -> None:
    """Zero seconds."""
    answer = await ready(readiness(world))

    assert answer.registry.oldest_overdue_seconds == 0


async def test_what_is_not_yet_due_is_not_overdue(world: World) -> None:
    """A deletion waits for its day."""
    await world.deleted()

    answer = await ready(readiness(world))

    assert answer.registry.oldest_overdue_seconds == 0


async def test_sweep_that_never_runs_is_seen(world: World) -> None:
    """The age of the oldest overdue entry grows."""
    await world.deleted()
    world.clock.forward(RETENTION + 90 * SECOND)

    answer = await ready(readiness(world))

    assert answer.registry.oldest_overdue_seconds == 90


async def test_many_who_ask_at_once_share_one_look(world: World) -> None:
    """A hundred probes are one call to ACS."""
    kept = readiness(world)

    await asyncio.gather(*(ready(kept) for _ in range(100)))

    assert (world.acs.calls, world.registry.calls) == (["issue_token"], ["agenda"])


async def test_look_is_kept_for_a_moment(world: World) -> None:
    """Whoever asks next is told what was seen."""
    kept = readiness(world)
    world.acs.fails("issue_token", ACS_IS_DOWN)
    first = await ready(kept)

    second = await ready(kept)

    assert second == first


async def test_look_is_old_after_ten_seconds(world: World) -> None:
    """ACS is back: it is seen."""
    kept = readiness(world)
    world.acs.fails("issue_token", ACS_IS_DOWN)
    await ready(kept)
    await world.clock.sleep(10)

    answer = await ready(kept)

    assert answer.status == 200
