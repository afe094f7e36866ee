"""Works through due entries: several at a time, at a limited rate, and carefully in an outage.

`sweep.py` says what is due, and what to do about it.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import sample
from typing import Generic, TypeVar

from identity_service.errors import InternalError, RegistryUnavailable, Throttled
from identity_service.identity import DueEntry, Identity
from identity_service.log import EventLog, current_invocation
from identity_service.policies import CleanupPolicy
from identity_service.ports import Clock, Conflict
from identity_service.teams_access import Access, AccessDue

events = EventLog(__name__)

CONCURRENCY = 16
# After this many failures without a success in between, the cause is not a single entry.
OUTAGE = 3 * CONCURRENCY
# In an outage, so many of the other entries are tried, one after the other.
PROBES = CONCURRENCY
# The most entries of one kind that a sweep leaves to the next. It reads no further.
LEFT = 1000
FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
STUCK_DELAY = timedelta(days=1)
# After this many doublings the delay has reached its maximum.
_DOUBLINGS = 6


E = TypeVar("E", bound=DueEntry | AccessDue)
R = TypeVar("R", bound=Identity | Access)


@dataclass
class SweepReport:
    """What one sweep did, in numbers.

    Attributes:
        due: Entries that were due. If the sweep had to stop early, not all of them are counted.
        done: Entries that need no more work now.
        deferred: Entries that failed and wait for another sweep.
        stuck: Entries that failed too often and wait for a day.
        teams_access: Rows about Teams Phone access whose work at ACS succeeded.
        held: Purges whose date has passed and that are on hold, `sweep.HELD` at most. None if
            purges are not on hold.
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


@dataclass
class Progress:
    """What the kinds of work of one sweep share.

    Attributes:
        processed: How many entries were processed.
        failures: How many of the last ones failed in a row.
        registry_failures: The failures of the registry since the last entry for which it responded.
    """

    started: datetime
    limiter: "RateLimiter"
    report: SweepReport = field(default_factory=SweepReport)
    processed: int = 0
    failures: int = 0
    registry_failures: list[RegistryUnavailable] = field(default_factory=list)

    async def counted(self, entries: AsyncIterator[E]) -> AsyncIterator[E]:
        """The entries, which are counted as due."""
        async for entry in entries:
            self.report.due += 1
            overdue = self.started - entry.due
            self.report.oldest_overdue = max(self.report.oldest_overdue, overdue)
            yield entry

    @property
    def is_outage(self) -> bool:
        """Whether the cause of the failures is not a single entry."""
        return self.failures >= OUTAGE


class Calls(Generic[R]):
    """The calls of one kind to ACS: how many succeeded, and the rows of the others."""

    def __init__(self) -> None:
        self.successes = 0
        self.failures: list[tuple[R, str]] = []

    @property
    def mostly_fail(self) -> bool:
        """Whether more calls failed than succeeded, so that ACS is the cause and not an entry."""
        return len(self.failures) > self.successes


class DueWork(ABC, Generic[E, R]):
    """The work of one kind in a sweep: its due entries, and the rows that they are about.

    A subclass says what to do for an entry, and has the log events of its kind.
    """

    def __init__(self, progress: Progress, cleanup: CleanupPolicy) -> None:
        self._progress = progress
        self._report = progress.report
        self._limiter = progress.limiter
        self._cleanup = cleanup

    @abstractmethod
    async def _process(self, entry: E) -> None: ...

    @abstractmethod
    async def _write_postponed(self, row: R, delay: timedelta, code: str) -> None: ...

    @abstractmethod
    def _log_deferred(self, due: E | R, code: str) -> None: ...

    @abstractmethod
    def _log_skipped(self, due: E | R) -> None: ...

    @abstractmethod
    def _log_stuck(self, row: R, attempts: int, code: str) -> None: ...

    @abstractmethod
    def _log_bug(self, error: Exception, due: E | R) -> None: ...

    async def _process_all(self, entries: AsyncIterator[E], probes: int = PROBES) -> None:
        """Process the entries. In an outage, probe a few of those that are left."""
        left = await self._process_some(entries)
        if left and self._progress.is_outage:
            # What is new is the most urgent, and the least likely to be what always fails.
            others = sample(left[:-1], len(left) - 1)
            self._progress.failures = OUTAGE - probes
            await self._process_some(each([left[-1], *others]))

    async def _postpone_failed(self, calls: Calls[R]) -> None:
        """Postpone what failed, unless ACS is the cause."""
        if calls.mostly_fail:
            for row, code in calls.failures:
                self._defer(row, code)
            failed, (_, last) = len(calls.failures), calls.failures[-1]
            events.warning("sweep_without_acs", failed=failed, code=last)
            return
        unavailable: RegistryUnavailable | None = None
        for row, code in calls.failures:
            if unavailable:  # each write could take long, and the time of the sweep may be over
                self._defer(row, unavailable.code)
                continue
            try:
                await self._postpone(row, code)
            except Conflict:
                self._leave_changed(row)
            except RegistryUnavailable as error:
                unavailable = error
                self._defer(row, error.code)

    async def _process_some(self, entries: AsyncIterator[E]) -> list[E]:
        """Process the entries until an outage, or the end of the time. Returns what is left."""
        slots = asyncio.Semaphore(CONCURRENCY)
        running: set[asyncio.Task[None]] = set()
        left: list[E] = []
        try:
            async for entry in entries:
                await slots.acquire()
                if self._progress.failures >= OUTAGE - PROBES:
                    await asyncio.gather(*running)
                if self._progress.is_outage or self._limiter.is_over:
                    slots.release()
                    left.append(entry)
                    if len(left) == LEFT:
                        break
                    continue
                task = asyncio.create_task(self._run(entry))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: slots.release())
        except Exception:
            await asyncio.gather(*running)
            raise
        # Not a task group: started work is finished and never cancelled between two steps.
        await asyncio.gather(*running)
        return left

    async def _run(self, entry: E) -> None:
        """Do what is due. If anything fails, the entry stays."""
        progress = self._progress
        progress.processed += 1
        try:
            await self._process(entry)
        except Conflict:
            self._leave_changed(entry)
        except RegistryUnavailable as error:
            self._defer(entry, error.code)
            progress.failures += 1
            progress.registry_failures.append(error)
            return
        except Exception as error:  # noqa: BLE001 -- a bug in one entry must not end the sweep
            self._log_bug(error, entry)
            self._defer(entry, InternalError.code)
            progress.failures += 1
        progress.registry_failures.clear()

    def _succeed(self, calls: Calls[R]) -> None:
        self._progress.failures = 0
        calls.successes += 1

    def _fail(self, calls: Calls[R], row: R, code: str) -> None:
        self._progress.failures += 1
        calls.failures.append((row, code))

    def _pause(self, row: R, throttled: Throttled) -> None:
        self._defer(row, throttled.code)
        self._limiter.pause(throttled.retry_after or 0)

    async def _postpone(self, row: R, code: str) -> None:
        """Retry later, each time after a longer delay; if it is stuck, in a day."""
        attempts = row.attempts + 1
        is_stuck = attempts >= self._cleanup.max_attempts
        await self._write_postponed(row, STUCK_DELAY if is_stuck else _delay(row.attempts), code)
        self._defer(row, code)
        if is_stuck:
            self._report.stuck += 1
            self._log_stuck(row, attempts, code)

    def _defer(self, due: E | R, code: str) -> None:
        self._report.deferred += 1
        self._log_deferred(due, code)

    def _leave_changed(self, due: E | R) -> None:
        """Leave it to the other call that has changed it."""
        self._report.done += 1
        self._log_skipped(due)


async def each(entries: list[E]) -> AsyncIterator[E]:
    """Entries that are known already."""
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
        """Allow another call instead of one that was acquired and not made, but none in a pause."""
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
