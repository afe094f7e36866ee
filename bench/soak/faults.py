"""Which faults happen when, and their injection. A seed repeats the same plan."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from random import Random
from typing import Any

from bench.soak.stage import Stage

# Seconds that most faults last, and of the quiet period after each.
FAULT, QUIET = 6.0, 12.0
# azure-identity refreshes its token after 30 s at the earliest: a shorter fault may go unnoticed.
IDENTITY_FAULT = 33.0
# Seconds after a fault in which a call may still be affected.
GRACE = 5.0


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: `acs` for a fault of the ACS emulator; `outage`, `identity`, `storage`, `kill`.
        allowed: Error statuses that affected calls may get; 0 means no response.
        order: The fault as the ACS emulator or the managed identity endpoint takes it.
        seconds: Duration; 0 for an event.
        start: Seconds from the beginning of the soak.
    """

    name: str
    kind: str
    allowed: frozenset[int] = frozenset({503})
    order: dict[str, Any] = field(default_factory=dict)
    seconds: float = FAULT
    start: float = 0.0


KILL = Fault("worker: killed", "kill", frozenset({0}), seconds=0)
# The app promises that callers do not notice these faults.
_NONE: frozenset[int] = frozenset()
FAULTS = (
    Fault("ACS: 500", "acs", order={"kind": "status", "status": 500, "share": 0.5}),
    Fault(
        "ACS: 503 with Retry-After",
        "acs",
        order={"kind": "status", "status": 503, "retryAfter": 2},
    ),
    Fault(
        "ACS: 429",
        "acs",
        frozenset({429}),
        order={"kind": "status", "status": 429, "retryAfter": 1, "share": 0.5},
    ),
    Fault("ACS: a second late", "acs", _NONE, order={"kind": "delay", "delaySeconds": 1}),
    Fault("ACS: dropped before the effect", "acs", order={"kind": "drop", "share": 0.3}),
    Fault(
        "ACS: dropped after the effect",
        "acs",
        order={"kind": "drop", "when": "after", "share": 0.3},
    ),
    Fault("ACS: half a response", "acs", order={"kind": "half", "share": 0.3}),
    Fault(
        "ACS: HTML", "acs", order={"kind": "status", "status": 502, "body": "html", "share": 0.5}
    ),
    Fault("ACS: connections refused", "outage"),
    Fault(
        "managed identity: 500", "identity", _NONE, order={"status": 500}, seconds=IDENTITY_FAULT
    ),
    Fault(
        "managed identity: no response",
        "identity",
        _NONE,
        order={"delaySeconds": 60},
        seconds=IDENTITY_FAULT,
    ),
    Fault("storage: no response", "storage", frozenset({503, 504})),
)


def plan(seconds: float, seed: int) -> list[Fault]:
    """Return one fault after another, each followed by a quiet period.

    The worker is killed first, so that one worker serves the rest of the time. Each other fault
    happens once before any is repeated.
    """
    random = Random(seed)  # noqa: S311 -- repeatable, no secret
    planned: list[Fault] = []
    start = QUIET / 2
    for fault in chain([KILL], _shuffled_forever(random)):
        if start + fault.seconds + QUIET > seconds:
            break
        planned.append(replace(fault, start=start))
        start += fault.seconds + QUIET
    return planned


def _shuffled_forever(random: Random) -> Iterator[Fault]:
    while True:
        yield from random.sample(FAULTS, len(FAULTS))


@dataclass
class Occurrence:
    """A fault and when it was active, in the event loop's time; without an end it still is."""

    fault: Fault
    began: float
    ended: float | None = None


class FaultInjector:
    """Injects the planned faults one after another.

    Attributes:
        occurrences: The faults so far.
        unused: The names of those that no call met.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._control = stage.stack.control
        self.occurrences: list[Occurrence] = []
        self.unused: list[str] = []

    async def run(self, plan: Sequence[Fault]) -> None:
        """Follow the plan. No fault stays active when this ends, however it ends."""
        began = now()
        for fault in plan:
            await asyncio.sleep(began + fault.start - now())
            async with self._recorded(fault), self._injected(fault):
                await asyncio.sleep(fault.seconds)

    def affecting(self, began: float, ended: float) -> list[Fault]:
        """Return the faults that may have affected a call from `began` to `ended`."""
        return [
            one.fault
            for one in self.occurrences
            if one.began <= ended and (one.ended is None or began <= one.ended + GRACE)
        ]

    @property
    def is_quiet(self) -> bool:
        """Whether no fault is active and everything that one delayed is finished."""
        return not self.affecting(now(), now())

    @asynccontextmanager
    async def _recorded(self, fault: Fault) -> AsyncIterator[None]:
        occurrence = Occurrence(fault, now())
        self.occurrences.append(occurrence)
        yield
        occurrence.ended = now()

    def _injected(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        injectors = {
            "acs": self._acs,
            "outage": self._outage,
            "identity": self._identity,
            "storage": self._storage,
            "kill": self._kill,
        }
        return injectors[fault.kind](fault)

    @asynccontextmanager
    async def _acs(self, fault: Fault) -> AsyncIterator[None]:
        await self._control.inject(**fault.order)
        try:
            yield
        finally:
            await self._control.clear_faults()

    @asynccontextmanager
    async def _outage(self, fault: Fault) -> AsyncIterator[None]:
        await self._control.outage(fault.seconds)
        try:
            yield
        finally:
            await self._control.ask_when_reachable("GET", "counts")

    @asynccontextmanager
    async def _identity(self, fault: Fault) -> AsyncIterator[None]:
        before = await self._control.token_requests()
        await self._stage.set_identity_fault(**fault.order)
        try:
            yield
            # A renewal that began just before the fault may be the last one for a while.
            end = now() + IDENTITY_FAULT
            while await self._control.token_requests() == before and now() < end:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(1)
            if await self._control.token_requests() == before:
                self.unused.append(fault.name)
        finally:
            await self._stage.set_identity_fault()

    @asynccontextmanager
    async def _storage(self, _fault: Fault) -> AsyncIterator[None]:
        self._stage.tables.suspend()
        try:
            yield
        finally:
            self._stage.tables.resume()

    @asynccontextmanager
    async def _kill(self, _fault: Fault) -> AsyncIterator[None]:
        await self._stage.kill_worker()
        await self._stage.start_worker()
        yield


def now() -> float:
    """Return the event loop's time in seconds."""
    return asyncio.get_running_loop().time()
