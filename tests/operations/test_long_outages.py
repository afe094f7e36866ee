"""The sweep while ACS fails for hours, and afterwards."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from itertools import cycle

import pytest

from identity_service.due_work import CONCURRENCY, OUTAGE, SweepReport
from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    RegistryUnavailable,
    ServiceError,
    Throttled,
    WrongResource,
)
from identity_service.identity import DueEntry, DueKind, Identity, State, SweepRecord
from tests.support.virtual_time import START
from tests.support.world import RETENTION, TABLE_IS_DOWN, World

INTERVAL = timedelta(minutes=5)
SIX_HOURS = 72
DAY = timedelta(days=1)
# The time that the rate limit takes for one call.
SLOT = timedelta(seconds=30) / 400

DOWN = AcsUnavailable("planned by the test")
KINDS: dict[str, list[ServiceError]] = {
    "503": [DOWN],
    "timeouts": [AcsTooSlow("planned by the test")],
    "401": [AcsRefusedUs("planned by the test")],
    "429": [Throttled("planned by the test", retry_after=20)],
    "mixed": [
        DOWN,
        AcsTooSlow("planned by the test"),
        AcsRefusedUs("planned by the test"),
        Throttled("planned by the test", retry_after=5),
    ],
}


class Faults:
    """Lets calls of the sweep to ACS fail.

    Attributes:
        kinds: The errors, in turn. A call for which it has None succeeds.
        operations: The calls that fail.
    """

    def __init__(self, world: World, *kinds: ServiceError | None) -> None:
        self.operations = {"revoke_tokens", "delete"}
        self._world = world
        self._kinds = cycle(kinds or [DOWN])
        for operation in self.operations:
            world.acs.precede(operation, partial(self._respond, operation), 100_000)

    async def _respond(self, operation: str) -> None:
        error = next(self._kinds) if operation in self.operations else None
        if isinstance(error, AcsTooSlow):
            await self._world.clock.sleep(9)
        if error:
            raise error

    def end(self) -> None:
        """From now on ACS works."""
        self.operations.clear()


async def purges(world: World, count: int) -> list[str]:
    """The ids of identities whose purge is due."""
    ids = [await world.deleted() for _ in range(count)]
    world.clock.advance(RETENTION)
    return ids


async def revocations(world: World, count: int) -> list[str]:
    """The ids of deleted identities whose revocation is due."""
    ids = [await world.unrevoked() for _ in range(count)]
    world.pass_lease()
    return ids


async def delete_new(world: World) -> str:
    """The id of an identity that a caller deletes now, whatever ACS says."""
    identity_id = await world.active()
    with suppress(ServiceError):
        await world.delete(identity_id)
    return identity_id


async def sweep_on_schedule(world: World) -> SweepReport:
    """Wait for the next run of the timer, and sweep."""
    world.clock.advance(INTERVAL)
    return await world.sweep()


def dues(rows: Mapping[str, Identity]) -> dict[str, tuple[datetime | None, int]]:
    """When each row is due, and how often it has failed."""
    return {each: (row.due, row.attempts) for each, row in rows.items()}


async def assert_all_done(world: World, to_revoke: list[str], to_purge: list[str]) -> None:
    """One sweep does everything, revocations first, as fast as the rate limit allows."""
    world.acs.calls.clear()
    report = await sweep_on_schedule(world)

    assert [each for each in to_revoke if not world.row(each).revoked] == []
    assert [each for each in to_purge if not world.is_gone(each)] == []
    assert (report.backlog, report.deferred) == (0, 0)
    revoked, purged = (Counter(world.acs.calls)[name] for name in ("revoke_tokens", "delete"))
    assert world.acs.calls == ["revoke_tokens"] * revoked + ["delete"] * purged
    assert report.duration <= (revoked + purged) * SLOT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [20, 47, 60, 500])
async def test_six_hours_without_acs(world: World, count: int, kind: str) -> None:
    """Nothing counts as an attempt or is postponed, and the first sweep with ACS does everything.

    The decision to purge may be written, for no more entries than an outage has.
    """
    to_purge = await purges(world, count // 2)
    to_revoke = await revocations(world, count - count // 2)
    before = dict(world.registry.rows)
    faults = Faults(world, *KINDS[kind])
    for _ in range(SIX_HOURS):
        await sweep_on_schedule(world)
    rows = world.registry.rows

    assert dues(rows) == dues(before)
    assert [rows[each] for each in to_revoke] == [before[each] for each in to_revoke]
    if kind in {"503", "timeouts", "401"}:
        decided = [row for row in rows.values() if row.state is State.PURGING]
        assert len(decided) < OUTAGE + CONCURRENCY + SIX_HOURS
    faults.end()
    await assert_all_done(world, to_revoke, to_purge)


async def test_new_deletions_during_the_outage(world: World) -> None:
    """What callers delete while ACS is down is revoked first, before older purges."""
    to_purge = await purges(world, 60)
    faults = Faults(world)
    to_revoke = []
    for _ in range(SIX_HOURS):
        to_revoke.append(await delete_new(world))
        await sweep_on_schedule(world)
    faults.end()

    await assert_all_done(world, to_revoke, to_purge)


async def test_after_a_partial_outage(world: World) -> None:
    """After hours in which three of four calls failed, nothing is postponed."""
    faults = Faults(world, DOWN, DOWN, DOWN, None)
    to_revoke = []
    for _ in range(SIX_HOURS):
        to_revoke += [await delete_new(world) for _ in range(8)]
        await sweep_on_schedule(world)
    faults.end()

    await assert_all_done(world, to_revoke, [])


@pytest.mark.parametrize("count", [1, 60, 500])
async def test_after_an_outage_of_deletions(world: World, count: int) -> None:
    """While only deletions fail, revocations are on time. Then everything is purged at once."""
    to_purge = await purges(world, count)
    faults = Faults(world)
    for _ in range(SIX_HOURS):
        new = await delete_new(world)
        faults.operations = {"delete"}
        await sweep_on_schedule(world)
        faults.operations = {"delete", "revoke_tokens"}

        assert world.row(new).revoked
    faults.end()

    await assert_all_done(world, [], to_purge)


async def test_entry_that_fails_alone(world: World) -> None:
    """If ACS works for others, the failure of one counts, and it waits for its next attempt."""
    [bad, *others] = await purges(world, 3)
    world.acs.fails("delete", DOWN)
    await world.sweep()

    assert (world.row(bad).attempts, [*map(world.is_gone, others)]) == (1, [True, True])


async def test_other_resource_hides_nothing(world: World) -> None:
    """More identities of another resource than an outage has do not hide a revocation."""
    foreign = await revocations(world, 2 * OUTAGE)
    [revocation] = await revocations(world, 1)
    world.acs.fails("revoke_tokens", WrongResource("planned by the test"), len(foreign))
    report = await world.sweep()

    assert world.row(revocation).revoked
    assert (report.deferred, {world.row(each).attempts for each in foreign}) == (len(foreign), {1})


async def test_failures_of_some_hide_nothing(world: World) -> None:
    """Many entries that always fail hide no new revocation, and older ones not for ever."""
    bad = set(await revocations(world, 3 * OUTAGE))
    good = await revocations(world, 2)
    bad |= set(await revocations(world, OUTAGE))
    acs = world.acs

    class Picky(type(acs)):  # type: ignore[misc]  # the class of the fake
        """ACS fails for some identities."""

        def _require(self, identity_id: str) -> None:
            if identity_id in bad:
                raise DOWN
            super()._require(identity_id)

    acs.__class__ = Picky
    [new] = await revocations(world, 1)
    await sweep_on_schedule(world)
    is_revoked_at_once = world.row(new).revoked
    for _ in range(SIX_HOURS):
        await sweep_on_schedule(world)

    assert is_revoked_at_once
    assert all(world.row(each).revoked for each in good)


async def test_two_sweeps_at_once(world: World) -> None:
    """Two sweeps during the outage and after it do everything once."""
    to_purge, to_revoke = await purges(world, 60), await revocations(world, 60)
    faults = Faults(world, *KINDS["mixed"])
    for _ in range(3):
        world.clock.advance(INTERVAL)
        await asyncio.gather(world.sweep(), world.sweep())
    faults.end()
    world.clock.advance(INTERVAL)
    one, other = await asyncio.gather(world.sweep(), world.sweep())

    assert one.purged + other.purged == len(to_purge)
    assert all(map(world.is_gone, to_purge))
    assert all(world.row(each).revoked for each in to_revoke)
    assert world.due_entries() == sorted(
        DueEntry(world.row(each).scheduled_purge_on or START, each, DueKind.PURGE)
        for each in to_revoke
    )


async def test_outage_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """One line says that no entry could be processed, and names the last problem."""
    await revocations(world, 3)
    Faults(world, DOWN)
    await world.sweep()

    [line] = [each for each in caplog.messages if each.startswith("sweep_without_acs ")]
    assert line == "sweep_without_acs failed=3 code=acs_unavailable"


# The record of the sweep


async def test_record_of_a_sweep(world: World) -> None:
    """Its start and its end are recorded."""
    await due_soon(world)
    started = world.clock.now()
    await world.sweep()

    assert world.registry.swept == SweepRecord(
        last_started_on=started, last_completed_on=world.clock.now()
    )
    assert world.clock.now() > started


async def due_soon(world: World) -> None:
    """Two revocations, so that a sweep takes some time."""
    await revocations(world, 2)


async def test_record_of_a_failed_sweep(world: World) -> None:
    """A sweep that fails records its start, and not its end."""
    await world.sweep()
    ended = world.clock.now()
    world.clock.advance(INTERVAL)
    world.registry.fails("due_entries", TABLE_IS_DOWN)
    with pytest.raises(RegistryUnavailable):
        await world.sweep()

    assert world.registry.swept.last_started_on == world.clock.now()
    assert world.registry.swept.last_completed_on == ended


@pytest.mark.parametrize("call", ["record_sweep_start", "record_sweep_end"])
async def test_record_fails(world: World, caplog: pytest.LogCaptureFixture, call: str) -> None:
    """A sweep that cannot be recorded does its work all the same, and logs it."""
    [identity_id] = await revocations(world, 1)
    world.registry.fails(call, TABLE_IS_DOWN)
    await world.sweep()

    assert world.row(identity_id).revoked
    assert "sweep_not_recorded code=registry_unavailable kind=-" in caplog.messages
