"""Memory, sockets and tasks of the worker over time, and whether they grow."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field

import aiohttp

from bench.process import mebibytes, sockets
from bench.soak.callers import Callers
from bench.soak.faults import FaultInjector
from bench.soak.stage import Stage

# Seconds between two samples.
INTERVAL = 1.0
# A sample is the lowest of several readings without a caller, this many seconds apart: the sweep,
# which runs every two seconds, is not under way at all of them.
READINGS, APART = 4, 0.4
# A worker's time is split into this many parts: the first is warm-up, the second is compared with
# the last.
PARTS = 4
# Fewer samples do not show a trend.
MIN_SAMPLES = 6


@dataclass(frozen=True)
class Sample:
    """The worker at one moment.

    Attributes:
        memory: Resident, in MiB.
        blocks: Thousands of blocks of memory that Python objects use.
    """

    pid: int
    memory: float
    sockets: int
    tasks: int
    blocks: float


@dataclass
class Samples:
    """All samples of the workers.

    Attributes:
        failed: Number of times the worker could not be reached.
    """

    samples: list[Sample] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True)
class Trend:
    """The highest value of a figure early, its lowest late, and its maximum growth in between.

    Connections are kept for a while, so their number without work depends on the work before.
    """

    name: str
    early: float
    late: float
    limit: float

    @property
    def is_flat(self) -> bool:
        """Whether it grew by no more than the limit."""
        return self.late - self.early <= self.limit


_Figure = tuple[str, Callable[[Sample], float], float]
# A leak is what is still there without any work. The memory of a process never shrinks: it keeps
# what its busiest moment needed. So its objects are counted, and the limit for memory allows three
# steps of 8 MiB.
_FIGURES: tuple[_Figure, ...] = (
    ("memory, MiB", lambda one: one.memory, 24.0),
    ("sockets", lambda one: one.sockets, 16.0),
    ("tasks", lambda one: one.tasks, 4.0),
    ("thousand blocks of objects", lambda one: one.blocks, 4.0),
)


async def watch(stage: Stage, faults: FaultInjector, callers: Callers, samples: Samples) -> None:
    """Sample the idle worker while no fault is active, until cancelled."""
    while True:
        await asyncio.sleep(INTERVAL)
        if faults.is_quiet:
            try:
                async with callers.paused():
                    samples.samples.append(await _sample(stage))
            except (aiohttp.ClientError, OSError):
                samples.failed += faults.is_quiet


async def _sample(stage: Stage) -> Sample:
    readings = []
    for _ in range(READINGS):
        await asyncio.sleep(APART)
        readings.append(await _reading(stage))
    return Sample(*map(min, zip(*map(astuple, readings), strict=True)))


async def _reading(stage: Stage) -> Sample:
    pid = stage.app.process.pid
    tasks, blocks = await stage.count_inside()
    return Sample(pid, mebibytes("VmRSS", pid), sockets(pid), tasks, blocks / 1000)


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """Return the trends of the last worker; none if there are too few samples."""
    of_last = [one for one in samples if one.pid == samples[-1].pid]
    if len(of_last) < MIN_SAMPLES:
        return []
    part = len(of_last) // PARTS
    early, late = of_last[part : 2 * part], of_last[-part:]
    return [
        Trend(name, max(map(figure, early)), min(map(figure, late)), limit)
        for name, figure, limit in _FIGURES
    ]
