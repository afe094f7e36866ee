"""The sweep: the timer's work. It finishes everything that is due.

It revokes what is deleted or suspended but not yet revoked, purges what is past its retention,
purges creations that were interrupted, and rolls back registrations that were interrupted. It lets
ACS agree with the rows about Teams Phone access. Purges come last. They can be put on hold; then
they wait, and everything else goes on.
"""

from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any

from identity_service.access_lifecycle import TeamsAccess
from identity_service.due_work import (
    OUTAGE,
    Calls,
    DueWork,
    Progress,
    RateLimiter,
    SweepReport,
    each,
)
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
from identity_service.log import EventLog
from identity_service.policies import CleanupPolicy
from identity_service.ports import Clock, Conflict, Registry
from identity_service.resource import ResourceGuard
from identity_service.teams_access import Access, AccessDue, AccessState

events = EventLog(__name__)

# The most held purges that are counted, so that counting costs no more than a constant.
HELD = 10_000
# Failures of ACS, or of the way to it. They may have nothing to do with the entry.
_ACS_FAILURES = (AcsRefusedUs, AcsTooSlow, AcsUnavailable)


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
        started = clock.now()
        limiter = RateLimiter(clock, cleanup.deletes_per_30s, started + cleanup.time_budget)
        self._progress = Progress(started, limiter)
        self._identities = _IdentityWork(self._progress, lifecycle, registry, clock, cleanup)
        self._access = _AccessWork(self._progress, teams_access, cleanup)
        self._registry = registry
        self._clock = clock
        self._cleanup = cleanup
        self.report = self._progress.report

    async def run(self) -> None:
        """Process the due entries, several at a time.

        Raises:
            RegistryUnavailable: the due entries could not be read to their end, or the registry
                failed for all entries, or for as many in a row as an outage has.
        """
        progress = self._progress
        try:
            # Unfinished work first, and its revocations before its purges.
            await self._identities.finish_work()
            # Whose access has ended must not keep it while many identities are purged.
            await self._access.finish_work()
            await self._identities.purge()
        finally:
            await self._identities.postpone_failed()
            await self._access.postpone_failed()
            self.report.duration = self._clock.now() - progress.started
        failures = progress.registry_failures
        if failures and len(failures) >= min(OUTAGE, progress.processed):
            raise failures[-1]
        if self._cleanup.purge_hold:
            self.report.held = await self._registry.count_due(
                DueKind.PURGE, until=progress.started, at_most=HELD
            )


class _IdentityWork(DueWork[DueEntry, Identity]):
    """What is due for identities."""

    def __init__(
        self,
        progress: Progress,
        lifecycle: Lifecycle,
        registry: Registry,
        clock: Clock,
        cleanup: CleanupPolicy,
    ) -> None:
        super().__init__(progress, cleanup)
        self._lifecycle = lifecycle
        self._registry = registry
        self._clock = clock
        self._revocations, self._deletions = Calls[Identity](), Calls[Identity]()
        # Purges that are found between revocations and wait until those are done.
        self._waiting: list[DueEntry] | None = []

    async def finish_work(self) -> None:
        """Finish everything but purges."""
        await self._process_all(self._entries(DueKind.WORK))

    async def purge(self) -> None:
        """Finish the purges that were found, then start those that are due."""
        waiting, self._waiting = self._waiting or [], None
        await self._process_all(each(waiting))
        if not self._cleanup.purge_hold:
            # A decision to purge is final, so no more than one is made without ACS.
            await self._process_all(self._entries(DueKind.PURGE), probes=1)

    async def postpone_failed(self) -> None:
        """Revocations and deletions are judged apart from each other."""
        await self._postpone_failed(self._revocations)
        await self._postpone_failed(self._deletions)

    def _entries(self, kind: DueKind) -> AsyncIterator[DueEntry]:
        started = self._progress.started
        return self._progress.counted(self._registry.due_entries([kind], until=started))

    async def _process(self, entry: DueEntry) -> None:
        if self._waiting is not None and self._handled_without_call(entry, await self._read(entry)):
            return
        if not await self._limiter.acquire():
            return
        # Read after the wait, because the identity may have been restored meanwhile.
        identity = await self._read(entry)
        if self._handled_without_call(entry, identity) or identity is None:
            self._limiter.give_back()
            return
        if self._must_purge(identity):
            identity = await self._lifecycle.start_purge(identity)
        await self._advance(identity)

    async def _read(self, entry: DueEntry) -> Identity | None:
        """The identity's row. None if there is nothing left to do for it."""
        identity = await self._registry.read(entry.identity_id)
        current = identity.found_at(entry) if identity else None
        return None if current and current.state is State.ACTIVE else current

    def _handled_without_call(self, entry: DueEntry, current: Identity | None) -> bool:
        """Count what needs no call to ACS, and keep purges for later. False if a call is needed."""
        if current is None:
            self._report.done += 1
        elif self._waiting is not None and self._is_purge(current):
            self._waiting.append(entry)
            self._progress.processed -= 1  # it will be
        else:
            return current.state is State.UNKNOWN  # the log has the reason
        return True

    async def _advance(self, identity: Identity) -> None:
        """Take the next step of the identity."""
        calls = self._calls(identity)
        try:
            await self._step(identity)
        except IdentityNotFound:  # it never existed, and its row is removed
            self._report.done += 1
            self._succeed(calls)
        except Throttled as throttled:
            self._pause(identity, throttled)
        except IdentityNotKnownYet as error:
            # The row keeps its due entry: ACS may know the identity at the next sweep. Or another
            # sweep has deleted it a moment ago.
            self._defer(identity, error.code)
            self._succeed(calls)
        except WrongResource as error:  # ACS has responded
            await self._postpone(identity, error.code)
        except _ACS_FAILURES as error:
            self._fail(calls, identity, error.code)
        except Conflict:
            raise
        except Exception as error:  # noqa: BLE001 -- a bug in one entry must not end the sweep
            if not isinstance(error, ServiceError):
                self._log_bug(error, identity)
            # If this fails too, it is one failure: that of the registry.
            await self._postpone(identity, getattr(error, "code", InternalError.code))
            self._progress.failures += 1
        else:
            self._report.done += 1
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

    def _calls(self, identity: Identity) -> Calls[Identity]:
        """Where the call to ACS of its next step counts. Other steps only change the registry."""
        if identity.state is State.PURGING:
            return self._deletions
        has_mark = identity.state in (State.SUSPENDED, State.DELETED)
        return self._revocations if has_mark and _is_unrevoked(identity) else Calls()

    async def _step(self, identity: Identity) -> None:
        match identity.state:
            case State.PURGING:
                await self._lifecycle.finish_purge(identity)
                self._report.purged += 1
            case State.SUSPENDED | State.DELETED if _is_unrevoked(identity):
                await self._lifecycle.finish_revocation(identity)
                self._report.revoked += 1
            case State.DELETED:
                await self._registry.update(identity, identity.wait_for_purge())
            case State.SUSPENDED:  # nothing is left to do, so it must not stay due
                await self._registry.update(identity, identity.record_revocation())
            case State.REGISTERING:
                await self._lifecycle.roll_back(identity)

    async def _write_postponed(self, row: Identity, delay: timedelta, code: str) -> None:
        await self._registry.update(row, row.postpone(self._progress.started + delay, code))

    def _log_deferred(self, due: DueEntry | Identity, code: str) -> None:
        events.info("identity_deferred", identity_id=_id(due), code=code)

    def _log_skipped(self, due: DueEntry | Identity) -> None:
        events.info("sweep_skipped", identity_id=_id(due))

    def _log_stuck(self, row: Identity, attempts: int, code: str) -> None:
        events.error(
            "identity_stuck", identity_id=row.id, state=row.state, attempts=attempts, code=code
        )

    def _log_bug(self, error: Exception, due: DueEntry | Identity) -> None:
        events.error("internal_error", error, identity_id=_id(due))


class _AccessWork(DueWork[AccessDue, Access]):
    """What is due for Teams Phone access."""

    def __init__(
        self, progress: Progress, teams_access: TeamsAccess, cleanup: CleanupPolicy
    ) -> None:
        super().__init__(progress, cleanup)
        self._teams_access = teams_access
        self._calls = Calls[Access]()

    async def finish_work(self) -> None:
        """Make ACS agree with every row that is due."""
        due = self._teams_access.due(self._progress.started)
        await self._process_all(self._progress.counted(due))

    async def postpone_failed(self) -> None:
        """Retry later what failed, unless ACS is the cause."""
        await self._postpone_failed(self._calls)

    async def _process(self, entry: AccessDue) -> None:
        if not await self._limiter.acquire():
            return
        access = await self._teams_access.read_due(entry)
        if access is None or access.state is AccessState.UNKNOWN:  # the log has the reason
            self._report.done += access is None
            self._limiter.give_back()
            return
        access, error = await self._teams_access.finish(access)
        match error:
            case None:
                self._report.done += 1
                self._report.teams_access += 1
                self._succeed(self._calls)
            case Throttled():
                self._pause(access, error)
            case _:
                self._fail(self._calls, access, error.code)

    async def _write_postponed(self, row: Access, delay: timedelta, code: str) -> None:
        await self._teams_access.postpone(row, delay, code)

    def _log_deferred(self, due: AccessDue | Access, code: str) -> None:
        events.info(
            "teams_access_deferred", tenant_id=due.tenant_id, object_id=due.object_id, code=code
        )

    def _log_skipped(self, due: AccessDue | Access) -> None:
        events.info("sweep_skipped", tenant_id=due.tenant_id, object_id=due.object_id)

    def _log_stuck(self, row: Access, attempts: int, code: str) -> None:
        events.error(
            "teams_access_stuck",
            tenant_id=row.tenant_id,
            object_id=row.object_id,
            state=row.state,
            attempts=attempts,
            code=code,
        )

    def _log_bug(self, error: Exception, due: AccessDue | Access) -> None:
        events.error("internal_error", error, tenant_id=due.tenant_id, object_id=due.object_id)


def _id(due: DueEntry | Identity) -> str:
    return due.id if isinstance(due, Identity) else due.identity_id


def _is_unrevoked(identity: Identity) -> bool:
    """Whether ACS has to accept a revocation, or to confirm that the identity exists."""
    return not identity.revoked or identity.adopted
