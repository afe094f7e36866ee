"""The sweep: the timer's work. It finishes everything that is due.

It revokes what is deleted or suspended but not yet revoked, purges what is past its retention,
purges creations that were interrupted, and rolls back registrations that were interrupted. Purges
can be put on hold; then they wait, and everything else goes on.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import sample
from typing import Any, NamedTuple

from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    IdentityNotFound,
    IdentityNotKnownYet,
    InternalError,
    RegistryUnavailable,
    ServiceError,
    Throttled,
    WrongResource,
)
from identity_service.identity import DueEntry, DueKind, Identity, State
from identity_service.lifecycle import Lifecycle
from identity_service.log import EventLog, current_invocation
from identity_service.policies import CleanupPolicy
from identity_service.ports import Clock, Conflict, Registry
from identity_service.resource import ResourceGuard

events = EventLog(__name__)

CONCURRENCY = 16
# After this many failures without a success in between, the cause is not a single entry. The sweep
# stops, and the other entries wait for the next sweep.
OUTAGE = 3 * CONCURRENCY
# The most held purges that are counted, so that counting costs no more than a constant.
HELD = 10_000
# When a sweep has to stop, it counts this many more entries for its report and reads no further.
COUNTED = 1000
FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
STUCK_DELAY = timedelta(days=1)
# After this many doublings the delay has reached its maximum.
_DOUBLINGS = 6
# Failures of ACS, or of the way to it. They may have nothing to do with the entry.
_ACS_FAILURES = (AcsRefusedUs, AcsTooSlow, AcsUnavailable, WrongResource)
# If one in this many calls fails, entries may have been postponed that are not at fault.
_ONE_IN = 10


@dataclass
class SweepReport:
    """What one sweep did, in numbers.

    Attributes:
        due: Entries that were due. If the sweep had to stop early, not all of them are counted.
        done: Entries that need no more work now.
        deferred: Entries that failed and wait for another sweep.
        stuck: Entries that failed too often and wait for a day.
        held: Purges whose date has passed and that are on hold, `HELD` at most. None if purges are
            not on hold.
        oldest_overdue: How long the oldest entry had been due when the sweep started.
    """

    due: int = 0
    done: int = 0
    revoked: int = 0
    purged: int = 0
    deferred: int = 0
    stuck: int = 0
    held: int | None = None
    oldest_overdue: timedelta = timedelta()
    duration: timedelta = timedelta()

    @property
    def backlog(self) -> int:
        """The due entries that are left for another sweep."""
        return self.due - self.done

    def values(self) -> dict[str, int | None]:
        """The numbers for the log."""
        return {
            "due": self.due,
            "revoked": self.revoked,
            "purged": self.purged,
            "deferred": self.deferred,
            "stuck": self.stuck,
            "held": self.held,
            "backlog": self.backlog,
            "oldest_overdue_s": round(self.oldest_overdue.total_seconds()),
            "throttles": current_invocation().throttles,
            "duration_ms": round(self.duration.total_seconds() * 1000),
        }


async def purge_deleted_identities(
    lifecycle: Lifecycle,
    registry: Registry,
    clock: Clock,
    cleanup: CleanupPolicy,
    resource: ResourceGuard,
) -> SweepReport:
    """Finish what is due, oldest first, within the time budget.

    Raises:
        RegistryUnavailable: the registry failed, so it is unknown what is due.
        WrongResource: the registry belongs to another ACS resource. Nothing was done.
    """
    retry = not await _record_start(registry, clock)
    sweep = Sweep(lifecycle, registry, clock, cleanup, retry_postponed=retry)
    try:
        await resource.check()
        await sweep.run()
    except Exception as error:
        unknown = {"due": None, "backlog": None, "oldest_overdue_s": None}
        values: dict[str, Any] = sweep.report.values() | unknown
        code = getattr(error, "code", InternalError.code)
        events.error("sweep_failed", code=code, kind=getattr(error, "kind", None), **values)
        raise
    await _record_end(registry, clock, acs_failed=sweep.acs_failed)
    events.info("sweep_finished", **sweep.report.values())
    return sweep.report


async def _record_start(registry: Registry, clock: Clock) -> bool:
    """Record that a sweep starts. True if it is known that nothing failed in the one before."""
    try:
        before = await registry.read_sweep()
        await registry.record_sweep_start(clock.now())
    except RegistryUnavailable as error:  # the work is more important than its record
        events.warning("sweep_not_recorded", code=error.code, kind=error.kind)
        return False
    return before.is_settled


async def _record_end(registry: Registry, clock: Clock, *, acs_failed: bool) -> None:
    try:
        await registry.record_sweep_end(clock.now(), acs_failed=acs_failed)
    except RegistryUnavailable as error:  # the same
        events.warning("sweep_not_recorded", code=error.code, kind=error.kind)


@dataclass
class _Calls:
    """How the calls of one kind to ACS ended."""

    successes: int = 0
    failures: int = 0

    @property
    def fail_often(self) -> bool:
        """Whether so many failed that single entries need not be the cause."""
        return _ONE_IN * self.failures > self.successes + self.failures


class _Failure(NamedTuple):
    """A step that failed.

    Attributes:
        counts: Whether it is an attempt. It is not if the entry has been tried early.
    """

    identity: Identity
    code: str
    at: datetime
    counts: bool


class Sweep:
    """One sweep. Two sweeps at once do no harm: an ETag decides every step.

    A failure of ACS counts only if ACS works for another entry. Without ACS, nothing is postponed.
    After a sweep in which ACS failed often, the next one also tries the entries that are postponed:
    most of them are not at fault, and would wait for up to a day. A failure then changes nothing.

    Args:
        retry_postponed: Whether postponed entries are tried too.

    Attributes:
        report: What it has done so far.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        registry: Registry,
        clock: Clock,
        cleanup: CleanupPolicy,
        *,
        retry_postponed: bool = False,
    ) -> None:
        self._lifecycle = lifecycle
        self._registry = registry
        self._clock = clock
        self._cleanup = cleanup
        self._retry = retry_postponed
        self._started = clock.now()
        self._limiter = RateLimiter(
            clock, cleanup.deletes_per_30s, self._started + cleanup.time_budget
        )
        self._failures = 0
        self._processed = 0
        # Entries that the next sweep must try, postponed or not.
        self._is_incomplete = False
        # The last failures of the registry in a row. A failure of ACS ends the row, because the
        # registry has responded before.
        self._registry_failures: list[RegistryUnavailable] = []
        self._revocations, self._deletions = _Calls(), _Calls()
        self._acs_works = False
        self._undecided: list[_Failure] = []
        # Purges that are found between revocations and wait until those are done.
        self._waiting: list[DueEntry] | None = None
        self.report = SweepReport()

    @property
    def acs_failed(self) -> bool:
        """Whether the next sweep has to try postponed entries."""
        fail_often = self._revocations.fail_often or self._deletions.fail_often
        return fail_often or bool(self._undecided) or (self._retry and self._is_incomplete)

    async def run(self) -> None:
        """Process the due entries, several at a time.

        Raises:
            RegistryUnavailable: the due entries could not be read to their end, or the registry
                failed for all entries, or for as many in a row as an outage has.
        """
        try:
            await self._process_everything()
        finally:
            self._leave_undecided()
            self.report.duration = self._clock.now() - self._started
        if self._registry_failures and len(self._registry_failures) >= min(OUTAGE, self._processed):
            raise self._registry_failures[-1]
        if self._cleanup.purge_hold:
            self.report.held = await self._registry.count_due(
                DueKind.PURGE, until=self._started, at_most=HELD
            )

    async def _process_everything(self) -> None:
        # Unfinished work first, so that revocations never wait behind purges. While ACS recovers,
        # they do not wait behind unfinished purges either.
        self._waiting = [] if self._retry else None
        await self._process_all(self._entries(DueKind.WORK), probes=CONCURRENCY)
        waiting, self._waiting = self._waiting or [], None
        self._failures = 0  # failures of revocations do not stop purges
        await self._process_all(_each(waiting))
        if not self._undecided:  # without ACS, more purges are not even started
            self._failures = 0
        if not self._cleanup.purge_hold:
            await self._process_all(self._entries(DueKind.PURGE))

    async def _entries(self, kind: DueKind) -> AsyncIterator[DueEntry]:
        """The due entries of one kind. If they are tried too, the postponed ones follow."""
        until = None if self._retry and kind is DueKind.WORK else self._started
        async for entry in self._registry.due_entries([kind], until=until):
            if self._is_due(entry):
                self.report.due += 1
                overdue = self._started - entry.due
                self.report.oldest_overdue = max(self.report.oldest_overdue, overdue)
            yield entry

    async def _process_all(self, entries: AsyncIterator[DueEntry], probes: int = 1) -> None:
        """Process the entries. When the sweep must stop, the others are only counted.

        If ACS has not worked for any entry, a few of the others are tried: if one succeeds, those
        that failed are at fault. They are postponed, and no longer hide what is due after them.
        """
        slots = asyncio.Semaphore(CONCURRENCY)
        running: set[asyncio.Task[None]] = set()
        left: list[DueEntry] = []
        try:
            async for entry in entries:
                if not self._must_stop():
                    await slots.acquire()
                if self._must_stop():
                    left.append(entry)
                    if len(left) == COUNTED:
                        break
                    continue
                task = asyncio.create_task(self._process(entry))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: slots.release())
        except Exception:
            await asyncio.gather(*running)
            raise
        # Not a task group: started work is finished and never cancelled between two steps.
        await asyncio.gather(*running)
        self._is_incomplete |= bool(left)
        if self._undecided:
            for entry in sample(left, min(probes, len(left))):
                self._failures = min(self._failures, OUTAGE - 1)
                await self._process(entry)

    def _must_stop(self) -> bool:
        return self._failures >= OUTAGE or self._limiter.is_over

    def _is_due(self, entry: DueEntry) -> bool:
        return entry.due <= self._started

    async def _process(self, entry: DueEntry) -> None:
        """Do what is due for one identity. If anything fails, its entry stays."""
        try:
            if self._waiting is not None and self._can_wait(entry, await self._read(entry)):
                return
            if not await self._limiter.acquire() or self._failures >= OUTAGE:
                self._is_incomplete = True
                return
            self._processed += 1
            # Read after the wait, because the identity may have been restored meanwhile.
            await self._continue(entry, await self._read(entry))
        except Conflict:
            self._skip(entry.identity_id)
        except RegistryUnavailable as error:
            self._defer(entry.identity_id, error.code)
            self._failures += 1
            self._is_incomplete = True
            self._registry_failures.append(error)
            return
        except Exception as error:  # noqa: BLE001 -- a bug in one entry must not end the sweep
            events.error("internal_error", error, identity_id=entry.identity_id)
            self._defer(entry.identity_id, InternalError.code)
            self._failures += 1
        self._registry_failures.clear()

    async def _read(self, entry: DueEntry) -> Identity | None:
        """The identity's row. None if the entry is outdated."""
        identity = await self._registry.read(entry.identity_id)
        return identity.found_at(entry) if identity else None

    def _can_wait(self, entry: DueEntry, current: Identity | None) -> bool:
        """Whether nothing has to be done for it among the revocations. Purges are kept."""
        if not (self._is_due(entry) or (current and current.attempts)):
            return True  # not postponed: an operation is at work, or has finished
        if current and self._is_purge(current) and self._waiting is not None:
            self._waiting.append(entry)
            return True
        return False

    async def _continue(self, entry: DueEntry, current: Identity | None) -> None:
        """Do what is due for the identity."""
        is_due = self._is_due(entry)
        if current is None or current.state is State.ACTIVE:
            self.report.done += is_due  # the entry was outdated
            self._limiter.give_back()
        elif current.state is State.UNKNOWN:  # the log has the reason
            self._limiter.give_back()
        else:
            self.report.due += not is_due
            if self._must_purge(current):
                current = await self._lifecycle.start_purge(current)
            await self._advance(current, counts=is_due)

    async def _advance(self, identity: Identity, *, counts: bool) -> None:
        """Take the next step of the identity. `counts`: whether a failure is an attempt."""
        calls = self._calls(identity)
        try:
            await self._step(identity)
        except IdentityNotFound:  # it never existed, and its row is removed
            self.report.done += 1
            await self._succeed(calls)
        except Throttled as throttled:
            self._is_incomplete = True
            self._defer(identity.id, throttled.code)
            self._limiter.pause(throttled.retry_after or 0)
        except IdentityNotKnownYet as error:
            # The row keeps its due entry: ACS may know the identity at the next sweep. Or another
            # sweep has deleted it a moment ago.
            self._defer(identity.id, error.code)
            await self._succeed(calls)
        except _ACS_FAILURES as error:
            if calls and not isinstance(error, WrongResource):  # that is an answer of ACS
                calls.failures += 1
                self._failures += 1
            await self._fail(identity, error, counts=counts, is_of_acs=True)
        except Conflict:
            raise
        except Exception as error:  # noqa: BLE001 -- the same
            self._failures += 1
            await self._fail(identity, error, counts=counts)
        else:
            self.report.done += 1
            await self._succeed(calls)

    def _is_purge(self, identity: Identity) -> bool:
        return identity.state is State.PURGING or self._must_purge(identity)

    def _must_purge(self, identity: Identity) -> bool:
        """Whether its purge starts now.

        ACS must have confirmed that an adopted identity exists: it is revoked first.
        """
        if identity.state is not State.DELETED:
            return identity.state is State.CREATING
        purge_on = identity.scheduled_purge_on
        is_time = purge_on is None or purge_on <= self._clock.now()
        return is_time and not identity.adopted and not self._cleanup.purge_hold

    def _calls(self, identity: Identity) -> _Calls | None:
        """The calls to ACS that `_step` adds to. None if it makes none."""
        if identity.state is State.PURGING:
            return self._deletions
        has_mark = identity.state in (State.SUSPENDED, State.DELETED)
        return self._revocations if has_mark and _is_unrevoked(identity) else None

    async def _step(self, identity: Identity) -> None:
        match identity.state:
            case State.PURGING:
                await self._lifecycle.finish_purge(identity)
                self.report.purged += 1
            case State.SUSPENDED | State.DELETED if _is_unrevoked(identity):
                await self._lifecycle.finish_revocation(identity)
                self.report.revoked += 1
            case State.DELETED:
                await self._registry.update(identity, identity.wait_for_purge())
            case State.SUSPENDED:  # nothing is left to do, so it must not stay due
                await self._registry.update(identity, identity.record_revocation())
            case State.REGISTERING:
                await self._lifecycle.roll_back(identity)

    async def _succeed(self, calls: _Calls | None) -> None:
        """Record that a step succeeded. If it called ACS, earlier failures of ACS count now."""
        self._failures = 0
        if calls is None:
            return
        calls.successes += 1
        self._acs_works = True
        undecided, self._undecided = self._undecided, []
        for failure in undecided:
            try:
                await self._decide(failure)
            except Conflict:
                self._skip(failure.identity.id)
            except RegistryUnavailable as error:
                self._defer(failure.identity.id, error.code)

    async def _fail(
        self, identity: Identity, error: Exception, *, counts: bool, is_of_acs: bool = False
    ) -> None:
        """Decide about a failure, unless it is of ACS, which has not worked for any entry yet."""
        if not isinstance(error, ServiceError):
            events.error("internal_error", error, identity_id=identity.id)
        code = error.code if isinstance(error, ServiceError) else InternalError.code
        failure = _Failure(identity, code, self._clock.now(), counts)
        if is_of_acs and not self._acs_works:
            self._undecided.append(failure)
        else:
            await self._decide(failure)

    async def _decide(self, failure: _Failure) -> None:
        """Postpone the identity, or leave it as it is if it has been tried early."""
        if failure.counts:
            await self._postpone(failure)
        else:
            self._defer(failure.identity.id, failure.code)

    def _leave_undecided(self) -> None:
        """Leave everything that failed as it is, because ACS has not worked for any entry."""
        for failure in self._undecided:
            self._defer(failure.identity.id, failure.code)
        if self._undecided:
            code = self._undecided[-1].code
            events.warning("sweep_without_acs", failed=len(self._undecided), code=code)

    async def _postpone(self, failure: _Failure) -> None:
        """Retry later, each time after a longer delay; if it is stuck, in a day."""
        identity, code = failure.identity, failure.code
        attempts = identity.attempts + 1
        stuck = attempts >= self._cleanup.max_attempts
        delay = STUCK_DELAY if stuck else _delay(identity.attempts)
        await self._registry.update(identity, identity.postpone(failure.at + delay, code))
        self._defer(identity.id, code)
        if stuck:
            self.report.stuck += 1
            events.error("identity_stuck", identity_id=identity.id, attempts=attempts, code=code)

    def _defer(self, identity_id: str, code: str) -> None:
        self.report.deferred += 1
        events.info("identity_deferred", identity_id=identity_id, code=code)

    def _skip(self, identity_id: str) -> None:
        """Leave it to the other call that has changed it."""
        self.report.done += 1
        events.info("sweep_skipped", identity_id=identity_id)


def _is_unrevoked(identity: Identity) -> bool:
    """Whether ACS has to accept a revocation, or to confirm that the identity exists."""
    return not identity.revoked or identity.adopted


async def _each(entries: list[DueEntry]) -> AsyncIterator[DueEntry]:
    for entry in entries:
        yield entry


class RateLimiter:
    """Allows a number of calls per 30 seconds, evenly spaced, until an end time."""

    def __init__(self, clock: Clock, calls_per_30s: int, end: datetime) -> None:
        self._clock = clock
        self._interval = timedelta(seconds=30) / calls_per_30s
        self._end = end
        self._next = self._resume = clock.now()
        self._pauses = 0

    @property
    def is_over(self) -> bool:
        """Whether no more calls are allowed before the end."""
        return max(self._next, self._clock.now()) >= self._end

    async def acquire(self) -> bool:
        """Wait until a call is allowed. False, at once, if that would be after the end.

        Calls that are waiting when a pause starts wait again after it.
        """
        while not self.is_over:
            pauses, now = self._pauses, self._clock.now()
            mine = max(self._next, now)
            self._next = mine + self._interval
            if mine > now:
                await self._clock.sleep((mine - now).total_seconds())
            if pauses == self._pauses:
                return True
        return False

    def give_back(self) -> None:
        """Allow another call instead of one that was acquired and not made."""
        self._next = max(self._next - self._interval, self._resume)

    def pause(self, seconds: float) -> None:
        """Allow no call for this long."""
        self._pauses += 1
        self._next = max(self._next, self._clock.now() + timedelta(seconds=seconds))
        self._resume = self._next


def _delay(failures: int) -> timedelta:
    """The delay after a failure: one minute, then two, four, up to an hour."""
    doubled: int = 2 ** min(failures, _DOUBLINGS)
    return min(FIRST_DELAY * doubled, LONGEST_DELAY)
