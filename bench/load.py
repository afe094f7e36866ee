"""Closed-loop load: a number of calls at once, each followed by the next; and its figures."""

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

Call = Callable[[], Awaitable[object]]

# Fewer rounds give no useful median; more add nothing.
MIN_ROUNDS, MAX_ROUNDS = 3, 15


@dataclass(frozen=True)
class Load:
    """Calls at once, calls per round, and the delay that ACS adds to each."""

    at_once: int
    calls: int
    delay_ms: int = 0


@dataclass(frozen=True)
class Round:
    """One round of one contender.

    Attributes:
        seconds: Duration of the round.
        cpu: CPU seconds of this process during the round, all threads together.
        latencies: Seconds of each call.
    """

    seconds: float
    cpu: float
    latencies: list[float]


@dataclass(frozen=True)
class Series:
    """All rounds of one contender under one load."""

    contender: str
    at_once: int
    delay_ms: int
    rounds: list[Round]

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds per call: the median of the rounds."""
        return median(one.cpu / len(one.latencies) for one in self.rounds) * 1000

    @property
    def per_second(self) -> float:
        """Calls per second: the median of the rounds."""
        return median(len(one.latencies) / one.seconds for one in self.rounds)

    @property
    def p50_ms(self) -> float:
        """The median of the rounds' median latencies."""
        return median(median(one.latencies) for one in self.rounds) * 1000

    @property
    def p99_ms(self) -> float:
        """The 99th percentile over the calls of all rounds: one round has too few."""
        ordered = sorted(value for one in self.rounds for value in one.latencies)
        return ordered[max(0, -(-len(ordered) * 99 // 100) - 1)] * 1000


async def one_round(call: Call, calls: int, at_once: int) -> Round:
    """Make and measure a number of calls."""
    latencies: list[float] = []
    tickets = iter(range(calls))
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_one_after_another(call, tickets, latencies) for _ in range(at_once)))
    return Round(time.perf_counter() - started, time.process_time() - cpu, latencies)


async def _one_after_another(call: Call, tickets: Iterator[int], latencies: list[float]) -> None:
    for _ in tickets:
        started = time.perf_counter()
        await call()
        latencies.append(time.perf_counter() - started)


async def contest(
    contenders: Mapping[str, Call], load: Load, seconds: float, max_rounds: int = MAX_ROUNDS
) -> list[Series]:
    """Measure the contenders in alternating rounds, so that a busy moment affects all of them.

    Each round has a new random order: the aftermath of one contender (storage that still writes)
    then affects a different one each time. Each contender opens its connections before it is
    measured. Rounds begin until `seconds` have passed: at least three, at most `max_rounds`.
    """
    names = list(contenders)
    done: dict[str, list[Round]] = {name: [] for name in names}
    random_order = random.Random(0)  # noqa: S311 -- repeatable, no secret
    end = time.perf_counter() + seconds
    for number in range(max_rounds):
        if number >= MIN_ROUNDS and time.perf_counter() > end:
            break
        for name in random_order.sample(names, len(names)):
            await one_round(contenders[name], load.at_once, load.at_once)
            done[name].append(await one_round(contenders[name], load.calls, load.at_once))
    return [Series(name, load.at_once, load.delay_ms, done[name]) for name in names]
