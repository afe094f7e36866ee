"""Whether everything that the service needs answers, looked at now and then."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import ClassVar

import msgspec

from identity_service.errors import IdentityNotFound, ServiceError
from identity_service.model import Answer
from identity_service.ports import Acs, Clock, Registry

# ACS has nothing harmless to read. A token of an id that cannot exist creates nothing, and the
# refusal tells much: not ours means reachable and allowed, denied means that we have no right.
NOBODY = "8:acs:00000000-0000-0000-0000-000000000000_00000000-0000-0000-0000-000000000000"
# Seconds.
PATIENCE = 4.0
FRESH = 10.0


class Check(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """How one upstream answered.

    Attributes:
        status: `ok`, or the code of the problem.
        latency_ms: How long it took, in milliseconds.
        oldest_overdue_seconds: For how long the sweep has left the oldest entry waiting.
    """

    status: str
    latency_ms: int
    oldest_overdue_seconds: int | None = None


class Ready(Answer):
    """Everything answers."""

    acs: Check
    registry: Check


class NotReady(Ready):
    """Something does not."""

    status: ClassVar[int] = 503


class Readiness:
    """The last look at the upstreams, good for a few seconds, whoever asks and how often."""

    def __init__(self, acs: Acs, registry: Registry, clock: Clock) -> None:
        self._acs = acs
        self._registry = registry
        self._clock = clock
        self._looking = asyncio.Lock()
        self._seen: Ready | None = None
        self._seen_at = 0.0

    async def look(self) -> Ready:
        """What was seen at most `FRESH` seconds ago, or is seen now."""
        async with self._looking:
            if self._seen is None or asyncio.get_running_loop().time() - self._seen_at >= FRESH:
                self._seen = await self._look()
                self._seen_at = asyncio.get_running_loop().time()
        return self._seen

    async def _look(self) -> Ready:
        (acs, _), (registry, waiting) = await asyncio.gather(
            _timed(self._ask_acs), _timed(self._ask_registry)
        )
        if waiting is not None:
            registry.oldest_overdue_seconds = round(waiting.total_seconds())
        kind = Ready if acs.status == registry.status == "ok" else NotReady
        return kind(acs=acs, registry=registry)

    async def _ask_acs(self) -> None:
        try:
            await self._acs.issue_token(NOBODY, ["chat"], None)
        except IdentityNotFound:
            return

    async def _ask_registry(self) -> timedelta:
        now = self._clock.now()
        async for entry in self._registry.agenda(until=now):
            return now - entry.due
        return timedelta()


async def _timed(
    ask: Callable[[], Awaitable[timedelta | None]],
) -> tuple[Check, timedelta | None]:
    started = time.perf_counter()
    status, answer = "ok", None
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await ask()
    except ServiceError as error:
        status = error.code
    except TimeoutError:
        status = "too_slow"
    return Check(status=status, latency_ms=round(1000 * (time.perf_counter() - started))), answer
