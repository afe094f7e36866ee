"""The sweep: the timer's work. It finishes everything that is due.

It revokes what is deleted but not yet revoked, purges what is past its retention, and purges
creations that were interrupted.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from identity_service.errors import (
    IdentityNotFound,
    IdentityNotKnownYet,
    InternalError,
    RegistryUnavailable,
    ServiceError,
    Throttled,
)
from identity_service.identity import DueEntry, Identity, State
from identity_service.lifecycle import Lifecycle
from identity_service.log import EventLog, current_invocation
from identity_service.policies import CleanupPolicy
from identity_service.ports import Clock, Conflict, Registry

events = EventLog(__name__)

CONCURRENCY = 16
# After this many failures without a success in between, the cause is not a single entry. The sweep
# stops, and the other entries wait for the next sweep instead of being postponed.
OUTAGE = 3 * CONCURRENCY
# When a sweep has to stop, it counts this many more entries for its report and reads no further.
COUNTED = 1000
FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
STUCK_DELAY = timedelta(days=1)
# After this many doublings the delay has reached its maximum.
_DOUBLINGS = 6


@dataclass
class SweepReport:
    """What one sweep did, in numbers.

    Attributes:
        due: Entries that were due. If the sweep had to stop early, not all of them are counted.
        done: Entries that need no more work now.
        deferred: Entries that failed and wait for another sweep.
        stuck: Entries that failed too often and wait for a day.
        oldest_overdue: How long the oldest entry had been due when the sweep started.
    """

    due: int = 0
    done: int = 0
    revoked: int = 0
    purged: int = 0
    deferred: int = 0
    stuck: int = 0
    oldest_overdue: timedelta = timedelta()
    duration: timedelta = timedelta()

    @property
    def backlog(self) -> int:
        """The due entries that are left for another sweep."""
        return self.due - self.done

    def values(self) -> dict[str, int]:
        """The numbers for the log."""
        return {
            "due": self.due,
            "revoked": self.revoked,
            "purged": self.purged,
            "deferred": self.deferred,
            "stuck": self.stuck,
            "backlog": self.backlog,
            "oldest_overdue_s": round(self.oldest_overdue.total_seconds()),
            "throttles": current_invocation().throttles,
            "duration_ms": round(self.duration.total_seconds() * 1000),
        }


async def purge_deleted_identities(
    lifecycle: Lifecycle, registry: Registry, clock: Clock, cleanup: CleanupPolicy
) -> SweepReport:
    """Finish what is due, oldest first, within the time budget.

    Raises:
        RegistryUnavailable: the registry failed, so it is unknown what is due.
    """
    sweep = Sweep(lifecycle, registry, clock, cleanup)
    try:
        await sweep.run()
    except Exception as error:
        unknown = {"due": None, "backlog": None, "oldest_overdue_s": None}
        values: dict[str, Any] = sweep.report.values() | unknown
        code = getattr(error, "code", InternalError.code)
        events.error("sweep_failed", code=code, kind=getattr(error, "kind", None), **values)
        raise
    events.info("sweep_finished", **sweep.report.values())
    return sweep.report


class Sweep:
    """One sweep. Two sweeps at once do no harm: an ETag decides every step.

    Attributes:
        report: What it has done so far.
    """

    def __init__(
        self, lifecycle: Lifecycle, registry: Registry, clock: Clock, cleanup: CleanupPolicy
    ) -> None:
        self._lifecycle = lifecycle
        self._registry = registry
        self._clock = clock
        self._cleanup = cleanup
        self._started = clock.now()
        self._limiter = RateLimiter(
            clock, cleanup.deletes_per_30s, self._started + cleanup.time_budget
        )
        self._failures = 0
        self._processed = 0
        # The last failures of the registry in a row. A failure of ACS ends the row, because the
        # registry has responded before.
        self._registry_failures: list[RegistryUnavailable] = []
        self.report = SweepReport()

    async def run(self) -> None:
        """Process the due entries, several at a time.

        Raises:
            RegistryUnavailable: the due entries could not be read to their end, or the registry
                failed for all entries, or for as many in a row as an outage has.
        """
        slots = asyncio.Semaphore(CONCURRENCY)
        running: set[asyncio.Task[None]] = set()
        left = 0
        try:
            async for entry in self._registry.due_entries(until=self._started):
                self._count_due(entry)
                if not self._must_stop():
                    await slots.acquire()
                if self._must_stop():
                    left += 1
                    if left == COUNTED:
                        break
                    continue
                task = asyncio.create_task(self._process(entry))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: slots.release())
        finally:
            # Not a task group: started work is finished and never cancelled between two steps.
            await asyncio.gather(*running)
            self.report.duration = self._clock.now() - self._started
        if self._registry_failures and len(self._registry_failures) >= min(OUTAGE, self._processed):
            raise self._registry_failures[-1]

    def _must_stop(self) -> bool:
        return self._failures >= OUTAGE or self._limiter.is_over

    async def _process(self, entry: DueEntry) -> None:
        """Do what is due for one identity. If anything fails, its entry stays."""
        self._processed += 1
        try:
            identity = await self._registry.read(entry.identity_id)
            if identity and identity.due == entry.due and identity.state is not State.ACTIVE:
                if not await self._advance(identity):
                    return
            else:
                self.report.done += 1
        except Conflict:
            self.report.done += 1
            events.info("sweep_skipped", identity_id=entry.identity_id)
        except RegistryUnavailable as error:
            self._defer(entry.identity_id, error.code)
            self._failures += 1
            self._registry_failures.append(error)
            return
        except Exception as error:  # noqa: BLE001 -- a bug in one entry must not end the sweep
            events.error("internal_error", error, identity_id=entry.identity_id)
            self._defer(entry.identity_id, InternalError.code)
            self._failures += 1
        self._registry_failures.clear()

    async def _advance(self, identity: Identity) -> bool:
        """Take the next step of the identity, within the rate limit. False if it is too late."""
        revoke_only = self._is_retained(identity)
        if not revoke_only and identity.state is not State.PURGING:
            identity = await self._lifecycle.start_purge(identity)
        if not await self._limiter.acquire() or self._failures >= OUTAGE:
            return False
        try:
            await (self._revoke(identity) if revoke_only else self._purge(identity))
        except Throttled as throttled:
            self._defer(identity.id, throttled.code)
            self._limiter.pause(throttled.retry_after or 0)
        except IdentityNotKnownYet as error:
            # Another sweep may have deleted it a moment ago, so its row is left unchanged.
            self._defer(identity.id, error.code)
        except ServiceError as error:
            await self._postpone(identity, error.code)
        except Conflict:
            raise
        except Exception as error:  # noqa: BLE001 -- the same
            events.error("internal_error", error, identity_id=identity.id)
            await self._postpone(identity, InternalError.code)
        else:
            self._failures = 0
            self.report.done += 1
        return True

    def _is_retained(self, identity: Identity) -> bool:
        """Whether only its revocation is due, because its purge is scheduled for later."""
        purge_on = identity.scheduled_purge_on
        return identity.state is State.DELETED and bool(purge_on and self._clock.now() < purge_on)

    async def _revoke(self, identity: Identity) -> None:
        try:
            await self._lifecycle.finish_deletion(identity)
        except IdentityNotFound:  # it never existed, and its row is removed
            return
        self.report.revoked += 1

    async def _purge(self, identity: Identity) -> None:
        await self._lifecycle.finish_purge(identity)
        self.report.purged += 1

    async def _postpone(self, identity: Identity, code: str) -> None:
        """Retry later, each time after a longer delay; if it is stuck, in a day."""
        attempts = identity.attempts + 1
        stuck = attempts >= self._cleanup.max_attempts
        delay = STUCK_DELAY if stuck else _delay(identity.attempts)
        await self._registry.update(identity, identity.postpone(self._clock.now() + delay, code))
        self._defer(identity.id, code)
        self._failures += 1
        if stuck:
            self.report.stuck += 1
            events.error("identity_stuck", identity_id=identity.id, attempts=attempts, code=code)

    def _count_due(self, entry: DueEntry) -> None:
        self.report.due += 1
        overdue = self._started - entry.due
        self.report.oldest_overdue = max(self.report.oldest_overdue, overdue)

    def _defer(self, identity_id: str, code: str) -> None:
        self.report.deferred += 1
        events.info("identity_deferred", identity_id=identity_id, code=code)


class RateLimiter:
    """Allows a number of calls per 30 seconds, evenly spaced, until an end time."""

    def __init__(self, clock: Clock, calls_per_30s: int, end: datetime) -> None:
        self._clock = clock
        self._interval = timedelta(seconds=30) / calls_per_30s
        self._end = end
        self._next = clock.now()
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

    def pause(self, seconds: float) -> None:
        """Allow no call for this long."""
        self._pauses += 1
        self._next = max(self._next, self._clock.now() + timedelta(seconds=seconds))


def _delay(failures: int) -> timedelta:
    """The delay after a failure: one minute, then two, four, up to an hour."""
    doubled: int = 2 ** min(failures, _DOUBLINGS)
    return min(FIRST_DELAY * doubled, LONGEST_DELAY)
