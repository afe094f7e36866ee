"""The sweep: the timer's work. It finishes everything that is due.

It revokes what is deleted or suspended but not yet revoked, purges what is past its retention,
purges creations that were interrupted, and rolls back registrations that were interrupted. It lets
ACS agree with the rows about Teams Phone access. Purges come last. They can be put on hold; then
they wait, and everything else goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import sample
from typing import Any, Generic, TypeVar

from identity_service.access_lifecycle import TeamsAccess
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
from identity_service.teams_access import Access, AccessDue, AccessState

_Row = Identity | DueEntry | Access | AccessDue
# What is due, or what it is due about. A phase of the sweep has one kind of it.
T = TypeVar("T", bound=_Row)

events = EventLog(__name__)

CONCURRENCY = 16
# After this many failures without a success in between, the cause is not a single entry.
OUTAGE = 3 * CONCURRENCY
# In an outage, so many of the other entries are tried, one after the other.
PROBES = CONCURRENCY
# The most held purges that are counted, so that counting costs no more than a constant.
HELD = 10_000
# The most entries of one kind that a sweep leaves to the next. It reads no further.
LEFT = 1000
FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
STUCK_DELAY = timedelta(days=1)
# After this many doublings the delay has reached its maximum.
_DOUBLINGS = 6
# Failures of ACS, or of the way to it. They may have nothing to do with the entry.
_ACS_FAILURES = (AcsRefusedUs, AcsTooSlow, AcsUnavailable)


@dataclass
class SweepReport:
    """What one sweep did, in numbers.

    Attributes:
        due: Entries that were due. If the sweep had to stop early, not all of them are counted.
        done: Entries that need no more work now.
        deferred: Entries that failed and wait for another sweep.
        stuck: Entries that failed too often and wait for a day.
        teams_access: Accesses to Teams Phone that were checked at ACS, given or removed.
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
    teams_access: int = 0
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
            "teams_access": self.teams_access,
            "throttles": current_invocation().throttles,
            "duration_ms": round(self.duration.total_seconds() * 1000),
        }


async def purge_deleted_identities(  # noqa: PLR0913, PLR0917 -- its parameters declare what it needs
    lifecycle: Lifecycle,
    registry: Registry,
    clock: Clock,
    cleanup: CleanupPolicy,
    resource: ResourceGuard,
    teams_access: TeamsAccess,
) -> SweepReport:
    """Finish what is due, oldest first, within the time budget.

    Raises:
        RegistryUnavailable: the registry failed, so it is unknown what is due.
        WrongResource: the registry belongs to another ACS resource. Nothing was done.
    """
    sweep = Sweep(lifecycle, registry, clock, cleanup, teams_access)
    try:
        await resource.check()
        await _record(registry.record_sweep_start(clock.now()))
        await sweep.run()
    except Exception as error:
        unknown = {"due": None, "backlog": None, "oldest_overdue_s": None}
        values: dict[str, Any] = sweep.report.values() | unknown
        code = getattr(error, "code", InternalError.code)
        events.error("sweep_failed", code=code, kind=getattr(error, "kind", None), **values)
        raise
    await _record(registry.record_sweep_end(clock.now()))
    events.info("sweep_finished", **sweep.report.values())
    return sweep.report


async def _record(record: Awaitable[None]) -> None:
    try:
        await record
    except RegistryUnavailable as error:  # the work is more important than its record
        events.warning("sweep_not_recorded", code=error.code, kind=error.kind)


class _Calls(Generic[T]):
    """The calls of one kind to ACS: how many succeeded, and the rows of the others."""

    def __init__(self) -> None:
        self.successes = 0
        self.failures: list[tuple[T, str]] = []

    @property
    def mostly_fail(self) -> bool:
        """Whether more calls failed than succeeded, so that ACS is the cause and not an entry."""
        return len(self.failures) > self.successes


class Sweep:
    """One sweep. Two sweeps at once do no harm: an ETag decides every step.

    If most revocations fail, or most deletions, or most calls about Teams Phone access, ACS is the
    cause: they are not postponed, and the next sweep tries them again. Otherwise a failure counts
    as an attempt and is postponed.

    After `OUTAGE` failures in a row, the sweep probes a few of the other entries: the newest one,
    and some at random. If one succeeds, it goes on. So entries that always fail do not hide others.

    Attributes:
        report: What it has done so far.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        registry: Registry,
        clock: Clock,
        cleanup: CleanupPolicy,
        teams_access: TeamsAccess,
    ) -> None:
        self._teams_access = teams_access
        self._lifecycle = lifecycle
        self._registry = registry
        self._clock = clock
        self._cleanup = cleanup
        self._started = clock.now()
        self._limiter = RateLimiter(
            clock, cleanup.deletes_per_30s, self._started + cleanup.time_budget
        )
        self._processed = 0
        self._failures = 0  # in a row
        # The last failures of the registry in a row. A failure of ACS ends the row, because the
        # registry has responded before.
        self._registry_failures: list[RegistryUnavailable] = []
        self._revocations, self._deletions = _Calls[Identity](), _Calls[Identity]()
        self._accesses = _Calls[Access]()
        # Purges that are found between revocations and wait until those are done.
        self._waiting: list[DueEntry] | None = []
        self.report = SweepReport()

    async def run(self) -> None:
        """Process the due entries, several at a time.

        Raises:
            RegistryUnavailable: the due entries could not be read to their end, or the registry
                failed for all entries, or for as many in a row as an outage has.
        """
        try:
            await self._process_everything()
        finally:
            await self._decide(self._revocations, self._postpone)
            await self._decide(self._deletions, self._postpone)
            await self._decide(self._accesses, self._postpone_access)
            self.report.duration = self._clock.now() - self._started
        if self._registry_failures and len(self._registry_failures) >= min(OUTAGE, self._processed):
            raise self._registry_failures[-1]
        if self._cleanup.purge_hold:
            self.report.held = await self._registry.count_due(
                DueKind.PURGE, until=self._started, at_most=HELD
            )

    async def _process_everything(self) -> None:
        # Unfinished work first, and its revocations before its purges. Whose access has ended must
        # not keep it while many identities are purged.
        await self._process_all(self._entries(DueKind.WORK), self._process)
        await self._process_all(self._access_entries(), self._process_access)
        waiting, self._waiting = self._waiting or [], None
        await self._process_all(_each(waiting), self._process)
        if not self._cleanup.purge_hold:
            # A decision to purge is final, so no more than one is made without ACS.
            await self._process_all(self._entries(DueKind.PURGE), self._process, probes=1)

    async def _entries(self, kind: DueKind) -> AsyncIterator[DueEntry]:
        async for entry in self._registry.due_entries([kind], until=self._started):
            self._count(entry.due)
            yield entry

    async def _access_entries(self) -> AsyncIterator[AccessDue]:
        async for entry in self._teams_access.due(self._started):
            self._count(entry.due)
            yield entry

    def _count(self, due: datetime) -> None:
        self.report.due += 1
        self.report.oldest_overdue = max(self.report.oldest_overdue, self._started - due)

    async def _process_all(
        self,
        entries: AsyncIterator[T],
        process: Callable[[T], Awaitable[None]],
        probes: int = PROBES,
    ) -> None:
        """Process the entries. In an outage, probe a few of those that are left."""
        left = await self._process_some(entries, process)
        if left and self._is_outage:
            # What is new is the most urgent, and the least likely to be what always fails.
            others = sample(left[:-1], len(left) - 1)
            self._failures = OUTAGE - probes
            await self._process_some(_each([left[-1], *others]), process)

    async def _process_some(
        self, entries: AsyncIterator[T], process: Callable[[T], Awaitable[None]]
    ) -> list[T]:
        """Process the entries until an outage, or the end of the time. Returns what is left."""
        slots = asyncio.Semaphore(CONCURRENCY)
        running: set[asyncio.Task[None]] = set()
        left: list[T] = []
        try:
            async for entry in entries:
                await slots.acquire()
                if self._failures >= OUTAGE - PROBES:
                    await asyncio.gather(*running)
                if self._is_outage or self._limiter.is_over:
                    slots.release()
                    left.append(entry)
                    if len(left) == LEFT:
                        break
                    continue
                task = asyncio.create_task(self._run(process, entry))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: slots.release())
        except Exception:
            await asyncio.gather(*running)
            raise
        # Not a task group: started work is finished and never cancelled between two steps.
        await asyncio.gather(*running)
        return left

    @property
    def _is_outage(self) -> bool:
        return self._failures >= OUTAGE

    async def _run(self, process: Callable[[T], Awaitable[None]], entry: T) -> None:
        """Do what is due for one identity or access. If anything fails, its entry stays."""
        self._processed += 1
        try:
            await process(entry)
        except Conflict:
            self._leave_changed(entry)
        except RegistryUnavailable as error:
            self._defer(entry, error.code)
            self._failures += 1
            self._registry_failures.append(error)
            return
        except Exception as error:  # noqa: BLE001 -- a bug in one entry must not end the sweep
            _log_bug(error, entry)
            self._defer(entry, InternalError.code)
            self._failures += 1
        self._registry_failures.clear()

    async def _process(self, entry: DueEntry) -> None:
        """Do what is due for one identity."""
        if self._waiting is not None and self._needs_no_call(entry, await self._read(entry)):
            return
        if not await self._limiter.acquire():
            return
        # Read after the wait, because the identity may have been restored meanwhile.
        identity = await self._read(entry)
        if self._needs_no_call(entry, identity) or identity is None:
            self._limiter.give_back()
            return
        if self._must_purge(identity):
            identity = await self._lifecycle.start_purge(identity)
        await self._advance(identity)

    async def _process_access(self, entry: AccessDue) -> None:
        """Let ACS agree with one row about Teams Phone access."""
        if not await self._limiter.acquire():
            return
        access = await self._teams_access.found(entry)
        if access is None or access.state is AccessState.UNKNOWN:  # the log has the reason
            self.report.done += access is None
            self._limiter.give_back()
            return
        access, error = await self._teams_access.finish(access)
        match error:
            case None:
                self.report.done += 1
                self.report.teams_access += 1
                self._succeed(self._accesses)
            case Throttled():
                self._defer(access, error.code)
                self._limiter.pause(error.retry_after or 0)
            case _:
                self._failures += 1
                self._accesses.failures.append((access, error.code))

    async def _read(self, entry: DueEntry) -> Identity | None:
        """The identity's row. None if there is nothing left to do for it."""
        identity = await self._registry.read(entry.identity_id)
        current = identity.found_at(entry) if identity else None
        return None if current and current.state is State.ACTIVE else current

    def _needs_no_call(self, entry: DueEntry, current: Identity | None) -> bool:
        """Whether ACS need not be called for it now. If so, it is counted or kept for later."""
        if current is None:
            self.report.done += 1
        elif self._waiting is not None and self._is_purge(current):
            self._waiting.append(entry)
            self._processed -= 1  # it will be
        else:
            return current.state is State.UNKNOWN  # the log has the reason
        return True

    async def _advance(self, identity: Identity) -> None:
        """Take the next step of the identity."""
        calls = self._calls(identity)
        try:
            await self._step(identity)
        except IdentityNotFound:  # it never existed, and its row is removed
            self.report.done += 1
            self._succeed(calls)
        except Throttled as throttled:
            self._defer(identity, throttled.code)
            self._limiter.pause(throttled.retry_after or 0)
        except IdentityNotKnownYet as error:
            # The row keeps its due entry: ACS may know the identity at the next sweep. Or another
            # sweep has deleted it a moment ago.
            self._defer(identity, error.code)
            self._succeed(calls)
        except WrongResource as error:  # ACS has responded
            await self._postpone(identity, error.code)
        except _ACS_FAILURES as error:
            self._failures += 1
            calls.failures.append((identity, error.code))
        except Conflict:
            raise
        except Exception as error:  # noqa: BLE001 -- the same
            if not isinstance(error, ServiceError):
                events.error("internal_error", error, identity_id=identity.id)
            self._failures += 1
            await self._postpone(identity, getattr(error, "code", InternalError.code))
        else:
            self.report.done += 1
            self._succeed(calls)

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

    def _calls(self, identity: Identity) -> _Calls[Identity]:
        """Where the call to ACS of its next step counts."""
        if identity.state is State.PURGING:
            return self._deletions
        has_mark = identity.state in (State.SUSPENDED, State.DELETED)
        return self._revocations if has_mark and _is_unrevoked(identity) else _Calls()

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

    def _succeed(self, calls: _Calls[T]) -> None:
        self._failures = 0
        calls.successes += 1

    async def _decide(
        self, calls: _Calls[T], postpone: Callable[[T, str], Awaitable[None]]
    ) -> None:
        """Postpone what failed, unless ACS is the cause."""
        if calls.mostly_fail:
            for row, code in calls.failures:
                self._defer(row, code)
            failed, (_, last) = len(calls.failures), calls.failures[-1]
            events.warning("sweep_without_acs", failed=failed, code=last)
            return
        for row, code in calls.failures:
            try:
                await postpone(row, code)
            except Conflict:
                self._leave_changed(row)
            except RegistryUnavailable as error:
                self._defer(row, error.code)

    async def _postpone(self, identity: Identity, code: str) -> None:
        """Retry later, each time after a longer delay; if it is stuck, in a day."""
        until = self._started + self._delay_of(identity)
        await self._registry.update(identity, identity.postpone(until, code))
        self._postponed(identity, code)

    async def _postpone_access(self, access: Access, code: str) -> None:
        await self._teams_access.postpone(access, self._delay_of(access), code)
        self._postponed(access, code)

    def _is_stuck(self, row: Identity | Access) -> bool:
        return row.attempts + 1 >= self._cleanup.max_attempts

    def _delay_of(self, row: Identity | Access) -> timedelta:
        return STUCK_DELAY if self._is_stuck(row) else _delay(row.attempts)

    def _postponed(self, row: Identity | Access, code: str) -> None:
        self._defer(row, code)
        if self._is_stuck(row):
            self.report.stuck += 1
            _log_stuck(row, code)

    def _defer(self, row: _Row, code: str) -> None:
        self.report.deferred += 1
        if isinstance(row, Access | AccessDue):
            events.info(
                "teams_access_deferred", tenant_id=row.tenant_id, object_id=row.object_id, code=code
            )
        else:
            events.info("identity_deferred", identity_id=_identity_id(row), code=code)

    def _leave_changed(self, row: _Row) -> None:
        """Leave it to the other call that has changed it."""
        self.report.done += 1
        if isinstance(row, Access | AccessDue):
            events.info("sweep_skipped", tenant_id=row.tenant_id, object_id=row.object_id)
        else:
            events.info("sweep_skipped", identity_id=_identity_id(row))


def _log_stuck(row: Identity | Access, code: str) -> None:
    attempts = row.attempts + 1
    if isinstance(row, Access):
        events.error(
            "teams_access_stuck",
            tenant_id=row.tenant_id,
            object_id=row.object_id,
            attempts=attempts,
            code=code,
        )
    else:
        events.error("identity_stuck", identity_id=row.id, attempts=attempts, code=code)


def _log_bug(error: Exception, row: _Row) -> None:
    if isinstance(row, Access | AccessDue):
        events.error("internal_error", error, tenant_id=row.tenant_id, object_id=row.object_id)
    else:
        events.error("internal_error", error, identity_id=_identity_id(row))


def _identity_id(row: Identity | DueEntry) -> str:
    return row.id if isinstance(row, Identity) else row.identity_id


def _is_unrevoked(identity: Identity) -> bool:
    """Whether ACS has to accept a revocation, or to confirm that the identity exists."""
    return not identity.revoked or identity.adopted


async def _each(entries: list[T]) -> AsyncIterator[T]:
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
