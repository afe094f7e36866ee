"""Explore as long as you like: `python -m tests.exploration --seconds 3600 --seed 7`."""

import argparse
import gc
import random
import sys
import time
from collections.abc import Iterator

from tests.exploration.scenarios import ALL, Scenario, random_scenario
from tests.exploration.scheduler import Budget, Scheduler, parse_schedule
from tests.exploration.search import (
    Coverage,
    ExhaustiveSearch,
    Failure,
    TooManyStates,
    random_walk,
    search_environment,
    shrink,
)
from tests.exploration.trace import render

# This many schedules of a scenario in a row: they share the states that they have in common.
SCHEDULES_PER_ROUND = 500


def main() -> int:
    """Explore or replay. Returns 1 if an invariant was violated."""
    options = _options()
    scenario = Scenario.parse(options.scenario) if options.scenario else None
    with search_environment():
        if options.replay and scenario:
            _print(render(scenario, parse_schedule(options.replay)))
            return 0
        try:
            if options.exhaust:
                _exhaust([scenario] if scenario else ALL, Budget(*options.exhaust))
            else:
                _walk(options.seed, options.seconds, scenario)
        except Failure as failure:
            short = shrink(failure)
            _print(f"FAILED: {failure}\n{render(short.scenario, short.schedule)}")
            return 1
    return 0


def _walk(seed: int, seconds: float, scenario: Scenario | None) -> None:
    """Explore random schedules until the time is over."""
    end = time.monotonic() + seconds
    _print(f"seed {seed}")
    coverage = Coverage()
    rounds = 0
    for chance, one in _rounds(seed, scenario):
        scheduler = Scheduler(one)
        for _ in range(SCHEDULES_PER_ROUND):
            budget = Budget(chance.randint(1, 3), chance.randint(0, 3))
            random_walk(scheduler, str(chance.random()), budget, coverage)
        gc.collect()
        rounds += 1
        if time.monotonic() >= end:
            break
    _print(f"{rounds} rounds: {coverage}")
    for event, count in sorted(coverage.faults.items()):
        _print(f"  {count:10,} x {event}")


def _rounds(seed: int, scenario: Scenario | None) -> Iterator[tuple[random.Random, Scenario]]:
    chance = random.Random(seed)  # noqa: S311 -- it must be repeatable
    while True:
        yield chance, scenario or random_scenario(chance)


def _exhaust(scenarios: list[Scenario], budget: Budget) -> None:
    """Explore all schedules within the budget."""
    for scenario in scenarios:
        started = time.monotonic()
        try:
            result = str(ExhaustiveSearch(Scheduler(scenario)).run(budget))
        except TooManyStates as error:
            result = f"{error}: not completed"
        _print(f"{time.monotonic() - started:6.1f} s  {scenario}: {result}")
        gc.collect()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.exploration", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--scenario", help='such as "issue | delete -- active"')
    parser.add_argument("--replay", help="a schedule, as a failure prints it; needs --scenario")
    parser.add_argument(
        "--exhaust",
        type=int,
        nargs=2,
        metavar=("FAULTS", "PASSES"),
        help="explore all schedules with at most this many faults and time steps",
    )
    options = parser.parse_args()
    if options.replay and not options.scenario:
        parser.error("--replay needs --scenario")
    return options


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
