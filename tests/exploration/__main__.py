"""Explore for as long as one likes: `python -m tests.exploration --seconds 3600 --seed 7`."""

import argparse
import gc
import random
import sys
import time
from collections.abc import Iterator

from tests.exploration.decisions import Budget, read
from tests.exploration.exploration import Exploration
from tests.exploration.explorer import Exhaustion, Failure, Tally, TooMany, walk
from tests.exploration.quiet import undisturbed
from tests.exploration.scenarios import MORE, PAIRS, Scenario, drawn
from tests.exploration.shrinking import shortened
from tests.exploration.trace import told

# So many schedules of a scenario in a row: what they have in common is computed once.
ROUND = 500


def main() -> int:
    """Explore, or replay; 1 when something is found that must not be."""
    options = _options()
    scenario = Scenario.parse(options.scenario) if options.scenario else None
    with undisturbed():
        if options.replay and scenario:
            _say(told(scenario, read(options.replay)))
            return 0
        try:
            if options.exhaust:
                _exhaust([scenario] if scenario else PAIRS + MORE, Budget(*options.exhaust))
            else:
                _wander(options.seed, options.seconds, scenario)
        except Failure as failure:
            short = shortened(failure)
            _say(f"FAILED: {failure}\n{told(Scenario.parse(short.scenario), short.schedule)}")
            return 1
    return 0


def _wander(seed: int, seconds: float, scenario: Scenario | None) -> None:
    """Go through random schedules until the time is over."""
    stop_at = time.monotonic() + seconds
    _say(f"seed {seed}")
    tally = Tally()
    rounds = 0
    for chance, one in _rounds(seed, scenario):
        exploration = Exploration(one)
        for _ in range(ROUND):
            budget = Budget(chance.randint(1, 3), chance.randint(0, 3))
            walk(exploration, str(chance.random()), budget, tally)
        gc.collect()
        rounds += 1
        if time.monotonic() >= stop_at:
            break
    _say(f"{rounds} rounds: {tally}")
    for fate, count in sorted(tally.faults.items()):
        _say(f"  {count:10,} x {fate}")


def _rounds(seed: int, scenario: Scenario | None) -> Iterator[tuple[random.Random, Scenario]]:
    chance = random.Random(seed)  # noqa: S311 -- it is to be repeated
    while True:
        yield chance, scenario or drawn(chance)


def _exhaust(scenarios: list[Scenario], budget: Budget) -> None:
    """Go through all schedules within the budget."""
    for scenario in scenarios:
        started = time.monotonic()
        try:
            found = str(Exhaustion(Exploration(scenario)).run(budget))
        except TooMany as too_many:
            found = f"{too_many}: not explored to the end"
        _say(f"{time.monotonic() - started:6.1f} s  {scenario}: {found}")
        gc.collect()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.exploration", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--scenario", help='such as "issue | delete -- an active one"')
    parser.add_argument("--replay", help="a schedule, as a failure prints it; needs --scenario")
    parser.add_argument(
        "--exhaust",
        type=int,
        nargs=2,
        metavar=("FAULTS", "PASSES"),
        help="all schedules with so many faults and passes of time at most, not some",
    )
    options = parser.parse_args()
    if options.replay and not options.scenario:
        parser.error("--replay needs --scenario")
    return options


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
