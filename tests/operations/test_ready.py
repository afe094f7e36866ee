"""ready: whether ACS and the registry respond, and how late the sweep is."""

import asyncio
import gc
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from identity_service.azure.failures import Kind
from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    RegistryUnavailable,
    ServiceError,
    Throttled,
)
from identity_service.identity import LEASE
from identity_service.operations.status import MAX_AGE, NOBODY, Readiness, ready
from identity_service.policies import CleanupPolicy
from identity_service.resource import ResourceGuard
from identity_service.schemas import NotReadyResponse, ReadyResponse, SweepCheck, SweepStatus
from tests.support.world import ACS_IS_DOWN, HOUR, RETENTION, SECOND, TABLE_IS_DOWN, World

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture
async def readiness(world: World) -> Readiness:
    """The checks of one worker."""
    return world.readiness()


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
    ("error", "code", "kind"),
    [
        (AcsRefusedUs("x", kind="status"), "acs_refused_us", "status"),
        (AcsUnavailable("x", kind="credential"), "acs_unavailable", "credential"),
        *((AcsUnavailable("x", kind=kind), "acs_unavailable", kind) for kind in KINDS),
        (AcsTooSlow("x", kind="timeout"), "acs_too_slow", "timeout"),
    ],
)
async def test_acs_fails(
    world: World, readiness: Readiness, error: ServiceError, code: str, kind: str
) -> None:
    """If ACS fails, the service is not ready. The response has the problem's code and its kind."""
    world.acs.fails("issue_token", error)
    response = await ready(readiness)

    assert (type(response), response.http_status) == (NotReadyResponse, 503)
    assert (response.acs.status, response.acs.kind) == (code, kind)
    assert (response.registry.status, response.registry.kind) == ("ok", None)


@pytest.mark.parametrize("kind", ["credential", *KINDS])
async def test_registry_fails(world: World, readiness: Readiness, kind: str) -> None:
    """If the registry fails, the service is not ready, and the sweep's delay is unknown."""
    world.registry.fails("due_entries", RegistryUnavailable("planned by the test", kind=kind))
    response = await ready(readiness)

    assert (type(response), response.acs.status, response.acs.kind) == (
        NotReadyResponse,
        "ok",
        None,
    )
    assert (response.registry.status, response.registry.kind) == ("registry_unavailable", kind)
    assert response.registry.oldest_overdue_seconds is None


async def test_throttled(world: World, readiness: Readiness) -> None:
    """ACS that throttles responds, so the service is ready. The status says that it throttles."""
    world.acs.fails("issue_token", Throttled("planned by the test", retry_after=30))
    response = await ready(readiness)

    assert (type(response), response.http_status) == (ReadyResponse, 200)
    assert (response.acs.status, response.acs.kind) == ("throttled", None)


async def test_throttled_registry(world: World, readiness: Readiness) -> None:
    """A table that throttles responds too, also while ACS throttles."""
    error = RegistryUnavailable("planned by the test")
    error.throttles, error.kind = True, "status"
    world.registry.fails("due_entries", error)
    world.acs.fails("issue_token", Throttled("planned by the test", retry_after=30))
    response = await ready(readiness)

    assert (type(response), response.http_status) == (ReadyResponse, 200)
    assert (response.registry.status, response.registry.kind) == ("throttled", None)
    assert response.registry.oldest_overdue_seconds is None


async def test_throttled_without_a_registry(world: World, readiness: Readiness) -> None:
    """Throttling does not hide a failure of the registry."""
    world.acs.fails("issue_token", Throttled("planned by the test", retry_after=30))
    world.registry.fails("due_entries", TABLE_IS_DOWN)

    assert (await ready(readiness)).http_status == 503


async def test_no_response(world: World, readiness: Readiness) -> None:
    """ACS and the registry are asked at the same time, for less than six seconds."""
    for service, call in ((world.acs, "issue_token"), (world.registry, "due_entries")):
        service.precede(call, lambda: asyncio.sleep(3600))
    started = world.clock.now()
    response = await ready(readiness)

    assert response.http_status == 503
    assert (response.acs.status, response.registry.status) == ("too_slow", "too_slow")
    assert (response.acs.kind, response.registry.kind) == ("timeout", "timeout")
    assert world.clock.now() - started < timedelta(seconds=6)


async def test_a_registry_that_hangs_is_not_charged_to_acs(world: World) -> None:
    """Whether ACS is the registry's resource is asked apart from whether it responds."""
    world.resource = ResourceGuard(world.acs, world.registry, "")
    world.registry.precede("read_resource", lambda: asyncio.sleep(3600))

    response = await ready(world.readiness())

    assert (response.acs.status, response.registry.status) == ("ok", "ok")


async def test_slow_check_goes_on(world: World, readiness: Readiness) -> None:
    """A slow check is not cancelled: what it waits for is known and logged only at its end."""
    ended = []

    async def wait() -> None:
        await asyncio.sleep(8)
        ended.append(world.clock.now())

    world.acs.precede("issue_token", wait)
    response = await ready(readiness)

    assert (response.acs.status, ended) == ("too_slow", [])
    await world.clock.sleep(5)
    assert len(ended) == 1


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (ACS_IS_DOWN, 0),  # the adapter has logged it
        (ZeroDivisionError("planned by the test"), 1),
    ],
    ids=["outage", "bug"],
)
async def test_error_of_a_slow_check(
    world: World,
    readiness: Readiness,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    lines: int,
) -> None:
    """An error after the response is logged once, and not by asyncio."""

    async def fail() -> None:
        await asyncio.sleep(8)
        raise error

    world.acs.precede("issue_token", fail)
    await ready(readiness)
    await world.clock.sleep(5)
    gc.collect()

    assert [record.getMessage().partition("\n")[0] for record in caplog.records] == [
        "internal_error operation=ready"
    ] * lines


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


async def test_oldest_overdue_teams_access(world: World, readiness: Readiness) -> None:
    """What the sweep has to do about Teams Phone access waits for it too."""
    await world.assign_access()
    world.clock.advance(LEASE + 90 * SECOND)
    await world.deleted()
    response = await ready(readiness)

    assert response.registry.oldest_overdue_seconds == 90


async def test_concurrent_calls(world: World, readiness: Readiness) -> None:
    """A hundred concurrent calls share one check."""
    await asyncio.gather(*(ready(readiness) for _ in range(100)))

    assert world.acs.calls == ["issue_token"]
    assert world.registry.calls == ["read_sweep", "due_entries"]


async def test_age_of_the_result(world: World, readiness: Readiness) -> None:
    """A result is used for ten seconds. The next call checks again."""
    await world.clock.sleep(100)
    world.acs.fails("issue_token", ACS_IS_DOWN)
    first = await ready(readiness)
    await world.clock.sleep(9.9)

    assert await ready(readiness) is first
    await world.clock.sleep(0.1)
    assert (await ready(readiness)).http_status == 200


# The runs of the sweep

MINUTE = timedelta(minutes=1)
# The schedule of the tests is every five minutes, and they start at a full hour.


async def runs(world: World, readiness: Readiness, after: timedelta) -> SweepCheck:
    """What `ready` says about the sweep after this time."""
    world.clock.advance(after)
    await world.clock.sleep(MAX_AGE)
    response = await ready(readiness)
    assert (response.http_status, response.sweep is None) == (200, False)
    assert response.sweep
    return response.sweep


@pytest.mark.parametrize(
    ("passed", "status"),
    [
        (MINUTE, "waiting"),
        (10 * MINUTE, "waiting"),
        (11 * MINUTE, "missed"),
        (100 * HOUR, "missed"),
    ],
)
async def test_sweep_never_ran(
    world: World, readiness: Readiness, passed: timedelta, status: SweepStatus
) -> None:
    """If no sweep has ever run, two runs are missed after the start of the worker."""
    found = await runs(world, readiness, passed)

    assert found == SweepCheck(status=status)


@pytest.mark.parametrize(
    ("passed", "status"),
    [(MINUTE, "ok"), (5 * MINUTE, "ok"), (10 * MINUTE, "ok"), (11 * MINUTE, "missed")],
)
async def test_sweep_stopped_running(
    world: World, readiness: Readiness, passed: timedelta, status: SweepStatus
) -> None:
    """One missed run may be a short outage. Two are reported, with the age of the last sweep."""
    await world.sweep()
    found = await runs(world, readiness, passed)

    age = round((passed + MAX_AGE * SECOND).total_seconds())
    assert found == SweepCheck(status=status, last_started_seconds=age, last_completed_seconds=age)


async def test_sweep_runs_again(world: World, readiness: Readiness) -> None:
    """The next sweep ends the report."""
    missed = await runs(world, readiness, HOUR)
    await world.sweep()
    found = await runs(world, readiness, timedelta())

    assert (missed.status, found.status) == ("missed", "ok")


async def test_sweep_fails_again_and_again(world: World, readiness: Readiness) -> None:
    """Sweeps that start and fail are not missed, but unfinished."""
    await world.sweep()
    world.registry.fails("due_entries", TABLE_IS_DOWN, times=4)
    for _ in range(4):
        world.clock.advance(5 * MINUTE)
        with suppress(RegistryUnavailable):
            await world.sweep()
    found = await runs(world, readiness, timedelta())

    assert found == SweepCheck(
        status="unfinished", last_started_seconds=10, last_completed_seconds=1210
    )


async def test_sweep_takes_long(world: World, readiness: Readiness) -> None:
    """The runs that the host skips while a sweep works within its time budget are not missed."""
    world.cleanup = replace(world.cleanup, time_budget=30 * MINUTE)
    readiness = world.readiness()
    await world.sweep()
    world.registry.fails("record_sweep_end", TABLE_IS_DOWN)
    world.clock.advance(5 * MINUTE)
    await world.sweep()

    assert (await runs(world, readiness, 29 * MINUTE)).status == "ok"
    assert (await runs(world, readiness, 20 * MINUTE)).status == "missed"


@pytest.mark.parametrize(("passed", "status"), [(46 * HOUR, "ok"), (47 * HOUR, "missed")])
async def test_sweep_once_a_day(world: World, passed: timedelta, status: str) -> None:
    """The schedule says which runs are missed."""
    world.cleanup = CleanupPolicy(schedule="0 0 10 * * *")
    await world.sweep()

    found = await runs(world, world.readiness(), passed)

    assert found.status == status


async def test_unknown_runs(world: World, readiness: Readiness) -> None:
    """If the registry does not respond, the response says nothing about the sweep."""
    world.registry.fails("read_sweep", TABLE_IS_DOWN)
    response = await ready(readiness)

    assert (response.registry.status, response.sweep) == ("registry_unavailable", None)


@pytest.mark.parametrize(
    ("passed", "line"),
    [
        (MINUTE, "status=waiting last_started_s=- last_completed_s=-"),
        (HOUR, "status=missed last_started_s=- last_completed_s=-"),
    ],
)
async def test_log_of_the_runs(
    world: World,
    readiness: Readiness,
    caplog: pytest.LogCaptureFixture,
    passed: timedelta,
    line: str,
) -> None:
    """Each check is a line, for the alert and for the metrics."""
    caplog.set_level(logging.INFO)
    await runs(world, readiness, passed)

    assert caplog.messages == [f"sweep_checked {line}"]
