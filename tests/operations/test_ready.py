"""ready: whether ACS and the registry respond, and how late the sweep is."""

import asyncio
from datetime import timedelta

import pytest

from identity_service.errors import AcsRefusedUs, ServiceError
from identity_service.operations.status import NOBODY, Readiness, ready
from identity_service.schemas import NotReadyResponse, ReadyResponse
from tests.support.world import ACS_IS_DOWN, RETENTION, SECOND, TABLE_IS_DOWN, World


@pytest.fixture
def readiness(world: World) -> Readiness:
    """The checks of one worker."""
    return Readiness(world.acs, world.registry, world.clock)


async def test_both_respond(readiness: Readiness) -> None:
    """If ACS and the registry respond, the service is ready."""
    response = await ready(readiness)

    assert (type(response), response.http_status) == (ReadyResponse, 200)
    assert (response.acs.status, response.registry.status) == ("ok", "ok")
    assert all(0 <= check.latency_ms < 5000 for check in (response.acs, response.registry))


async def test_check_creates_nothing(world: World, readiness: Readiness) -> None:
    """The check asks ACS for a token of an id that cannot exist, which creates nothing."""
    await ready(readiness)

    assert (world.acs.issued_for, world.acs.identities) == ([NOBODY], [])


@pytest.mark.parametrize(
    ("error", "code"),
    [(AcsRefusedUs("no role"), "acs_refused_us"), (ACS_IS_DOWN, "acs_unavailable")],
)
async def test_acs_fails(
    world: World, readiness: Readiness, error: ServiceError, code: str
) -> None:
    """If ACS fails, the service is not ready, and the status has the problem code."""
    world.acs.fails("issue_token", error)
    response = await ready(readiness)

    assert (type(response), response.http_status) == (NotReadyResponse, 503)
    assert (response.acs.status, response.registry.status) == (code, "ok")


async def test_registry_fails(world: World, readiness: Readiness) -> None:
    """If the registry fails, the service is not ready, and the sweep's delay is unknown."""
    world.registry.fails("due_entries", TABLE_IS_DOWN)
    response = await ready(readiness)

    assert (type(response), response.acs.status) == (NotReadyResponse, "ok")
    assert response.registry.status == "registry_unavailable"
    assert response.registry.oldest_overdue_seconds is None


async def test_no_response(world: World, readiness: Readiness) -> None:
    """ACS and the registry are asked at the same time, for at most five seconds."""
    for service, call in ((world.acs, "issue_token"), (world.registry, "due_entries")):
        service.precede(call, lambda: asyncio.sleep(3600))
    started = world.clock.now()
    response = await ready(readiness)

    assert response.http_status == 503
    assert (response.acs.status, response.registry.status) == ("too_slow", "too_slow")
    assert world.clock.now() - started < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("passed", "overdue"),
    [(None, 0), (timedelta(), 0), (RETENTION, 0), (RETENTION + 90 * SECOND, 90)],
    ids=["nothing deleted", "not due", "due", "overdue"],
)
async def test_oldest_overdue(
    world: World, readiness: Readiness, passed: timedelta | None, overdue: int
) -> None:
    """The response says for how long the oldest due entry has been waiting for the sweep."""
    if passed is not None:
        await world.deleted()
        world.clock.advance(passed)
    response = await ready(readiness)

    assert response.registry.oldest_overdue_seconds == overdue


async def test_concurrent_calls(world: World, readiness: Readiness) -> None:
    """A hundred concurrent calls share one check."""
    await asyncio.gather(*(ready(readiness) for _ in range(100)))

    assert (world.acs.calls, world.registry.calls) == (["issue_token"], ["due_entries"])


async def test_age_of_the_result(world: World, readiness: Readiness) -> None:
    """A result is used for ten seconds. The next call checks again."""
    await world.clock.sleep(100)
    world.acs.fails("issue_token", ACS_IS_DOWN)
    first = await ready(readiness)
    await world.clock.sleep(9.9)

    assert await ready(readiness) is first
    await world.clock.sleep(0.1)
    assert (await ready(readiness)).http_status == 200
