"""The plan, carried out: faults come and go, and it is known who may have felt one."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from bench.soak.plan import Fault
from bench.soak.stage import Stage

# Seconds after a fault in which a call may still feel it.
GRACE = 5.0


@dataclass
class Occurrence:
    """When a fault was there, by the event loop's clock; without an end it still is."""

    fault: Fault
    began: float
    ended: float | None = None


class Faults:
    """Faults, one after the other.

    Attributes:
        occurrences: Those that have been so far.
        unfelt: Those that nothing ran into.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.occurrences: list[Occurrence] = []
        self.unfelt: list[str] = []

    async def run(self, plan: Sequence[Fault]) -> None:
        """Let everything happen as planned. None outlasts it, however it ends."""
        began = now()
        for fault in plan:
            await asyncio.sleep(began + fault.start - now())
            async with self._occurrence(fault), self._caused(fault):
                await asyncio.sleep(fault.seconds)

    def felt(self, began: float, ended: float) -> list[Fault]:
        """The faults that a call from `began` to `ended` may have felt."""
        return [
            one.fault
            for one in self.occurrences
            if one.began <= ended and (one.ended is None or began <= one.ended + GRACE)
        ]

    @property
    def is_calm(self) -> bool:
        """Whether whatever an earlier fault has delayed is over by now."""
        return not self.felt(now(), now())

    @asynccontextmanager
    async def _occurrence(self, fault: Fault) -> AsyncIterator[None]:
        occurrence = Occurrence(fault, now())
        self.occurrences.append(occurrence)
        yield
        occurrence.ended = now()

    def _caused(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        causes = {
            "acs": self._acs,
            "outage": self._outage,
            "identity": self._identity,
            "storage": self._storage,
            "kill": self._kill,
        }
        return causes[fault.kind](fault)

    @asynccontextmanager
    async def _acs(self, fault: Fault) -> AsyncIterator[None]:
        await self._stage.control.ask("POST", "/faults", fault.order)
        try:
            yield
        finally:
            await self._stage.control.ask("DELETE", "/faults")

    @asynccontextmanager
    async def _outage(self, fault: Fault) -> AsyncIterator[None]:
        await self._stage.control.ask("POST", "/outage", {"seconds": fault.seconds})
        try:
            yield
        finally:
            await self._stage.ask("GET", "/counts")

    @asynccontextmanager
    async def _identity(self, fault: Fault) -> AsyncIterator[None]:
        before = await self._stage.token_requests()
        await self._stage.trouble_identity(status=500)
        try:
            yield
            if await self._stage.token_requests() == before:
                self.unfelt.append(fault.name)
        finally:
            await self._stage.trouble_identity()

    @asynccontextmanager
    async def _storage(self, _fault: Fault) -> AsyncIterator[None]:
        storage = self._stage.azure.storage.process
        storage.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            storage.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def _kill(self, _fault: Fault) -> AsyncIterator[None]:
        await self._stage.kill_worker()
        await self._stage.start_worker()
        yield


def now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
