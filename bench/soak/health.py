"""Memory, sockets and tasks of the worker over time, and whether they stay as they are."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import aiohttp

from bench.process import mebibytes, sockets
from bench.soak.faults import Faults
from bench.soak.stage import Stage

# Seconds from one look to the next. With the sweep's two, each would fall on the same moment of it.
INTERVAL = 1.7
# Of a worker's time this part is for warming up; an equal part comes after it, and one is the last.
PART = 4
# So many looks at least make a trend: fewer tell more of the moment than of the time.
SHORTEST = 20


@dataclass(frozen=True)
class Sample:
    """The worker at one moment; memory is what is resident, in MiB."""

    pid: int
    memory: float
    sockets: int
    tasks: int


@dataclass
class Looks:
    """All looks at the workers.

    Attributes:
        failed: Looks at a worker that was not there.
    """

    samples: list[Sample] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True)
class Trend:
    """One figure early and late, and how much it may grow between."""

    name: str
    early: float
    late: float
    limit: float

    @property
    def is_flat(self) -> bool:
        """Whether it grew no more than is let pass."""
        return self.late - self.early <= self.limit


_Figure = tuple[str, Callable[[Sample], float], Callable[[list[float]], float], float]
# What is at work comes and goes; what is leaked is there at the quietest moment, too.
_FIGURES: tuple[_Figure, ...] = (
    ("memory, MiB", lambda one: one.memory, median, 8.0),
    ("sockets, the fewest", lambda one: one.sockets, min, 16.0),
    ("tasks, the fewest", lambda one: one.tasks, min, 4.0),
)


async def watch(stage: Stage, faults: Faults, looks: Looks) -> None:
    """Look at the worker again and again while all is well, until cancelled."""
    while True:
        await asyncio.sleep(INTERVAL)
        if faults.is_calm:
            try:
                looks.samples.append(await _look(stage))
            except (aiohttp.ClientError, OSError):
                looks.failed += faults.is_calm


async def _look(stage: Stage) -> Sample:
    pid = stage.app.process.pid
    tasks = await stage.count_tasks()
    return Sample(pid, mebibytes("VmRSS", pid), sockets(pid), tasks)


def trends(samples: Sequence[Sample]) -> list[Trend]:
    """What the samples of the last worker come to; nothing where they are too few."""
    of_last = [one for one in samples if one.pid == samples[-1].pid]
    if len(of_last) < SHORTEST:
        return []
    part = len(of_last) // PART
    early, late = of_last[part : 2 * part], of_last[-part:]
    return [
        Trend(name, summary([*map(figure, early)]), summary([*map(figure, late)]), limit)
        for name, figure, summary, limit in _FIGURES
    ]
