"""The plan, carried out: faults come and go, and it is known when there was one."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.soak.plan import FAULT, Fault
from bench.soak.stage import Stage

# Seconds after a fault in which a call may still feel it.
GRACE = 5.0


@dataclass
class Spell:
    """When a fault was there, by the event loop's clock; without an end it still is."""

    name: str
    began: float
    ended: float | None = None


class Weather:
    """Faults, one after the other.

    Attributes:
        spells: Those that have been so far.
        reachable: Set while nothing keeps anybody from the control endpoint.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.spells: list[Spell] = []
        self.reachable = asyncio.Event()
        self.reachable.set()

    async def run(self, plan: Sequence[Fault]) -> None:
        """Let everything happen as planned."""
        began = now()
        for fault in plan:
            await asyncio.sleep(began + fault.start - now())
            async with self._spell(fault.name):
                await self._strike(fault)

    def is_ill(self, began: float, ended: float) -> bool:
        """Whether a call from `began` to `ended` may have felt a fault."""
        return any(
            spell.began <= ended and (spell.ended is None or began <= spell.ended + GRACE)
            for spell in self.spells
        )

    @property
    def is_calm(self) -> bool:
        """Whether whatever an earlier fault has delayed is over by now."""
        return not self.is_ill(now(), now())

    @asynccontextmanager
    async def _spell(self, name: str) -> AsyncIterator[None]:
        spell = Spell(name, now())
        self.spells.append(spell)
        yield
        spell.ended = now()

    async def _strike(self, fault: Fault) -> None:
        match fault.kind:
            case "acs":
                await self._acs(fault)
            case "outage":
                await self._outage()
            case "identity":
                await self._stage.trouble_identity(status=500)
                await asyncio.sleep(FAULT)
                await self._stage.trouble_identity()
            case "storage":
                self._stage.azure.storage.process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(FAULT)
                self._stage.azure.storage.process.send_signal(signal.SIGCONT)
            case "kill":
                await self._stage.kill_worker()
                await self._stage.start_worker()

    async def _acs(self, fault: Fault) -> None:
        await self._stage.control.ask("POST", "/faults", fault.order)
        await asyncio.sleep(FAULT)
        await self._stage.control.ask("DELETE", "/faults")

    async def _outage(self) -> None:
        self.reachable.clear()
        await self._stage.control.ask("POST", "/outage", {"seconds": FAULT})
        await asyncio.sleep(FAULT + 1)
        self.reachable.set()


def now() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
