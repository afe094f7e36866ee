"""The sweep: the timer's work. It finishes everything that is due.

It revokes what is deleted or suspended but not yet revoked, purges what is past its retention,
purges creations that were interrupted, and rolls back registrations that were interrupted. Purges
can be put on hold; then they wait, and everything else goes on.
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
from identity_service.identity import DueEntry, DueKind, Identity, State
from identity_service.lifecycle import Lifecycle
from identity_service.log import EventLog, current_invocation
from identity_service.policies import CleanupPolicy
from identity_service.ports import Clock, Conflict, Registry
from identity_service.resource import ResourceGuard

events = EventLog(__name__)

CONCURRENCY = 16
# After this many failures without a success in between, the cause is not a single entry. The sweep
# stops, and the other entries wait for the next sweep instead of being postponed.
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
    sweep = Sweep(lifecycle, registry, clock, cleanup)
    try:
        await resource.check()
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
        try:
            # Unfinished work first, so that revocations never wait behind purges.
            await self._process_all(DueKind.WORK)
            if not self._cleanup.purge_hold:
                await self._process_all(DueKind.PURGE)
        finally:
            self.report.duration = self._clock.now() - self._started
        if self._registry_failures and len(self._registry_failures) >= min(OUTAGE, self._processed):
            raise self._registry_failures[-1]
        if self._cleanup.purge_hold:
            self.report.held = await self._registry.count_due(
                DueKind.PURGE, until=self._started, at_most=HELD
            )

    async def _process_all(self, kind: DueKind) -> None:
        """Process the due entries of one kind. Failures of the other kind do not stop it."""
        self._failures = 0
        slots = asyncio.Semaphore(CONCURRENCY)
        running: set[asyncio.Task[None]] = set()
        left = 0
        try:
            async for entry in self._registry.due_entries([kind], until=self._started):
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
        except Exception:
            await asyncio.gather(*running)
            raise
        # Not a task group: started work is finished and never cancelled between two steps.
        await asyncio.gather(*running)

    def _must_stop(self) -> bool:
        return self._failures >= OUTAGE or self._limiter.is_over

    async def _process(self, entry: DueEntry) -> None:
        """Do what is due for one identity. If anything fails, its entry stays."""
        if not await self._limiter.acquire() or self._failures >= OUTAGE:
            return
        self._processed += 1
        try:
            # Read after the wait, because the identity may have been restored meanwhile.
            identity = await self._registry.read(entry.identity_id)
            current = identity.found_at(entry) if identity else None
            if current is None or current.state is State.ACTIVE:
                self.report.done += 1  # the entry was outdated
                self._limiter.give_back()
            elif current.state is State.UNKNOWN:  # the log has the reason
                self._limiter.give_back()
            else:
                if self._must_purge(current):
                    current = await self._lifecycle.start_purge(current)
                await self._advance(current)
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

    async def _advance(self, identity: Identity) -> None:
        """Take the next step of the identity."""
        try:
            await self._step(identity)
        except IdentityNotFound:  # it never existed, and its row is removed
            self.report.done += 1
        except Throttled as throttled:
            self._defer(identity.id, throttled.code)
            self._limiter.pause(throttled.retry_after or 0)
        except IdentityNotKnownYet as error:
            # The row keeps its due entry: ACS may know the identity at the next sweep. Or another
            # sweep has deleted it a moment ago.
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

    def _must_purge(self, identity: Identity) -> bool:
        """Whether its purge starts now.

        ACS must have confirmed that an adopted identity exists: it is revoked first.
        """
        if identity.state is not State.DELETED:
            return identity.state is State.CREATING
        purge_on = identity.scheduled_purge_on
        is_time = purge_on is None or purge_on <= self._clock.now()
        return is_time and not identity.adopted and not self._cleanup.purge_hold

    async def _step(self, identity: Identity) -> None:
        match identity.state:
            case State.PURGING:
                await self._lifecycle.finish_purge(identity)
                self.report.purged += 1
            case State.SUSPENDED | State.DELETED if not identity.revoked or identity.adopted:
                await self._lifecycle.finish_revocation(identity)
                self.report.revoked += 1
            case State.DELETED:
                await self._registry.update(identity, identity.wait_for_purge())
            case State.SUSPENDED:  # nothing is left to do, so it must not stay due
                await self._registry.update(identity, identity.record_revocation())
            case State.REGISTERING:
                await self._lifecycle.roll_back(identity)

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
