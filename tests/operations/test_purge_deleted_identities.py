"""purge_deleted_identities: finishes what is due, within a rate limit and a time budget."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
import pytest

from identity_service.due_work import CONCURRENCY, LEFT, OUTAGE
from identity_service.errors import RegistryUnavailable, Throttled
from identity_service.identity import LEASE, DueEntry, DueKind, Identity, State
from identity_service.log import begin_invocation
from identity_service.policies import CleanupPolicy, DeletionPolicy
from tests.support.memory import MemoryRegistry
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, CONFLICT, HOUR, RETENTION, SECOND, TABLE_IS_DOWN, World

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
BUG = ZeroDivisionError("planned by the test")


async def due_for_purge(world: World, count: int) -> list[str]:
    """The ids of deleted identities whose purge is due, a microsecond apart, oldest first."""
    ids = []
    for _ in range(count):
        ids.append(await world.deleted())
        world.clock.advance(MICROSECOND)
    world.clock.advance(RETENTION)
    return ids


async def fail_alone(world: World, call: str, error: Exception) -> None:
    """The next call to ACS fails, and another one for an identity that is due later succeeds."""
    other, now = await world.unrevoked(), world.clock.now()
    if call == "delete":
        await world.delete(other)
        world.registry.change(other, scheduled_purge_on=now)
    world.registry.change(other, due=now)
    world.acs.fails(call, error)


def throttled(seconds: int | None) -> Throttled:
    """ACS accepts no call for this long."""
    return Throttled("planned by the test", retry_after=seconds)


class HalfReadable(MemoryRegistry):
    """A registry that fails after some due entries."""

    def __init__(self, registry: MemoryRegistry, readable: int) -> None:
        super().__init__()
        vars(self).update(vars(registry))
        self._readable = readable

    async def due_entries(
        self,
        kinds: Collection[DueKind] = tuple(DueKind),
        *,
        after: DueEntry | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DueEntry]:
        """The first entries, then an error."""
        found = [each async for each in super().due_entries(kinds, after=after, until=until)]
        if not found:
            return
        for entry in found[: self._readable]:
            yield entry
        raise TABLE_IS_DOWN


class Deletions:
    """The deletions in ACS.

    Attributes:
        times: When each was called.
        most: The most that ran at the same time.
    """

    def __init__(self, world: World, duration: timedelta = timedelta()) -> None:
        self.times: list[datetime] = []
        self.most = 0
        self._world = world
        self._duration = duration
        self._running = 0
        world.acs.precede("delete", self._delete, times=1000)

    async def _delete(self) -> None:
        self.times.append(self._world.clock.now())
        self._running += 1
        self.most = max(self.most, self._running)
        await self._world.clock.sleep(self._duration.total_seconds())
        self._running -= 1


# What is due


async def test_nothing_is_due(world: World) -> None:
    """If nothing is due, only the due index is read, however many identities are active."""
    for _ in range(20):
        await world.active()
    world.registry.calls.clear()
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (0, 0, 0)
    reads = [call for call in world.registry.calls if "record" not in call]
    assert reads == ["due_entries"] * len(DueKind)


@pytest.mark.parametrize(
    ("start", "time", "purged"),
    [
        ("deleted", RETENTION, 1),
        ("creating", LEASE, 1),
        ("purging", LEASE, 1),
        ("adopted_unknown", LEASE, 0),
    ],
)
async def test_due_identity(world: World, start: str, time: timedelta, purged: int) -> None:
    """When its retention or a lease is over, and not before, an identity is purged.

    An adopted identity that ACS does not know never existed, so its row is only removed.
    """
    identity_id = await getattr(world, start)()
    before = world.row(identity_id)
    world.clock.advance(time - SECOND)
    early = await world.sweep()

    assert (early.due, world.row(identity_id)) == (0, before)

    world.clock.advance(SECOND)
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred, report.backlog) == (1, purged, 0, 0)
    assert world.is_gone(identity_id)


@pytest.mark.parametrize(
    "policy", [DeletionPolicy(RETENTION, purge_protection=True), DeletionPolicy(timedelta(0))]
)
async def test_deletion_policy(world: World, policy: DeletionPolicy) -> None:
    """The sweep purges despite purge protection, and at once if there is no retention.

    The identity is not revoked first: its deletion in ACS revokes its tokens.
    """
    world.deletion = policy
    identity_id = await world.unrevoked("alice")
    world.clock.advance(max(policy.retention, LEASE))
    report = await world.sweep()

    assert (report.purged, report.revoked, world.acs.revocations) == (1, 0, [])
    assert world.is_gone(identity_id)


async def test_unfinished_revocation(world: World) -> None:
    """A revocation that failed is finished: the tokens are revoked, and the purge is due later."""
    created = await world.create_with_token()
    await world.delete_unrevoked(created.id)
    world.pass_lease()
    report = await world.sweep()

    assert (report.revoked, report.purged, world.acs.is_valid(created.token)) == (1, 0, False)
    assert world.row(created.id).revoked
    assert [entry.due for entry in world.due_entries()] == [START + RETENTION]


@pytest.mark.parametrize("due", ["deleted", "creating"])
async def test_decision_comes_before_the_deletion_in_acs(world: World, due: str) -> None:
    """When ACS deletes the identity, it can no longer be restored or activated."""
    identity_id = await getattr(world, due)()
    world.clock.advance(RETENTION)
    states = []

    async def look() -> None:
        states.append(world.row(identity_id).state)

    world.acs.precede("delete", look)
    await world.sweep()

    assert states == [State.PURGING]


async def test_identity_that_acs_does_not_know(world: World) -> None:
    """An identity that ACS does not know stays due, without a failure, until it is an hour old."""
    identity_id = await world.creating()
    due = world.row(identity_id).due
    world.acs.identities.clear()
    world.clock.advance(HOUR - SECOND)
    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.purged, report.deferred) == (0, 1)
    assert (row.state, row.attempts, row.due) == (State.PURGING, 0, due)
    world.clock.advance(SECOND)
    report = await world.sweep()
    assert (report.purged, world.is_gone(identity_id)) == (1, True)


# Other calls change the row


async def postpone(world: World, identity_id: str) -> None:
    """Another sweep postpones the identity."""
    world.registry.change(identity_id, due=START + RETENTION + DAY)


async def finish_creation(world: World, identity_id: str) -> None:
    """Another call finishes the creation."""
    assert (await world.create("alice")).id == identity_id


async def activate(world: World, identity_id: str) -> None:
    """The identity is active although its due entry stays, which should not happen."""
    world.registry.change(identity_id, state=State.ACTIVE)


@pytest.mark.parametrize(
    ("start", "step", "other"),
    [
        ("deleted", "read", postpone),
        ("deleted", "read", World.restore),
        ("deleted", "update", World.restore),
        ("deleted", "read", activate),
        ("deleted", "read", World.purge),
        ("deleted", "remove", World.purge),
        ("creating", "update", finish_creation),
        ("unrevoked", "update", World.delete),
    ],
)
async def test_other_call_is_faster(
    world: World,
    start: str,
    step: str,
    other: Callable[[World, str], Awaitable[object]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If another call changes the identity first, its row stays and this sweep counts nothing."""
    identity_id = await getattr(world, start)("alice")
    world.clock.advance(RETENTION if start == "deleted" else LEASE)
    left: list[Identity | None] = []

    async def act() -> None:
        await other(world, identity_id)
        left.append(world.registry.rows.get(identity_id))

    world.registry.precede(step, act)
    report = await world.sweep()

    assert (report.due, report.backlog) == (1, 0)
    assert (report.purged, report.revoked, report.deferred) == (0, 0, 0)
    assert [world.registry.rows.get(identity_id)] == left
    assert (identity_id in world.acs.identities) is (other is not World.purge)
    assert "internal_error" not in caplog.text


async def test_purge_with_lost_response(world: World) -> None:
    """If the response of the last step is lost, the purge does not count."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.loses("remove", TABLE_IS_DOWN)
    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (0, True)


async def test_two_concurrent_sweeps_purge(world: World) -> None:
    """Two concurrent sweeps purge everything, count nothing twice, and postpone nothing."""
    ids = await due_for_purge(world, 50)
    one, other = await asyncio.gather(world.sweep(), world.sweep())

    assert (one.purged + other.purged, one.deferred + other.deferred) == (50, 0)
    assert all(map(world.is_gone, ids))


# Failures


@pytest.mark.parametrize(
    ("error", "code"), [(ACS_IS_DOWN, "acs_unavailable"), (BUG, "internal_error")]
)
async def test_failed_purge(world: World, error: Exception, code: str) -> None:
    """A failed purge is counted with its error and postponed by a minute."""
    [identity_id] = await due_for_purge(world, 1)
    now = world.clock.now()
    await fail_alone(world, "delete", error)
    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.purged, report.deferred) == (1, 1)
    assert (row.state, row.attempts, row.last_error) == (State.PURGING, 1, code)
    assert world.due_entries() == [DueEntry(now + MINUTE, identity_id)]


async def test_failed_revocation(world: World) -> None:
    """After a failed revocation the identity stays deleted. A later success clears the failure."""
    identity_id = await world.unrevoked()
    world.pass_lease()
    now = world.clock.now()
    await fail_alone(world, "revoke_tokens", ACS_IS_DOWN)
    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.revoked, report.deferred) == (1, 1)
    assert (row.state, row.attempts, row.due) == (State.DELETED, 1, now + MINUTE)
    world.clock.advance(MINUTE)
    report = await world.sweep()
    row = world.row(identity_id)
    assert (report.revoked, row.revoked, row.attempts, row.last_error) == (1, True, 0, None)


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(0, 1), (1, 2), (2, 4), (3, 8), (4, 16), (5, 32), (6, 60), (7, 60), (900, 60)],
)
async def test_delay(world: World, attempts: int, minutes: int) -> None:
    """Each delay is twice as long as the one before, up to an hour, until the last attempt."""
    world.cleanup = CleanupPolicy(max_attempts=attempts + 2)
    [identity_id] = await due_for_purge(world, 1)
    world.registry.change(identity_id, attempts=attempts)
    now = world.clock.now()
    await fail_alone(world, "delete", ACS_IS_DOWN)
    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.stuck, report.deferred) == (0, 1)
    assert (row.attempts, row.due) == (attempts + 1, now + MINUTE * minutes)


async def test_postponed_row_that_has_changed(world: World) -> None:
    """If the row changes before it is postponed, nothing is overwritten."""
    [identity_id] = await due_for_purge(world, 1)
    world.acs.precede("delete", world.change(identity_id, last_error="of another call"))
    world.registry.fails("remove", TABLE_IS_DOWN)
    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.deferred, row.attempts, row.last_error) == (0, 0, "of another call")


async def test_stuck(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """After as many failures as the settings allow, an identity is stuck: it waits for a day."""
    world.cleanup = CleanupPolicy(max_attempts=3)
    [identity_id] = await due_for_purge(world, 1)
    world.registry.change(identity_id, attempts=2)
    now = world.clock.now()
    await fail_alone(world, "delete", ACS_IS_DOWN)
    report = await world.sweep()

    [record] = [record for record in caplog.records if "identity_stuck" in record.getMessage()]
    assert (report.stuck, report.deferred) == (1, 1)
    assert world.row(identity_id).due == now + DAY
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(
        f"identity_stuck identity_id={identity_id} state=purging attempts=3 code=acs_unavailable"
    )


@pytest.mark.parametrize(
    ("call", "happens"), [("read", "fails"), ("update", "fails"), ("update", "loses")]
)
async def test_table_fails(world: World, call: str, happens: str) -> None:
    """If the table fails before the decision is certain, the next sweep purges the identity."""
    [identity_id] = await due_for_purge(world, 1)
    before = world.row(identity_id)
    getattr(world.registry, happens)(call, TABLE_IS_DOWN)
    with pytest.raises(RegistryUnavailable):
        await world.sweep()

    assert identity_id in world.acs.identities
    assert happens == "loses" or world.row(identity_id) == before
    await world.sweep()
    assert world.is_gone(identity_id)


@pytest.mark.parametrize("service", ["acs", "registry"])
async def test_bug(world: World, service: str, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected error is logged with the identity's id. All others are purged."""
    ids = await due_for_purge(world, 5)
    if service == "acs":
        world.acs.fails("delete", BUG)
    else:
        world.registry.fails("read", BUG)
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (5, 4, 1)
    assert f"internal_error identity_id={ids[0]}" in caplog.text


async def test_many_bugs(world: World) -> None:
    """More unexpected errors than an outage has do not block what is due after them."""
    for identity_id in await due_for_purge(world, 2 * OUTAGE):
        # A time without a time zone: computing the age fails.
        world.registry.change(identity_id, created_on=START.replace(tzinfo=None))
        world.acs.identities.remove(identity_id)
    [last] = await due_for_purge(world, 1)
    for _ in range(4):
        await world.sweep()
        world.clock.advance(MINUTE)

    assert world.is_gone(last)


# Rate limit and time budget


async def test_rate_is_not_exceeded(world: World) -> None:
    """The deletions are evenly spaced by the rate limit."""
    world.cleanup = CleanupPolicy(deletes_per_30s=300)
    await due_for_purge(world, 40)
    deletions = Deletions(world)
    await world.sweep()

    gaps = [b - a for a, b in zip(deletions.times, deletions.times[1:], strict=False)]
    assert (len(deletions.times), min(gaps)) == (40, timedelta(seconds=0.1))


async def test_rate_is_reached(world: World) -> None:
    """The rate limit is reached while ACS responds within a second."""
    world.cleanup = CleanupPolicy(deletes_per_30s=300)
    await due_for_purge(world, 301)
    Deletions(world, SECOND)
    report = await world.sweep()

    assert report.duration == timedelta(seconds=31)


async def test_rate_of_revocations(world: World) -> None:
    """Revocations count for the rate limit too. The next sweep continues after the time budget."""
    world.cleanup = CleanupPolicy(deletes_per_30s=30, time_budget=timedelta(seconds=6))
    for _ in range(11):
        await world.unrevoked()
    world.pass_lease()

    assert [(await world.sweep()).revoked for _ in range(3)] == [6, 5, 0]


async def test_concurrency(world: World) -> None:
    """However slow ACS is, only some calls run at the same time."""
    await due_for_purge(world, 60)
    deletions = Deletions(world, MINUTE)
    await world.sweep()

    assert deletions.most == CONCURRENCY


async def test_throttled(world: World) -> None:
    """A throttled identity stays due, without a failed attempt. The next sweep purges it."""
    [identity_id] = await due_for_purge(world, 1)
    due = world.row(identity_id).due
    world.acs.fails("delete", throttled(30))
    report = await world.sweep()

    row = world.row(identity_id)
    assert (report.purged, report.deferred) == (0, 1)
    assert (row.state, row.attempts, row.due) == (State.PURGING, 0, due)
    await world.sweep()
    assert world.is_gone(identity_id)


@pytest.mark.parametrize("seconds", [20, None])
async def test_pause(world: World, seconds: int | None) -> None:
    """When ACS throttles, no call follows until the time that it names, if any, has passed."""
    await due_for_purge(world, 5)
    started = world.clock.now()
    world.acs.fails("delete", throttled(seconds))
    deletions = Deletions(world)
    report = await world.sweep()

    assert (report.purged, len(deletions.times)) == (4, 4)
    assert round((min(deletions.times) - started).total_seconds()) == (seconds or 0)


async def test_pause_longer_than_the_budget(world: World) -> None:
    """A pause that is longer than the time budget ends the sweep."""
    await due_for_purge(world, 100)
    world.acs.fails("delete", throttled(3600), times=1000)
    report = await world.sweep()

    assert world.acs.calls.count("delete") <= 2 * CONCURRENCY
    assert report.duration < world.cleanup.time_budget


@pytest.mark.parametrize(
    ("deletes_per_30s", "seconds", "expected"),
    [(300, 10, 100), (30, 60, 60), (2, 240, 16), (2, 20, 2), (1, 10, 1)],
)
async def test_time_budget(world: World, deletes_per_30s: int, seconds: int, expected: int) -> None:
    """A sweep purges as many as the rate allows within its time budget, and none after it."""
    world.cleanup = CleanupPolicy(
        deletes_per_30s=deletes_per_30s, time_budget=timedelta(seconds=seconds)
    )
    await due_for_purge(world, 3 * expected)
    deletions = Deletions(world)
    started = world.clock.now()
    report = await world.sweep()

    assert 0.95 * expected <= report.purged <= 1.05 * expected
    assert max(deletions.times) < started + timedelta(seconds=seconds)
    assert report.duration <= timedelta(seconds=seconds)


async def test_started_work_is_finished(world: World) -> None:
    """A purge that has started is finished, even after the time budget."""
    world.cleanup = CleanupPolicy(time_budget=timedelta(seconds=10))
    [identity_id] = await due_for_purge(world, 1)
    Deletions(world, MINUTE)
    report = await world.sweep()

    assert (report.purged, report.duration) == (1, MINUTE)
    assert world.is_gone(identity_id)


# Outages


async def test_outage_of_acs(world: World) -> None:
    """If ACS fails for all, the sweep tries only some entries and leaves the others unchanged."""
    ids = await due_for_purge(world, 200)
    world.acs.fails("delete", ACS_IS_DOWN, times=1000)
    report = await world.sweep()

    assert report.deferred == world.acs.calls.count("delete") <= OUTAGE + 2 * CONCURRENCY
    unchanged = [row for row in map(world.row, ids) if row.state is State.DELETED]
    assert len(unchanged) >= 200 - OUTAGE - 2 * CONCURRENCY


async def test_failures_with_successes_in_between(world: World) -> None:
    """If every second purge fails, this is not an outage."""
    await due_for_purge(world, 200)
    for _ in range(100):
        world.acs.fails("delete", ACS_IS_DOWN)
        world.acs.passes("delete")

    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (200, 100, 100)


@pytest.mark.parametrize("call", ["read", "update"])
@pytest.mark.parametrize(
    ("due", "before", "tried"),
    [(1, 0, 1), (5, 0, 5), (200, 0, OUTAGE), (200, 20, OUTAGE)],
    ids=["one", "a few", "many", "after successes"],
)
async def test_outage_of_the_table(  # noqa: PLR0913, PLR0917 -- a table
    world: World, caplog: pytest.LogCaptureFixture, call: str, due: int, before: int, tried: int
) -> None:
    """If the table fails for all, the sweep stops early and fails. Its figures are unknown."""
    caplog.set_level(logging.INFO)
    await due_for_purge(world, due)
    world.registry.calls.clear()
    world.registry.passes(call, times=before)
    world.registry.fails(call, RegistryUnavailable("planned by the test", kind="dns"), times=1000)
    with pytest.raises(RegistryUnavailable):
        await world.sweep()

    assert world.acs.calls.count("delete") <= before
    assert tried <= world.registry.calls.count(call) - before < tried + 2 * CONCURRENCY
    assert caplog.messages[-1].startswith("sweep_failed code=registry_unavailable kind=dns due=- ")


async def test_outage_of_the_table_during_revocations(world: World) -> None:
    """An entry counts as one failure, although the sweep also tries to postpone it."""
    for _ in range(100):
        await world.unrevoked()
    world.clock.advance(LEASE + SECOND)
    world.registry.passes("update", times=20)
    world.registry.fails("update", TABLE_IS_DOWN, times=1000)

    with pytest.raises(RegistryUnavailable):
        await world.sweep()


async def test_postponing_ends_with_the_table(world: World) -> None:
    """One write shows that the table fails. What is left stays due."""
    await due_for_purge(world, 40)
    for _ in range(10):
        world.acs.fails("delete", ACS_IS_DOWN)
        world.acs.passes("delete", times=2)
    world.registry.calls.clear()
    world.registry.passes("update", times=40)  # the starts of the purges
    world.registry.fails("update", TABLE_IS_DOWN, times=1000)

    report = await world.sweep()

    assert (report.purged, report.deferred) == (30, 10)
    assert world.registry.calls.count("update") == 41


@pytest.mark.parametrize(
    ("call", "good", "bad"), [("read", 0, 2), ("read", 2, 0), ("update", 1, 1)]
)
async def test_table_fails_for_some(world: World, call: str, good: int, bad: int) -> None:
    """A sweep that could read and change some rows does not fail: the others are deferred."""
    await due_for_purge(world, 3)
    world.registry.passes(call, times=good)
    world.registry.fails(call, TABLE_IS_DOWN)
    world.registry.passes(call, times=bad)
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (3, 2, 1)


async def test_table_fails_for_every_second(world: World) -> None:
    """Failures of the table with successes in between are not an outage, however many they are."""
    await due_for_purge(world, 200)
    for _ in range(100):
        world.registry.fails("read", TABLE_IS_DOWN)
        world.registry.passes("read")
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred) == (200, 100, 100)


async def test_outage_of_acs_is_not_one_of_the_table(world: World) -> None:
    """If ACS fails for some and the table for others, the sweep reports what it knows."""
    await due_for_purge(world, 2)
    world.acs.fails("delete", ACS_IS_DOWN)
    world.registry.fails("read", TABLE_IS_DOWN)
    report = await world.sweep()

    assert (report.due, report.deferred, report.backlog) == (2, 2, 2)


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (TABLE_IS_DOWN, "code=registry_unavailable kind=-"),
        (
            RegistryUnavailable("planned by the test", kind="dns"),
            "code=registry_unavailable kind=dns",
        ),
        (BUG, "code=internal_error kind=-"),
    ],
    ids=["table", "table, known kind", "bug"],
)
async def test_unreadable_due_index(
    world: World, caplog: pytest.LogCaptureFixture, error: Exception, named: str
) -> None:
    """If the due index cannot be read, the sweep fails. What is due is unknown, and not zero."""
    caplog.set_level(logging.INFO)
    await due_for_purge(world, 1)
    caplog.clear()
    world.registry.fails("due_entries", error)
    with pytest.raises(type(error)):
        await world.sweep()

    [message] = caplog.messages
    assert message == (
        f"sweep_failed {named} due=- revoked=0 purged=0 deferred=0 stuck=0 held=- backlog=-"
        " oldest_overdue_s=- teams_access=0 throttles=0 duration_ms=0"
    )


async def test_due_index_fails_halfway(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What was read is finished and reported. How much more is due is unknown."""
    caplog.set_level(logging.INFO)
    ids = await due_for_purge(world, 3)
    world.registry = HalfReadable(world.registry, readable=2)
    with pytest.raises(RegistryUnavailable):
        await world.sweep()

    assert [world.is_gone(each) for each in ids] == [True, True, False]
    [*_, last] = caplog.messages
    purged = [message for message in caplog.messages if message.startswith("identity_purged ")]
    assert sorted(purged) == [f"identity_purged identity_id={each}" for each in ids[:2]]
    assert last.startswith(
        "sweep_failed code=registry_unavailable kind=- due=- revoked=0 purged=2 deferred=0 stuck=0"
        " held=- backlog=- oldest_overdue_s=- "
    )


async def test_next_sweep_after_a_failure(world: World) -> None:
    """A failed sweep loses nothing: the next one purges what was due."""
    [identity_id] = await due_for_purge(world, 1)
    world.registry.fails("due_entries", TABLE_IS_DOWN)
    with pytest.raises(RegistryUnavailable):
        await world.sweep()
    await world.sweep()

    assert world.is_gone(identity_id)


async def test_conflicts_are_not_an_outage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Any number of conflicts is not an outage: other calls do the work. They are logged."""
    caplog.set_level(logging.INFO)
    ids = await due_for_purge(world, 100)
    world.registry.fails("update", CONFLICT, times=90)
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred, report.backlog) == (100, 10, 0, 0)
    assert f"sweep_skipped identity_id={ids[0]}" in caplog.text


# The log


async def throttle(world: World) -> None:
    """ACS accepts no deletion for a while."""
    world.acs.fails("delete", throttled(1))


async def fail_in_acs(world: World) -> None:
    """ACS fails."""
    world.acs.fails("delete", ACS_IS_DOWN)
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)


async def fail_in_table(world: World) -> None:
    """The row cannot be read."""
    world.registry.fails("read", TABLE_IS_DOWN)


async def fail_after_acs(world: World) -> None:
    """The row cannot be removed, and the failure cannot be recorded."""
    world.registry.fails("remove", TABLE_IS_DOWN)
    world.registry.passes("update")
    world.registry.fails("update", TABLE_IS_DOWN)


async def fail_unexpectedly(world: World) -> None:
    """The deletion has a bug."""
    world.acs.fails("delete", BUG)


async def nothing(_: World) -> None:
    """No failure."""


STARTED = "identity_purge_started"
DEFERRED = "identity_deferred code=acs_unavailable"
WITHOUT_ACS = "sweep_without_acs failed=1 code=acs_unavailable"


@pytest.mark.parametrize(
    ("start", "wait", "failure", "lines"),
    [
        ("deleted", RETENTION, nothing, [STARTED, "identity_purged"]),
        ("creating", LEASE, nothing, [STARTED, "identity_purged"]),
        ("purging", LEASE, nothing, ["identity_purged"]),
        ("unrevoked", LEASE, nothing, ["identity_revoked"]),
        ("half_suspended", LEASE, nothing, ["identity_revoked"]),
        ("half_suspended", LEASE, fail_in_acs, [DEFERRED, WITHOUT_ACS]),
        ("adopted_unknown", LEASE, nothing, ["identity_forgotten"]),
        ("deleted", RETENTION, throttle, [STARTED, "identity_deferred code=throttled"]),
        ("deleted", RETENTION, fail_in_acs, [STARTED, DEFERRED, WITHOUT_ACS]),
        ("unrevoked", LEASE, fail_in_acs, [DEFERRED, WITHOUT_ACS]),
        ("deleted", RETENTION, fail_in_table, ["identity_deferred code=registry_unavailable"]),
        (
            "deleted",
            RETENTION,
            fail_after_acs,
            [STARTED, "identity_deferred code=registry_unavailable"],
        ),
        (
            "deleted",
            RETENTION,
            fail_unexpectedly,
            [STARTED, "internal_error", "identity_deferred code=internal_error"],
        ),
    ],
)
async def test_each_change_is_one_line(  # noqa: PLR0913, PLR0917 -- a table
    world: World,
    caplog: pytest.LogCaptureFixture,
    start: str,
    wait: timedelta,
    failure: Callable[[World], Awaitable[None]],
    lines: list[str],
) -> None:
    """What the sweep did with an identity is one line with its id, and the code of a problem."""
    identity_id = await getattr(world, start)()
    world.clock.advance(wait + SECOND)
    await failure(world)
    caplog.set_level(logging.INFO)
    caplog.clear()
    with suppress(RegistryUnavailable):
        await world.sweep()

    events = [line.partition(" ") for line in lines]
    expected = [
        f"{name} {code}"
        if name == "sweep_without_acs"
        else f"{name} identity_id={identity_id} {code}".strip()
        for name, _, code in events
    ]
    *found, report = [message.partition("\n")[0] for message in caplog.messages]
    assert found == expected
    assert report.startswith(("sweep_finished due=1 ", "sweep_failed code=registry_unavailable "))


async def test_purge_after_the_end_of_the_budget(world: World) -> None:
    """A purge that does not fit into the time budget is not decided on: it can be restored."""
    [first, second] = await due_for_purge(world, 2)
    world.cleanup = CleanupPolicy(deletes_per_30s=1, time_budget=timedelta(seconds=1))
    report = await world.sweep()

    assert (world.is_gone(first), report.backlog) == (True, 1)
    await world.restore(second)


async def test_restored_while_the_sweep_waits(world: World) -> None:
    """An identity that is restored while the sweep waits for its turn is left alone."""
    [first, second] = await due_for_purge(world, 2)
    world.acs.precede("delete", lambda: world.restore(second))
    await world.sweep()
    issued = await world.issue(second)
    await world.sweep()

    assert (world.is_gone(first), world.acs.is_valid(issued.token)) == (True, True)


async def test_restored_while_a_revocation_waits(world: World) -> None:
    """The tokens of an identity that is restored meanwhile are not revoked again."""
    await world.unrevoked()
    second = await world.unrevoked()
    world.pass_lease()
    world.acs.precede("revoke_tokens", lambda: world.restore(second))
    await world.sweep()
    issued = await world.issue(second)
    await world.sweep()

    assert world.acs.is_valid(issued.token)


async def test_unfinished_work_comes_first(world: World) -> None:
    """A revocation that is due later than many purges is carried out before them."""
    purges = await due_for_purge(world, 3)
    unrevoked = await world.unrevoked()
    world.pass_lease()
    world.acs.calls.clear()
    await world.sweep()

    assert world.acs.calls == ["revoke_tokens", *["delete"] * len(purges)]
    assert world.row(unrevoked).revoked


# Rows of other releases


async def test_rows_of_a_newer_release(world: World) -> None:
    """More rows than an outage has that this release cannot read do not block what is due."""
    unknown = [await world.unrevoked() for _ in range(2 * OUTAGE)]
    for identity_id in unknown:
        world.registry.change(identity_id, state=State.UNKNOWN)
    [purge] = await due_for_purge(world, 1)
    before = {identity_id: world.row(identity_id) for identity_id in unknown}
    report = await world.sweep()

    assert (world.is_gone(purge), report.backlog) == (True, len(unknown))
    assert {identity_id: world.row(identity_id) for identity_id in unknown} == before


async def test_rows_of_a_newer_release_cost_no_time(world: World) -> None:
    """More of them than the rate limit allows calls do not block what is due."""
    for _ in range(3500):
        unreadable = Identity.register(world.acs.add(), None, world.clock.now())
        await world.registry.insert(unreadable)
        world.registry.change(unreadable.id, state=State.UNKNOWN)
    unfinished = await world.creating()
    world.pass_lease()
    await world.sweep()

    assert world.is_gone(unfinished)


async def test_kind_erased_by_an_older_release(world: World) -> None:
    """A write of an older release erases the kind from a row. Its due entry is still found."""
    identity_id = await world.deleted("alice")
    world.clock.advance(RETENTION)
    row = world.registry.rows[identity_id]
    world.registry.rows[identity_id] = msgspec.structs.replace(
        row, state=State.PURGING, due_kind=DueKind.WORK
    )
    await world.sweep()

    assert world.is_gone(identity_id)


async def test_due_entry_of_an_older_release(world: World) -> None:
    """A deleted identity whose due entry has no kind of its own is purged at its time."""
    identity_id = await world.deleted("alice")
    world.registry.change(identity_id, due_kind=DueKind.WORK)
    world.clock.advance(RETENTION)
    await world.sweep()

    assert world.is_gone(identity_id)


async def test_due_entry_of_a_suspended_identity(world: World) -> None:
    """If a suspended and revoked identity is due, its due entry is removed. ACS is not called."""
    identity_id = await world.suspended("alice")
    settled = world.row(identity_id)
    world.registry.change(identity_id, due=world.clock.now())
    world.acs.calls.clear()
    report = await world.sweep()

    assert (report.due, report.revoked, report.backlog) == (1, 0, 0)
    assert msgspec.structs.replace(world.row(identity_id), etag=settled.etag) == settled
    assert (world.due_entries(), world.acs.calls) == ([], [])


# Purges on hold

HOLD = CleanupPolicy(purge_hold=True)


async def test_nothing_is_purged_on_hold(world: World) -> None:
    """On hold, the sweep purges nothing that was deleted. It counts what it would purge."""
    held = [*await due_for_purge(world, 3), await world.deleted()]
    world.cleanup = HOLD
    world.acs.calls.clear()
    report = await world.sweep()

    assert (report.due, report.purged, report.backlog, report.held) == (0, 0, 0, 3)
    assert (world.acs.calls, world.acs.identities) == ([], held)


async def test_work_goes_on_on_hold(world: World) -> None:
    """On hold, the sweep revokes, rolls back, and finishes interrupted creations and purges."""
    unrevoked, purging = await world.unrevoked(), await world.purging()
    creating, registering = await world.creating(), await world.registering()
    world.clock.advance(RETENTION)
    world.cleanup = HOLD
    await world.sweep()

    assert world.row(unrevoked).revoked
    assert world.row(unrevoked).state is State.DELETED
    assert (world.is_gone(purging), world.is_gone(creating)) == (True, True)
    assert list(world.registry.rows) == [unrevoked]
    assert registering in world.acs.identities


async def test_older_due_entry_on_hold(world: World) -> None:
    """On hold, a due entry of an older release moves to the held ones, and costs nothing more."""
    identity_id = await world.deleted()
    world.registry.change(identity_id, due_kind=DueKind.WORK)
    world.clock.advance(RETENTION)
    world.cleanup = HOLD
    first, second = await world.sweep(), await world.sweep()

    assert ([first.due, first.held], [second.due, second.held]) == ([1, 1], [0, 1])
    assert world.row(identity_id).state is State.DELETED


async def test_purge_by_hand_on_hold(world: World) -> None:
    """On hold, a purge by hand still works."""
    [identity_id] = await due_for_purge(world, 1)
    world.cleanup = HOLD
    await world.purge(identity_id)

    assert world.is_gone(identity_id)


async def test_end_of_the_hold(world: World) -> None:
    """After the hold, the sweep purges what has waited."""
    [identity_id] = await due_for_purge(world, 1)
    world.cleanup = HOLD
    await world.sweep()
    world.cleanup = CleanupPolicy()
    report = await world.sweep()

    assert (world.is_gone(identity_id), report.held) == (True, None)


async def test_young_identity_is_deferred(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """An identity that ACS does not know yet is deferred with a line."""
    caplog.set_level(logging.INFO)
    identity_id = await world.creating()
    world.acs.identities.clear()
    world.clock.advance(LEASE + SECOND)
    await world.sweep()

    assert f"identity_deferred identity_id={identity_id} code=acs_unavailable" in caplog.messages


# The report


async def test_report(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The report is one line in the log. It counts each outcome separately, and ACS's throttles."""
    caplog.set_level(logging.INFO)
    await due_for_purge(world, 4)
    stuck = world.due_entries()[0].identity_id
    world.registry.change(stuck, attempts=world.cleanup.max_attempts)
    world.acs.fails("delete", ACS_IS_DOWN, times=2)
    await world.unrevoked()
    world.clock.advance(HOUR)
    begin_invocation("sweep-1").throttles = 2
    await world.sweep()

    assert (
        "sweep_finished due=5 revoked=1 purged=2 deferred=2 stuck=1 held=- backlog=2"
        " oldest_overdue_s=3600 teams_access=0 throttles=2 duration_ms=300 " in caplog.text
    )


async def test_backlog(world: World) -> None:
    """The backlog is what is left for the next sweep after a failure or the time budget."""
    world.cleanup = CleanupPolicy(deletes_per_30s=30, time_budget=timedelta(seconds=10))
    await due_for_purge(world, 100)
    world.acs.fails("delete", ACS_IS_DOWN)
    report = await world.sweep()

    assert (report.due, report.purged, report.deferred, report.backlog) == (100, 9, 1, 91)


async def test_backlog_is_bounded(world: World) -> None:
    """A sweep that stops early does not count everything that is due."""
    world.cleanup = CleanupPolicy(deletes_per_30s=1, time_budget=timedelta(seconds=1))
    await due_for_purge(world, LEFT + 3 * CONCURRENCY)
    report = await world.sweep()

    assert LEFT <= report.backlog <= LEFT + CONCURRENCY
