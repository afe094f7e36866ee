"""Closed-loop load: a number of calls at once, each followed by the next; and its figures."""

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Load:
    """Calls at once, calls per round, and the delay that ACS adds to each."""

    at_once: int
    calls: int
    delay_ms: int = 0


@dataclass(frozen=True)
class Contender:
    """What is measured.

    Attributes:
        call: One call.
        cpu: The CPU seconds that the process which does the work has used so far.
    """

    name: str
    call: Call
    cpu: Callable[[], float] = time.process_time


@dataclass(frozen=True)
class Round:
    """One round of one contender.

    Attributes:
        seconds: Duration of the round.
        cpu: CPU seconds of the contender's process during the round, all threads together.
        latencies: Seconds of each call.
    """

    seconds: float
    cpu: float
    latencies: list[float]

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per call."""
        return self.cpu / len(self.latencies) * 1000

    @property
    def per_second(self) -> float:
        """Calls per second."""
        return len(self.latencies) / self.seconds

    @property
    def p50_ms(self) -> float:
        """The median latency."""
        return median(self.latencies) * 1000

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the latencies."""
        return _p99(self.latencies) * 1000


@dataclass(frozen=True)
class Series:
    """All rounds of one contender under one load. Each figure is the median of the rounds."""

    contender: str
    at_once: int
    delay_ms: int
    rounds: list[Round]

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per call."""
        return median(one.cpu_ms for one in self.rounds)

    @property
    def per_second(self) -> float:
        """Calls per second."""
        return median(one.per_second for one in self.rounds)

    @property
    def p50_ms(self) -> float:
        """The median latency."""
        return median(one.p50_ms for one in self.rounds)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile over the calls of all rounds: one round has too few."""
        return _p99(value for one in self.rounds for value in one.latencies) * 1000


def _p99(latencies: Iterable[float]) -> float:
    ordered = sorted(latencies)
    return ordered[max(0, -(-len(ordered) * 99 // 100) - 1)]


async def contest(contenders: Sequence[Contender], load: Load, rounds: int) -> list[Series]:
    """Measure the contenders in alternating rounds, so that a busy moment affects all of them.

    Each round has a new random order: the aftermath of one contender (storage that still writes)
    then affects a different one each time. Each contender opens its connections before it is
    measured.
    """
    done: dict[str, list[Round]] = {one.name: [] for one in contenders}
    random_order = random.Random(0)  # noqa: S311 -- repeatable, no secret
    for _ in range(rounds):
        for one in random_order.sample(contenders, len(contenders)):
            await _one_round(one, 2 * load.at_once, load.at_once)
            done[one.name].append(await _one_round(one, load.calls, load.at_once))
    return [Series(name, load.at_once, load.delay_ms, each) for name, each in done.items()]


async def _one_round(contender: Contender, calls: int, at_once: int) -> Round:
    """Make and measure a number of calls."""
    call, latencies = contender.call, list[float]()
    tickets = iter(range(calls))
    gc.collect()
    started, cpu = time.perf_counter(), contender.cpu()
    await asyncio.gather(*(_one_after_another(call, tickets, latencies) for _ in range(at_once)))
    return Round(time.perf_counter() - started, contender.cpu() - cpu, latencies)


async def _one_after_another(call: Call, tickets: Iterator[int], latencies: list[float]) -> None:
    for _ in tickets:
        started = time.perf_counter()
        await call()
        latencies.append(time.perf_counter() - started)
