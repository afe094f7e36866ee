"""Operations about the service itself: health, ready, openapi."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec import Raw

from identity_service import ncrontab
from identity_service.errors import (
    IdentityNotFound,
    RegistryUnavailable,
    ServiceError,
    Throttled,
    WrongResource,
)
from identity_service.identity import DueKind, SweepRecord
from identity_service.log import EventLog
from identity_service.policies import VERIFICATION, CleanupPolicy
from identity_service.ports import AccessRegistry, Acs, Clock, Registry
from identity_service.resource import ResourceGuard
from identity_service.schemas import (
    Check,
    HealthResponse,
    NotReadyResponse,
    ReadyResponse,
    SweepCheck,
    SweepStatus,
    UnhealthyResponse,
)
from identity_service.sweep import HELD

T = TypeVar("T")

events = EventLog(__name__)

# ACS has no harmless read. Issuing a token for an id that cannot exist creates nothing, and the
# error is informative: "not owned" means reachable and allowed, "denied" means a missing role.
NOBODY = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"
# Seconds. Longer than the credential may take, so that ACS and the registry are not blamed for it.
TIMEOUT = 5.5
MAX_AGE = 10.0

# `make openapi` writes it.
DOCUMENT = Path(__file__).parents[2] / "openapi.json"

# How late a run may start: the platform may have to start an instance first.
LATE = timedelta(minutes=1)

# An upstream that throttles responds. Restarting or removing this instance would not help.
_RESPONDS = {"ok", Throttled.code}

_slow: set[asyncio.Task[Any]] = set()


async def health(is_configured: bool) -> HealthResponse | UnhealthyResponse:
    """Whether the app has valid settings."""
    if is_configured:
        return HealthResponse(status="ok")
    return UnhealthyResponse(status="not_configured")


async def openapi() -> Raw:
    """Get the OpenAPI document of this service."""
    return _document()


@cache
def _document() -> Raw:
    return Raw(DOCUMENT.read_bytes())


async def ready(readiness: "Readiness") -> ReadyResponse | NotReadyResponse:
    """Whether ACS and the registry respond, and how late the sweep is."""
    return await readiness.check()


class Readiness:
    """Checks the upstreams, at most once in `MAX_AGE` seconds for all callers together."""

    def __init__(
        self,
        acs: Acs,
        registry: Registry,
        access_registry: AccessRegistry,
        clock: Clock,
        cleanup: CleanupPolicy,
        resource: ResourceGuard,
    ) -> None:
        self._acs = acs
        self._resource = resource
        self._registry = registry
        self._access_registry = access_registry
        self._clock = clock
        self._cleanup = cleanup
        # If the sweep has never run, missed runs count from here.
        self._since = clock.now()
        self._schedule = ncrontab.parse(cleanup.schedule)
        self._checking = asyncio.Lock()
        self._result: ReadyResponse | None = None
        self._checked_at = 0.0

    async def check(self) -> ReadyResponse:
        """The result of a check that is at most `MAX_AGE` seconds old."""
        async with self._checking:
            loop = asyncio.get_running_loop()
            if self._result is None or loop.time() - self._checked_at >= MAX_AGE:
                self._result = await self._check()
                self._checked_at = loop.time()
        return self._result

    async def _check(self) -> ReadyResponse:
        until = asyncio.get_running_loop().time() + TIMEOUT
        (acs, _), (registry, sweep) = await asyncio.gather(
            _timed(self._ask_acs), _timed(self._ask_registry)
        )
        if acs.status == registry.status == "ok":
            acs.status = await self._check_resource(until)
        runs = None
        if sweep:
            registry.oldest_overdue_seconds = round(sweep.overdue.total_seconds())
            registry.held_purges = sweep.held
            runs = self._check_runs(sweep.record)
        # Without the sweep, calls still work: taking instances out of rotation would not help.
        is_ready = {acs.status, registry.status} <= _RESPONDS
        kind = ReadyResponse if is_ready else NotReadyResponse
        return kind(acs=acs, registry=registry, sweep=runs)

    def _check_runs(self, record: SweepRecord) -> SweepCheck:
        """Whether the sweep runs on its schedule. The result is logged."""
        now = self._clock.now()
        started, completed = record.last_started_on, record.last_completed_on
        check = SweepCheck(
            status=self._status(started, completed),
            last_started_seconds=_age(started, now),
            last_completed_seconds=_age(completed, now),
        )
        events.info(
            "sweep_checked",
            status=check.status,
            last_started_s=check.last_started_seconds,
            last_completed_s=check.last_completed_seconds,
        )
        return check

    def _status(self, started: datetime | None, completed: datetime | None) -> SweepStatus:
        budget = self._cleanup.time_budget
        is_finished = started and completed and started <= completed
        # While a sweep runs, the host skips runs.
        idle_since = completed if is_finished else started and started + budget
        if self._missed_two_runs(idle_since, LATE):
            return "missed"
        if started is None:
            return "waiting"
        return "unfinished" if self._missed_two_runs(completed, LATE + budget) else "ok"

    def _missed_two_runs(self, since: datetime | None, grace: timedelta) -> bool:
        first = self._schedule.next_after(since or self._since)
        return self._schedule.next_after(first) + grace <= self._clock.now()

    async def _ask_acs(self) -> None:
        """Whether ACS responds."""
        with suppress(IdentityNotFound, WrongResource):
            await self._acs.issue_token(NOBODY, VERIFICATION)

    async def _check_resource(self, until: float) -> str:
        """The status of ACS: whether it is the registry's resource, as far as that is known."""
        with suppress(RegistryUnavailable, TimeoutError):
            try:
                async with asyncio.timeout_at(until):
                    await self._resource.check()
            except WrongResource as error:
                return error.code
        return "ok"

    async def _ask_registry(self) -> "_Sweep":
        """What waits for the sweep."""
        now = self._clock.now()
        held = None
        if self._cleanup.purge_hold:
            held = await self._registry.count_due(DueKind.PURGE, until=now, at_most=HELD)
        record = await self._registry.read_sweep()
        kinds = [DueKind.WORK] if self._cleanup.purge_hold else list(DueKind)
        entry = await anext(self._registry.due_entries(kinds, until=now), None)
        access = await anext(self._access_registry.due(now), None)
        oldest = min((each.due for each in (entry, access) if each), default=now)
        return _Sweep(now - oldest, held, record)


class _Sweep(NamedTuple):
    """How long the oldest due entry has been waiting, the purges on hold, and the last sweep."""

    overdue: timedelta
    held: int | None
    record: SweepRecord


def _age(moment: datetime | None, now: datetime) -> int | None:
    return round((now - moment).total_seconds()) if moment else None


async def _timed(
    ask: Callable[[], Coroutine[Any, Any, T | None]],
) -> tuple[Check, T | None]:
    started = time.perf_counter()
    status, kind, result = "ok", None, None
    asking = asyncio.create_task(ask())
    done, _ = await asyncio.wait({asking}, timeout=TIMEOUT)
    try:
        if done:
            result = asking.result()
        else:
            status, kind = "too_slow", "timeout"
            _let_finish(asking)
    except RegistryUnavailable as error:
        status, kind = (Throttled.code, None) if error.throttles else (error.code, error.kind)
    except ServiceError as error:
        status, kind = error.code, error.kind
    latency_ms = round(1000 * (time.perf_counter() - started))
    return Check(status=status, kind=kind, latency_ms=latency_ms), result


def _let_finish(asking: asyncio.Task[Any]) -> None:
    """Let a slow check go on: only then is it known, and logged, what it has been waiting for."""
    _slow.add(asking)  # the event loop keeps only weak references to tasks
    asking.add_done_callback(_finished_late)


def _finished_late(asking: asyncio.Task[Any]) -> None:
    _slow.discard(asking)
    error = None if asking.cancelled() else asking.exception()
    if error and not isinstance(error, ServiceError):
        events.error("internal_error", error, operation=ready.__name__)
