"""The sweep while ACS fails for hours, and afterwards."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from itertools import cycle

import pytest

from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    ServiceError,
    Throttled,
    WrongResource,
)
from identity_service.identity import Identity, State
from identity_service.sweep import CONCURRENCY, OUTAGE, SweepReport
from tests.support.world import RETENTION, World

INTERVAL = timedelta(minutes=5)
SIX_HOURS = 72
DAY = timedelta(days=1)
# The time that the rate limit takes for one call.
SLOT = timedelta(seconds=30) / 400

DOWN = AcsUnavailable("planned by the test")
KINDS = {
    "503": [DOWN],
    "timeouts": [AcsTooSlow("planned by the test")],
    "401": [AcsRefusedUs("planned by the test")],
    "another resource": [WrongResource("planned by the test")],
    "429": [Throttled("planned by the test", retry_after=20)],
    "mixed": [
        DOWN,
        AcsTooSlow("planned by the test"),
        AcsRefusedUs("planned by the test"),
        WrongResource("planned by the test"),
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
        for operation in list(self.operations):
            world.acs.precede(operation, lambda name=operation: self._respond(name), 100_000)

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


def waiting(world: World) -> list[Identity]:
    """The rows that are postponed beyond the next run."""
    limit = world.clock.now() + INTERVAL
    return [row for row in world.registry.rows.values() if row.attempts and row.due > limit]


async def assert_all_done(world: World, to_revoke: list[str], to_purge: list[str]) -> None:
    """One sweep does everything that is due, revocations first, as fast as the rate limit allows."""
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

    assert {row.attempts for row in rows.values()} == {0}
    assert {each: row.due for each, row in rows.items()} == {
        each: row.due for each, row in before.items()
    }
    assert [rows[each] for each in to_revoke] == [before[each] for each in to_revoke]
    if kind not in {"429", "mixed", "another resource"}:
        decided = [row for row in rows.values() if row.state is State.PURGING]
        assert len(decided) <= OUTAGE + CONCURRENCY + SIX_HOURS
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


@pytest.mark.parametrize("kinds", [[DOWN, None], [DOWN, DOWN, DOWN, None], [DOWN, *[None] * 9]])
async def test_after_a_partial_outage(world: World, kinds: list[ServiceError | None]) -> None:
    """After hours in which some of the calls failed, the next sweep does what was postponed."""
    faults = Faults(world, *kinds)
    to_revoke = []
    for _ in range(SIX_HOURS):
        to_revoke += [await delete_new(world) for _ in range(8)]
        await sweep_on_schedule(world)
    faults.end()

    await assert_all_done(world, to_revoke, [])


@pytest.mark.parametrize("count", [1, 20, 47, 60, 500])
async def test_after_an_outage_of_deletions(world: World, count: int) -> None:
    """While only deletions fail, revocations are on time. Then everything is purged at once."""
    to_purge = await purges(world, count)
    faults = Faults(world)
    faults.operations.remove("revoke_tokens")
    for _ in range(SIX_HOURS):
        identity_id = await world.active()
        await world.suspend_unrevoked(identity_id) if False else None
        await sweep_on_schedule(world)
    faults.end()

    await assert_all_done(world, [], to_purge)
