"""Calls in a closed loop: so many at once, each followed by the next."""

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from bench.figures import Round, Series

Call = Callable[[], Awaitable[object]]

# Rounds; fewer have no median to speak of, and more tell nothing new.
FEWEST, MOST = 3, 15


@dataclass(frozen=True)
class Load:
    """So many calls at once, so many in a round, each with so much delay upstream."""

    at_once: int
    calls: int
    delay_ms: int = 0


async def one_round(call: Call, calls: int, at_once: int) -> Round:
    """Make so many calls, and measure them."""
    latencies: list[float] = []
    tickets = iter(range(calls))
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_in_turn(call, tickets, latencies) for _ in range(at_once)))
    return Round(time.perf_counter() - started, time.process_time() - cpu, latencies)


async def _in_turn(call: Call, tickets: Iterator[int], latencies: list[float]) -> None:
    for _ in tickets:
        started = time.perf_counter()
        await call()
        latencies.append(time.perf_counter() - started)


async def contest(
    contenders: Mapping[str, Call], load: Load, seconds: float, most: int = MOST
) -> list[Series]:
    """Let the contenders take turns, so that a noisy moment strikes all of them alike.

    Their order is drawn anew for each round: what one leaves behind (a storage that still writes)
    falls to another one each time. Each opens its connections before it is measured.
    There are as many rounds as begin within `seconds`, but three at least, and `most` at most.
    """
    names = list(contenders)
    done: dict[str, list[Round]] = {name: [] for name in names}
    dice = random.Random(0)  # noqa: S311 -- repeatable, no secret
    end = time.perf_counter() + seconds
    for number in range(most):
        if number >= FEWEST and time.perf_counter() > end:
            break
        for name in dice.sample(names, len(names)):
            await one_round(contenders[name], load.at_once, load.at_once)
            done[name].append(await one_round(contenders[name], load.calls, load.at_once))
    return [Series(name, load.at_once, load.delay_ms, done[name]) for name in names]
