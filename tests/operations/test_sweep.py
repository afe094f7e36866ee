"""purge_deleted_identities: it finishes what is due, at its pace, within its time."""

import asyncio
import logging
from datetime import datetime, timedelta

import pytest

from identity_service.errors import IdentityNotFound, Throttled
from identity_service.model import CleanupPolicy, DeletionPolicy
from identity_service.operations.purge_deleted_identities import CONCURRENCY, COUNTED, OUTAGE
from identity_service.rows import AgendaRow, IdentityRow, State
from tests.operations.virtual_time import START
from tests.operations.world import (
    ACS_IS_DOWN,
    CONFLICT,
    HOUR,
    RETENTION,
    SECOND,
    TABLE_IS_DOWN,
    UNKNOWN,
    World,
)

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


async def due_for_purge(world: World, count: int) -> list[str]:
    """Deleted identities whose time has come, a microsecond apart, in the order of their dues."""
    ids = []
    for _ in range(count):
        ids.append(await world.deleted())
        world.clock.forward(timedelta(microseconds=1))
    world.clock.forward(RETENTION)
    return ids


class Deletions:
    """When ACS was asked to delete, and how many of these calls were under way at most."""

    def __init__(self, world: World, duration: timedelta = timedelta()) -> None:
        self.times: list[datetime] = []
        self.most = 0
        self._world = world
        self._duration = duration
        self._under_way = 0
        world.acs.meets("delete", self._delete, times=1000)

    async def _delete(self) -> None:
        self.times.append(self._world.clock.now())
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        await self._world.clock.sleep(self._duration.total_seconds())
        self._under_way -= 1


# What is due, and what becomes of it.


async def test_nothing_is_due_in_an_empty_registry(world: World) -> None:
    """One question, and no answer."""
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (0, 0, 0)
    assert world.registry.calls == ["agenda"]


async def test_deleted_identity_is_purged_when_its_time_has_come(world: World) -> None:
    """In ACS, its row, its agenda row and its user's claim."""
    identity_id = await world.deleted("alice")
    world.clock.forward(RETENTION)

    report = await world.sweep()

    assert (report.due, report.purged) == (1, 1)
    assert world.is_gone(identity_id)


async def test_deleted_identity_is_not_purged_before_its_time(world: World) -> None:
    """Not a second."""
    identity_id = await world.deleted()
    before = world.row(identity_id)
    world.clock.forward(RETENTION - SECOND)

    report = await world.sweep()

    assert (report.due, world.row(identity_id)) == (0, before)


async def test_retention_of_zero_is_purged_by_the_next_sweep(world: World) -> None:
    """Deleted now, gone with the next sweep."""
    world.deletion = DeletionPolicy(retention=timedelta(0))
    identity_id = await world.deleted()

    await world.sweep()

    assert world.is_gone(identity_id)


async def test_purge_protection_does_not_hold_the_sweep_back(world: World) -> None:
    """It forbids to purge ahead of time only."""
    world.deletion = DeletionPolicy(retention=RETENTION, purge_protection=True)
    identity_id = await world.deleted()
    world.clock.forward(RETENTION)

    await world.sweep()

    assert world.is_gone(identity_id)


async def test_active_identities_cost_nothing(world: World) -> None:
    """They are neither read nor counted."""
    for _ in range(20):
        await world.active()
    before = len(world.registry.calls)

    await world.sweep()

    assert world.registry.calls[before:] == ["agenda"]


async def test_unfinished_revocation_is_finished(world: World) -> None:
    """Its caller died or was answered 503: the deletion is then as any other."""
    identity_id = await world.unrevoked()
    world.pass_lease()

    report = await world.sweep()

    assert (report.revoked, report.purged) == (1, 0)
    assert world.row(identity_id) == IdentityRow(
        id=identity_id,
        state=State.DELETED,
        created_on=START,
        deleted_on=START,
        scheduled_purge_on=START + RETENTION,
        revoked=True,
        due=START + RETENTION,
    )


async def test_unfinished_revocation_is_left_to_its_caller_for_a_lease(world: World) -> None:
    """The caller may be alive."""
    await world.unrevoked()

    report = await world.sweep()

    assert (report.due, world.acs.revocations) == (0, [])


async def test_revocation_kills_the_tokens(world: World) -> None:
    """All that were issued before the mark."""
    created = await world.create_with_token()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    with pytest.raises(type(ACS_IS_DOWN)):
        await world.delete(created.id)
    world.pass_lease()

    await world.sweep()

    assert not world.acs.is_alive(created.token)


async def test_unrevoked_identity_whose_time_has_come_is_purged(world: World) -> None:
    """Deleting in ACS revokes: it is not revoked first."""
    identity_id = await world.unrevoked()
    world.clock.forward(RETENTION)

    report = await world.sweep()

    assert (report.revoked, report.purged, world.acs.revocations) == (0, 1, [])
    assert world.is_gone(identity_id)


async def test_own_identity_that_acs_does_not_know_is_revoked_all_the_same(world: World) -> None:
    """What does not exist has no tokens."""
    identity_id = await world.unrevoked()
    world.acs.identities.remove(identity_id)
    world.pass_lease()

    report = await world.sweep()

    assert (report.revoked, world.row(identity_id).revoked) == (1, True)


async def test_phantom_goes_out(world: World) -> None:
    """Deleted while ACS was down, and never there: its row is no deletion."""
    await world.phantom()
    world.pass_lease()

    report = await world.sweep()

    assert (report.revoked, report.purged, report.deferred) == (0, 0, 0)
    assert world.is_gone(UNKNOWN)


async def test_creation_whose_creator_died_is_purged(world: World) -> None:
    """With its user's claim."""
    identity_id = await world.creating("alice")
    world.pass_lease()

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


async def test_creation_under_way_is_left_alone(world: World) -> None:
    """For as long as its lease lasts."""
    identity_id = await world.creating()

    report = await world.sweep()

    assert (report.due, world.row(identity_id).state) == (0, State.CREATING)


async def test_purge_that_died_is_finished(world: World) -> None:
    """From the call to ACS on."""
    identity_id = await world.purging("alice")
    world.pass_lease()

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


async def test_purge_is_claimed_before_acs_deletes(world: World) -> None:
    """No restore can come between any more."""
    [identity_id] = await due_for_purge(world, 1)
    states = []

    async def look() -> None:
        states.append(world.row(identity_id).state)

    world.acs.meets("delete", look)

    await world.sweep()

    assert states == [State.PURGING]


async def test_young_identity_that_acs_does_not_know_is_put_off(world: World) -> None:
    """ACS was seen to deny what it had just made."""
    identity_id = await world.creating()
    world.pass_lease()
    world.acs.fails("delete", IdentityNotFound("not yet"))

    report = await world.sweep()

    assert (report.purged, report.deferred) == (0, 1)
    assert world.row(identity_id).state is State.PURGING


async def test_old_identity_that_acs_does_not_know_is_purged(world: World) -> None:
    """Not found is believed by then."""
    identity_id = await world.creating()
    world.acs.identities.clear()
    world.clock.forward(HOUR)

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


# What others move meanwhile.


async def test_entry_whose_row_is_due_later_is_skipped(world: World) -> None:
    """The list is old: somebody else has put it off."""
    [identity_id] = await due_for_purge(world, 1)
    later = world.clock.now() + DAY
    world.registry.meets("read", world.overtake(identity_id, due=later))

    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (1, 0, 0)
    assert identity_id in world.acs.identities


async def test_entry_of_a_restored_identity_is_skipped(world: World) -> None:
    """Nothing is due with it any more."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.meets("read", lambda: world.restore(identity_id))

    report = await world.sweep()

    assert (report.purged, world.row(identity_id).state) == (0, State.ACTIVE)


async def test_entry_whose_row_is_gone_is_skipped(world: World) -> None:
    """Somebody else purged it."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.meets("read", lambda: world.purge(identity_id))

    report = await world.sweep()

    assert (report.purged, report.deferred) == (0, 0)


async def test_identity_restored_before_the_claim_is_skipped(world: World) -> None:
    """The restore's ETag came first."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.meets("update", lambda: world.restore(identity_id))

    report = await world.sweep()

    assert (report.purged, report.deferred) == (0, 0)
    assert identity_id in world.acs.identities


async def test_creation_helped_before_the_claim_is_skipped(world: World) -> None:
    """It is active, and stays."""
    identity_id = await world.creating("alice")
    world.pass_lease()
    world.registry.meets("update", lambda: world.create("alice"))

    report = await world.sweep()

    assert (report.purged, world.row(identity_id).state) == (0, State.ACTIVE)
    assert identity_id in world.acs.identities


async def test_revocation_that_somebody_else_recorded_is_not_counted(world: World) -> None:
    """Its caller deleted again."""
    identity_id = await world.unrevoked()
    world.pass_lease()
    world.registry.meets("update", lambda: world.delete(identity_id))

    report = await world.sweep()

    assert (report.revoked, report.deferred) == (0, 0)


async def test_revocation_of_another_deletion_is_not_recorded(world: World) -> None:
    """Restored, and deleted anew without a revocation: this one came too early for it."""
    identity_id = await world.unrevoked()
    world.pass_lease()

    async def restore_and_delete() -> None:
        await world.restore(identity_id)
        world.acs.fails("revoke_tokens", ACS_IS_DOWN)
        with pytest.raises(type(ACS_IS_DOWN)):
            await world.delete(identity_id)

    world.registry.meets("update", restore_and_delete)

    await world.sweep()

    assert not world.row(identity_id).revoked


async def test_purge_that_somebody_else_finished_is_not_counted(world: World) -> None:
    """Only one's own last step counts."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.meets("remove", lambda: world.purge(identity_id))

    report = await world.sweep()

    assert (report.purged, report.deferred) == (0, 0)


async def test_purge_whose_last_answer_was_lost_is_not_counted(world: World) -> None:
    """It is not known to have succeeded; nothing of it is left all the same."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.loses("remove", TABLE_IS_DOWN)

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (0, True)


async def test_two_sweeps_at_once_purge_everything_once(world: World) -> None:
    """None is counted twice, none fails, none is left."""
    ids = await due_for_purge(world, 50)

    one, other = await asyncio.gather(world.sweep(), world.sweep())

    assert one.purged + other.purged == 50
    assert all(map(world.is_gone, ids))


async def test_two_sweeps_at_once_put_nothing_off(world: World) -> None:
    """Meeting another sweep is no failure."""
    await due_for_purge(world, 50)

    one, other = await asyncio.gather(world.sweep(), world.sweep())

    assert one.deferred + other.deferred == 0


async def test_two_sweeps_at_once_revoke_everything(world: World) -> None:
    """Each revocation is recorded by one of them."""
    ids = [await world.unrevoked() for _ in range(20)]
    world.pass_lease()

    one, other = await asyncio.gather(world.sweep(), world.sweep())

    assert one.revoked + other.revoked == 20
    assert all(world.row(identity_id).revoked for identity_id in ids)


# Failures.


async def test_failed_purge_is_put_off(world: World) -> None:
    """Counted, with its error, and due in a minute."""
    [identity_id] = await due_for_purge(world, 1)
    now = world.clock.now()
    world.acs.fails("delete", ACS_IS_DOWN)

    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.purged, report.deferred) == (0, 1)
    assert (row.state, row.attempts, row.last_error) == (State.PURGING, 1, "acs_unavailable")
    assert world.agenda() == [AgendaRow(now + MINUTE, identity_id)]


async def test_failed_revocation_is_put_off(world: World) -> None:
    """The identity stays deleted, and can be restored still."""
    identity_id = await world.unrevoked()
    world.pass_lease()
    now = world.clock.now()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)

    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.revoked, report.deferred) == (0, 1)
    assert (row.state, row.attempts, row.due) == (State.DELETED, 1, now + MINUTE)


async def test_revocation_that_succeeds_at_last_forgets_its_failures(world: World) -> None:
    """The purge has attempts of its own."""
    identity_id = await world.unrevoked()
    world.pass_lease()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    await world.sweep()
    world.clock.forward(HOUR)

    await world.sweep()

    row = world.row(identity_id)
    assert (row.revoked, row.attempts, row.last_error) == (True, 0, None)


async def test_failures_wait_longer_each_time(world: World) -> None:
    """Twice as long, up to an hour."""
    [identity_id] = await due_for_purge(world, 1)
    world.acs.fails("delete", ACS_IS_DOWN, times=9)
    delays = []

    for _ in range(9):
        now = world.clock.now()
        await world.sweep()
        due = world.row(identity_id).due
        assert due
        delays.append(due - now)
        world.clock.forward(HOUR)

    assert delays == [MINUTE * minutes for minutes in (1, 2, 4, 8, 16, 32, 60, 60, 60)]


async def test_failure_is_not_tried_again_before_its_delay_is_over(world: World) -> None:
    """The next sweep passes it by."""
    await due_for_purge(world, 1)
    world.acs.fails("delete", ACS_IS_DOWN)
    await world.sweep()
    world.clock.forward(MINUTE - SECOND)

    report = await world.sweep()

    assert report.due == 0


async def test_failure_succeeds_in_the_end(world: World) -> None:
    """Nothing is forgotten."""
    [identity_id] = await due_for_purge(world, 1)
    world.acs.fails("delete", ACS_IS_DOWN)
    await world.sweep()
    world.clock.forward(MINUTE)

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


async def test_failure_whose_row_has_changed_is_left_to_whoever_changed_it(world: World) -> None:
    """412 when it is put off: nothing is overwritten."""
    [identity_id] = await due_for_purge(world, 1)

    async def change() -> None:
        world.registry.overtake(identity_id, last_error="another's")

    world.acs.meets("delete", change)
    world.registry.fails("remove", TABLE_IS_DOWN)

    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.deferred, row.attempts, row.last_error) == (0, 0, "another's")


async def test_often_failed_identity_is_stuck(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Counted, logged as an error, and tried again in a day."""
    world.cleanup = CleanupPolicy(max_attempts=3)
    [identity_id] = await due_for_purge(world, 1)
    world.registry.overtake(identity_id, attempts=2)
    now = world.clock.now()
    world.acs.fails("delete", ACS_IS_DOWN)

    report = await world.sweep()

    [record] = [record for record in caplog.records if "identity_stuck" in record.getMessage()]
    assert (report.stuck, world.row(identity_id).due) == (1, now + DAY)
    assert record.levelno == logging.ERROR
    assert f"identity_id={identity_id} attempts=3 code=acs_unavailable" in record.getMessage()


async def test_identity_is_not_stuck_before_its_last_attempt(world: World) -> None:
    """One more is allowed."""
    world.cleanup = CleanupPolicy(max_attempts=3)
    [identity_id] = await due_for_purge(world, 1)
    world.registry.overtake(identity_id, attempts=1)
    world.acs.fails("delete", ACS_IS_DOWN)

    report = await world.sweep()

    assert (report.stuck, report.deferred) == (0, 1)


async def test_stuck_identity_is_tried_daily_and_never_dropped(world: World) -> None:
    """For as long as it takes."""
    world.cleanup = CleanupPolicy(max_attempts=1)
    [identity_id] = await due_for_purge(world, 1)
    world.acs.fails("delete", ACS_IS_DOWN, times=60)
    for _ in range(60):
        await world.sweep()
        world.clock.forward(DAY)

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


async def test_patience_of_a_thousand_attempts_can_be_set(world: World) -> None:
    """The wait doubles up to an hour, however often it has doubled before."""
    world.cleanup = CleanupPolicy(max_attempts=1000)
    [identity_id] = await due_for_purge(world, 1)
    world.registry.overtake(identity_id, attempts=900)
    now = world.clock.now()
    world.acs.fails("delete", ACS_IS_DOWN)

    await world.sweep()

    assert (world.row(identity_id).attempts, world.row(identity_id).due) == (901, now + HOUR)


@pytest.mark.parametrize("call", ["read", "update"])
async def test_unanswered_row_stays_due(world: World, call: str) -> None:
    """Nothing was done with it that would have to be undone."""
    [identity_id] = await due_for_purge(world, 1)
    before = world.row(identity_id)
    world.registry.fails(call, TABLE_IS_DOWN)

    report = await world.sweep()

    assert (report.deferred, world.row(identity_id)) == (1, before)


async def test_unanswered_row_is_purged_by_the_next_sweep(world: World) -> None:
    """Also where the claim was taken and the answer lost."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.loses("update", TABLE_IS_DOWN)
    await world.sweep()

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


async def test_fault_of_ours_does_not_end_the_sweep(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with the identity's id; all others are purged."""
    ids = await due_for_purge(world, 5)
    world.acs.fails("delete", ZeroDivisionError("a mistake"))

    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (5, 4, 1)
    assert f"internal_error identity_id={ids[0]}" in caplog.text


async def test_fault_of_ours_is_put_off_like_any_other(world: World) -> None:
    """It waits longer each time, and is listed in the end: it is a failure."""
    [identity_id] = await due_for_purge(world, 1)
    world.acs.fails("delete", ZeroDivisionError("a mistake"))

    await world.sweep()

    row = world.row(identity_id)
    assert (row.attempts, row.last_error) == (1, "internal_error")


async def test_faults_of_ours_do_not_stand_in_the_way_for_ever(world: World) -> None:
    """More than would be an outage: the next sweeps come to what lies behind them."""
    for identity_id in await due_for_purge(world, 2 * OUTAGE):
        # A moment without a time zone: the sweep stumbles when it works out the age.
        world.registry.overtake(identity_id, created_on=START.replace(tzinfo=None))
        world.acs.identities.remove(identity_id)
    [behind] = await due_for_purge(world, 1)

    for _ in range(4):
        await world.sweep()
        world.clock.forward(MINUTE)

    assert world.is_gone(behind)


# Pace, pauses and time.


async def test_pace_is_kept(world: World) -> None:
    """So many deletes per 30 seconds, evenly."""
    world.cleanup = CleanupPolicy(deletes_per_30s=300)
    await due_for_purge(world, 40)
    deletions = Deletions(world)

    await world.sweep()

    gaps = [b - a for a, b in zip(deletions.times, deletions.times[1:], strict=False)]
    assert (len(deletions.times), min(gaps)) == (40, timedelta(seconds=0.1))


async def test_pace_is_reached(world: World) -> None:
    """The whole of it, while ACS answers within a second."""
    world.cleanup = CleanupPolicy(deletes_per_30s=300)
    await due_for_purge(world, 301)
    Deletions(world, SECOND)
    started = world.clock.now()

    await world.sweep()

    assert world.clock.now() - started == timedelta(seconds=31)


async def test_revocations_keep_the_pace_too(world: World) -> None:
    """They change ACS like deletes."""
    world.cleanup = CleanupPolicy(deletes_per_30s=30)
    for _ in range(11):
        await world.unrevoked()
    world.pass_lease()
    started = world.clock.now()

    report = await world.sweep()

    assert (report.revoked, world.clock.now() - started) == (11, timedelta(seconds=10))


async def test_few_calls_are_under_way_at_once(world: World) -> None:
    """However slow ACS is."""
    await due_for_purge(world, 60)
    deletions = Deletions(world, MINUTE)

    await world.sweep()

    assert deletions.most == CONCURRENCY


async def test_throttled_identity_stays_due(world: World) -> None:
    """It is no failure: neither counted against it nor put off."""
    [identity_id] = await due_for_purge(world, 1)
    due = world.row(identity_id).due
    world.acs.fails("delete", Throttled("as the test wants it", retry_after=30))

    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.purged, report.deferred) == (0, 1)
    assert (row.state, row.attempts, row.due) == (State.PURGING, 0, due)


async def test_throttled_identity_is_purged_by_the_next_sweep(world: World) -> None:
    """From where it stands."""
    [identity_id] = await due_for_purge(world, 1)
    world.acs.fails("delete", Throttled("as the test wants it", retry_after=30))
    await world.sweep()

    await world.sweep()

    assert world.is_gone(identity_id)


async def test_acs_gets_the_pause_it_asks_for(world: World) -> None:
    """Whatever had its turn afterwards waits until the pause is over."""
    await due_for_purge(world, 5)
    started = world.clock.now()
    world.acs.fails("delete", Throttled("as the test wants it", retry_after=20))
    deletions = Deletions(world)

    report = await world.sweep()

    assert report.purged == 4
    assert min(deletions.times) - started >= timedelta(seconds=20)


async def test_pause_beyond_the_time_budget_ends_the_sweep(world: World) -> None:
    """The next one goes on."""
    await due_for_purge(world, 100)
    world.acs.fails("delete", Throttled("as the test wants it", retry_after=3600), times=1000)
    started = world.clock.now()
    deletions = Deletions(world)

    await world.sweep()

    assert len(deletions.times) <= 2 * CONCURRENCY
    assert world.clock.now() - started < world.cleanup.time_budget


async def test_sweep_stops_within_its_time(world: World) -> None:
    """It starts nothing that would come after its budget."""
    world.cleanup = CleanupPolicy(deletes_per_30s=300, time_budget=timedelta(seconds=10))
    await due_for_purge(world, 300)
    deletions = Deletions(world)
    started = world.clock.now()

    await world.sweep()

    assert max(deletions.times) < started + timedelta(seconds=10)


async def test_sweep_does_not_wait_for_what_would_come_after_its_time(world: World) -> None:
    """At a slow pace too: the host would end it, and all that runs beside it."""
    world.cleanup = CleanupPolicy(deletes_per_30s=2, time_budget=timedelta(seconds=20))
    await due_for_purge(world, 20)

    report = await world.sweep()

    assert report.duration <= timedelta(seconds=20)


@pytest.mark.parametrize(
    ("deletes_per_30s", "seconds", "expected"), [(300, 10, 100), (30, 60, 60), (2, 240, 16)]
)
async def test_sweep_uses_its_time(
    world: World, deletes_per_30s: int, seconds: int, expected: int
) -> None:
    """As many as its pace allows in its budget, give or take one in twenty."""
    world.cleanup = CleanupPolicy(
        deletes_per_30s=deletes_per_30s, time_budget=timedelta(seconds=seconds)
    )
    await due_for_purge(world, 2 * expected)

    report = await world.sweep()

    assert 0.95 * expected <= report.purged <= 1.05 * expected


async def test_slowest_pace_gets_something_done_in_the_shortest_time(world: World) -> None:
    """The lowest values that the settings take: one each sweep, and not none for ever."""
    world.cleanup = CleanupPolicy(deletes_per_30s=1, time_budget=timedelta(seconds=10))
    await due_for_purge(world, 2)

    report = await world.sweep()

    assert report.purged == 1


async def test_next_sweep_goes_on_where_the_time_was_over(world: World) -> None:
    """Until everything is done."""
    world.cleanup = CleanupPolicy(deletes_per_30s=300, time_budget=timedelta(seconds=10))
    ids = await due_for_purge(world, 250)

    reports = [await world.sweep() for _ in range(4)]

    assert sum(report.purged for report in reports) == 250
    assert all(map(world.is_gone, ids))


async def test_what_has_begun_is_finished_beyond_the_time(world: World) -> None:
    """Nothing is cancelled between two steps."""
    world.cleanup = CleanupPolicy(time_budget=timedelta(seconds=10))
    [identity_id] = await due_for_purge(world, 1)
    Deletions(world, MINUTE)

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


# Outages.


async def test_outage_of_acs_ends_the_sweep_early(world: World) -> None:
    """The rest waits for the next one instead of being put off one by one."""
    await due_for_purge(world, 200)
    world.acs.fails("delete", ACS_IS_DOWN, times=1000)

    report = await world.sweep()

    assert OUTAGE <= report.deferred < OUTAGE + CONCURRENCY
    assert world.acs.calls.count("delete") == report.deferred


async def test_outage_of_acs_leaves_the_rest_as_it_was(world: World) -> None:
    """Still due, and not counted against them."""
    ids = await due_for_purge(world, 200)
    world.acs.fails("delete", ACS_IS_DOWN, times=1000)

    await world.sweep()

    untouched = [row for row in map(world.row, ids) if row.state is State.DELETED]
    assert len(untouched) >= 200 - OUTAGE - 2 * CONCURRENCY


async def test_everything_is_purged_once_the_outage_is_over(world: World) -> None:
    """None is counted twice, and none is left."""
    ids = await due_for_purge(world, 100)
    world.acs.fails("delete", ACS_IS_DOWN, times=150)
    reports = []

    for _ in range(20):
        reports.append(await world.sweep())
        world.clock.forward(5 * MINUTE)

    assert sum(report.purged for report in reports) == 100
    assert all(map(world.is_gone, ids))


async def test_failures_with_successes_between_are_no_outage(world: World) -> None:
    """Every other one fails: the sweep goes through all of them."""
    await due_for_purge(world, 200)
    for _ in range(100):
        world.acs.fails("delete", ACS_IS_DOWN)
        world.acs.passes("delete")

    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (200, 100, 100)


async def test_outage_of_the_table_ends_the_sweep_early(world: World) -> None:
    """ACS is not asked for anything whose row cannot be read."""
    await due_for_purge(world, 200)
    before = len(world.acs.calls)
    world.registry.fails("read", TABLE_IS_DOWN, times=1000)

    report = await world.sweep()

    assert OUTAGE <= report.deferred < OUTAGE + CONCURRENCY
    assert world.acs.calls[before:] == []


async def test_unreadable_agenda_cuts_the_sweep_short(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It reports all the same, and says in the log what was amiss."""
    await due_for_purge(world, 1)
    world.registry.fails("agenda", TABLE_IS_DOWN)

    report = await world.sweep()

    assert (report.due, report.purged) == (0, 0)
    assert "sweep_cut_short code=registry_unavailable" in caplog.text


async def test_conflicts_are_no_failures(world: World) -> None:
    """However many: somebody else is at work, and nothing is wrong."""
    await due_for_purge(world, 100)
    world.registry.fails("update", CONFLICT, times=90)

    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (100, 10, 0)


# The report.


async def test_report_is_one_line_in_the_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """All of it in figures."""
    caplog.set_level(logging.INFO)
    await due_for_purge(world, 1)
    world.clock.forward(HOUR)

    await world.sweep()

    assert (
        "sweep_finished due=1 revoked=0 purged=1 deferred=0 stuck=0 backlog=0"
        " oldest_overdue_s=3600 throttles=0 duration_ms=0" in caplog.text
    )


async def test_report_tells_the_oldest_overdue(world: World) -> None:
    """How long the longest waiting entry has waited."""
    await world.deleted()
    world.clock.forward(3 * HOUR)
    await world.deleted()
    world.clock.forward(RETENTION)

    report = await world.sweep()

    assert report.oldest_overdue == 3 * HOUR


async def test_report_tells_the_backlog(world: World) -> None:
    """How many of the due are left to the next sweep, be it for failure or for lack of time."""
    world.cleanup = CleanupPolicy(deletes_per_30s=30, time_budget=timedelta(seconds=10))
    await due_for_purge(world, 100)
    world.acs.fails("delete", ACS_IS_DOWN)

    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (100, 9, 1)
    assert report.backlog == 91


async def test_what_others_have_done_is_no_backlog(world: World) -> None:
    """Another sweep was faster."""
    await due_for_purge(world, 3)
    world.registry.fails("update", CONFLICT)

    report = await world.sweep()

    assert (report.due, report.purged, report.backlog) == (3, 2, 0)


async def test_backlog_is_counted_up_to_a_bound(world: World) -> None:
    """A sweep that has to stop does not read through everything that there is."""
    world.cleanup = CleanupPolicy(deletes_per_30s=1, time_budget=timedelta(seconds=1))
    await due_for_purge(world, COUNTED + 3 * CONCURRENCY)

    report = await world.sweep()

    assert COUNTED <= report.backlog <= COUNTED + CONCURRENCY


async def test_report_tells_the_duration(world: World) -> None:
    """From the first step to the last."""
    await due_for_purge(world, 1)
    Deletions(world, MINUTE)

    report = await world.sweep()

    assert report.duration == MINUTE


async def test_report_tells_everything_apart(world: World) -> None:
    """One purged, one revoked, one put off, one stuck."""
    await due_for_purge(world, 3)
    stuck = world.agenda()[0].identity_id
    world.registry.overtake(stuck, attempts=world.cleanup.max_attempts)
    world.acs.fails("delete", ACS_IS_DOWN, times=2)
    await world.unrevoked()
    world.pass_lease()

    report = await world.sweep()

    assert (report.due, report.purged, report.revoked) == (4, 1, 1)
    assert (report.deferred, report.stuck) == (2, 1)
