"""The sweep: finish everything that is due."""

import asyncio
from datetime import timedelta

from identity_service.errors import (
    IdentityNotFound,
    IdentityNotKnownYet,
    InternalError,
    RegistryUnavailable,
    ServiceError,
    Throttled,
)
from identity_service.events import Events
from identity_service.invocation import current
from identity_service.model import CleanupPolicy
from identity_service.operations.pace import Pace
from identity_service.operations.steps import claim_purge, finish_purge, record_revocation, revoke
from identity_service.ports import Acs, Clock, Registry, RowChanged
from identity_service.rows import AgendaRow, IdentityRow, State

events = Events(__name__)

CONCURRENCY = 16
# After so many failures in a row, with no success between, it is not the entries that are at fault:
# the rest waits for the next sweep instead of being tried, and deferred, one by one.
OUTAGE = 3 * CONCURRENCY
# When it has to stop, it counts so many more that are due and reads no further.
COUNTED = 1000
FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
STUCK_DELAY = timedelta(days=1)
# After so many the delay is at its longest anyway.
_DOUBLINGS = 6


class Report:
    """What one sweep did, in numbers.

    Attributes:
        due: How many entries were due; not all of them are counted when it had to stop early.
        settled: For how many of them nothing is left to do now.
        deferred: How many failed, and wait for another sweep.
        stuck: How many failed too often, and wait for a day.
        oldest_overdue: For how long the oldest had been due when the sweep began.
    """

    def __init__(self) -> None:
        self.due = 0
        self.settled = 0
        self.revoked = 0
        self.purged = 0
        self.deferred = 0
        self.stuck = 0
        self.oldest_overdue = timedelta()
        self.duration = timedelta()

    @property
    def backlog(self) -> int:
        """How many of the due are left to another sweep."""
        return self.due - self.settled

    def values(self) -> dict[str, int]:
        """The numbers as the log has them."""
        return {
            "due": self.due,
            "revoked": self.revoked,
            "purged": self.purged,
            "deferred": self.deferred,
            "stuck": self.stuck,
            "backlog": self.backlog,
            "oldest_overdue_s": round(self.oldest_overdue.total_seconds()),
            "throttles": current().throttles,
            "duration_ms": round(self.duration.total_seconds() * 1000),
        }


async def purge_deleted_identities(
    acs: Acs, registry: Registry, clock: Clock, cleanup: CleanupPolicy
) -> Report:
    """Finish what is due, oldest first, for as long as the time budget lasts."""
    report = await Sweep(acs, registry, clock, cleanup).run()
    events.info("sweep_finished", **report.values())
    return report


class Sweep:
    """One sweep. Two at once do no harm: every step is won by an ETag."""

    def __init__(self, acs: Acs, registry: Registry, clock: Clock, cleanup: CleanupPolicy) -> None:
        self._acs = acs
        self._registry = registry
        self._clock = clock
        self._cleanup = cleanup
        self._started = clock.now()
        self._pace = Pace(clock, cleanup.deletes_per_30s, self._started + cleanup.time_budget)
        self._failures = 0
        self._report = Report()

    async def run(self) -> Report:
        """Go through the agenda, a few entries at a time."""
        slots = asyncio.Semaphore(CONCURRENCY)
        under_way: set[asyncio.Task[None]] = set()
        left = 0
        try:
            async for entry in self._registry.agenda(until=self._started):
                self._count_due(entry)
                if not self._over():
                    await slots.acquire()
                if self._over():
                    left += 1
                    if left == COUNTED:
                        break
                    continue
                task = asyncio.create_task(self._settle(entry))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _: slots.release())
        except RegistryUnavailable as error:
            events.error("sweep_cut_short", code=error.code)
        finally:
            # Not a task group: what has begun is finished, and never cancelled between two steps.
            await asyncio.gather(*under_way)
        self._report.duration = self._clock.now() - self._started
        return self._report

    def _over(self) -> bool:
        return self._failures >= OUTAGE or self._pace.is_over

    async def _settle(self, entry: AgendaRow) -> None:
        """Do what is due with one identity; whatever goes wrong, it stays on the agenda."""
        try:
            row = await self._registry.read(entry.identity_id)
            if row and row.due == entry.due and row.state is not State.ACTIVE:
                await self._advance(row)
            else:
                self._report.settled += 1
        except RowChanged:
            self._report.settled += 1
            events.info("sweep_skipped", identity_id=entry.identity_id)
        except RegistryUnavailable:
            self._failed()
        except Exception as error:  # noqa: BLE001 -- a fault of ours with one entry must not end the sweep
            events.error("internal_error", error, identity_id=entry.identity_id)
            self._failed()

    def _failed(self) -> None:
        self._failures += 1
        self._report.deferred += 1

    def _count_due(self, entry: AgendaRow) -> None:
        self._report.due += 1
        overdue = self._started - entry.due
        self._report.oldest_overdue = max(self._report.oldest_overdue, overdue)

    async def _advance(self, row: IdentityRow) -> None:
        """Take the row's next step, in its turn."""
        step = self._revoke if self._is_kept(row) else self._purge
        if step == self._purge and row.state is not State.PURGING:
            row = await claim_purge(row, self._registry, self._clock)
        if not await self._pace.turn() or self._failures >= OUTAGE:
            return
        try:
            await step(row)
        except Throttled as throttled:
            self._report.deferred += 1
            self._pace.pause(throttled.retry_after or 0)
        except IdentityNotKnownYet:
            # Another sweep may have deleted it a moment ago: its row is left to that one.
            self._report.deferred += 1
        except ServiceError as error:
            await self._defer(row, error.code)
        except RowChanged:
            raise
        except Exception as error:  # noqa: BLE001 -- the same
            events.error("internal_error", error, identity_id=row.id)
            await self._defer(row, InternalError.code)
        else:
            self._failures = 0
            self._report.settled += 1

    def _is_kept(self, row: IdentityRow) -> bool:
        """Whether it is due for its revocation only: the time of its purge has not come."""
        purge_on = row.scheduled_purge_on
        return row.state is State.DELETED and bool(purge_on and self._clock.now() < purge_on)

    async def _revoke(self, row: IdentityRow) -> None:
        try:
            await revoke(row, self._acs, self._registry)
        except IdentityNotFound:
            return  # there never was one, and its row is out
        await record_revocation(row, self._registry)
        self._report.revoked += 1

    async def _purge(self, row: IdentityRow) -> None:
        await finish_purge(row, self._acs, self._registry, self._clock)
        self._report.purged += 1

    async def _defer(self, row: IdentityRow, code: str) -> None:
        """Put it off, longer each time; one that is stuck to tomorrow."""
        attempts = row.attempts + 1
        stuck = attempts >= self._cleanup.max_attempts
        delay = STUCK_DELAY if stuck else _delay(row.attempts)
        later = row.but(attempts=attempts, last_error=code, due=self._clock.now() + delay)
        await self._registry.update(row, later)
        self._failed()
        if stuck:
            self._report.stuck += 1
            events.error("identity_stuck", identity_id=row.id, attempts=attempts, code=code)


def _delay(failures: int) -> timedelta:
    """How long to put off what has failed so often before: a minute, two, four, up to an hour."""
    doubled: int = 2 ** min(failures, _DOUBLINGS)
    return min(FIRST_DELAY * doubled, LONGEST_DELAY)
