"""Searches the schedules of a scenario: all of them, or random ones. Shrinks those that fail."""

import gc
import logging
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

from tests.exploration.invariants import InvariantViolated
from tests.exploration.scenarios import ACCESS, MANY, MANY_ACCESS, MORE, MORE_ACCESS, TWO, Scenario
from tests.exploration.scheduler import (
    FAULTS,
    UNLIMITED,
    Budget,
    Decision,
    Event,
    Scheduler,
    SystemState,
)
from tests.exploration.world import Product

# These are explored completely, with at most this many faults and time steps.
EXPLORED = [
    *((scenario, Budget(faults=1, passes=1)) for scenario in TWO),
    *((scenario, Budget(faults=2)) for scenario in TWO),
    *((scenario, Budget(faults=1)) for scenario in MORE),
    *((scenario, Budget()) for scenario in MANY),
    *((scenario, Budget(faults=1, passes=1)) for scenario in ACCESS),
    *((scenario, Budget(faults=2)) for scenario in ACCESS),
    *((scenario, Budget(faults=1)) for scenario in MORE_ACCESS),
    *((scenario, Budget()) for scenario in MANY_ACCESS),
]

# A state takes about 5 KB.
MAX_STATES = 400_000

# How often a random schedule chooses a fault or a time step.
RARE = 0.12
ORDINARY = {Event.SUCCEEDS, Event.ARRIVES}


class Failure(Exception):
    """A schedule that breaks an invariant."""

    def __init__(self, scenario: Scenario, schedule: list[Decision], fact: str) -> None:
        super().__init__(f"{scenario}: {fact}")
        self.scenario = scenario
        self.schedule = schedule
        self.fact = fact


class TooManyStates(Exception):
    """The scenario has more states than fit in memory."""


@dataclass
class Coverage:
    """What was explored.

    Attributes:
        schedules: The number of schedules.
        states: The number of different states in an exhaustive search.
        faults: The number of faults by kind.
        losses: The number of different ends with a permitted loss, by kind.
    """

    schedules: int = 0
    states: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        losses = "".join(f"; {count} x {kind}" for kind, count in sorted(self.losses.items()))
        states = f" of {self.states:,} states" if self.states else ""
        return f"{self.schedules:,} schedules{states}, {self.faults.total():,} faults{losses}"

    def count_fault(self, decision: Decision) -> None:
        """Count the decision if it is a fault."""
        if decision.event in FAULTS:
            self.faults[str(decision.event)] += 1


class ExhaustiveSearch:
    """All schedules of a scenario within a budget. Each state is explored once."""

    def __init__(self, scheduler: Scheduler, max_states: int = MAX_STATES) -> None:
        self.coverage = Coverage()
        self._scheduler = scheduler
        self._max_states = max_states
        self._schedules: dict[SystemState, int] = {}
        self._path: list[Decision] = []

    def run(self, budget: Budget) -> Coverage:
        """Explore every schedule.

        Raises:
            Failure: one breaks an invariant.
            TooManyStates: the search cannot be completed.
        """
        try:
            self.coverage.schedules = self._count(self._scheduler.start(budget))
        except InvariantViolated as violated:
            raise Failure(self._scheduler.scenario, list(self._path), str(violated)) from violated
        return self.coverage

    def _count(self, state: SystemState) -> int:
        """Check every schedule from this state on, and return their number."""
        known = self._schedules.get(state)
        if known is not None:
            return known
        self.coverage.states += 1
        if self.coverage.states > self._max_states:
            raise TooManyStates(f"more than {self._max_states:,} states")
        decisions = self._scheduler.decisions(state)
        if not decisions:
            self.coverage.losses.update(self._scheduler.finish(state))
        count = 0 if decisions else 1
        for decision in decisions:
            self._path.append(decision)
            self.coverage.count_fault(decision)
            count += self._count(self._scheduler.decide(state, decision))
            self._path.pop()
        self._schedules[state] = count
        return count


def random_walk(scheduler: Scheduler, seed: str, budget: Budget, coverage: Coverage) -> None:
    """Explore one schedule, which depends only on the seed.

    Raises:
        Failure: it breaks an invariant.
    """
    chance = random.Random(seed)  # noqa: S311 -- it must be repeatable
    state = scheduler.start(budget)
    path: list[Decision] = []
    try:
        while decisions := scheduler.decisions(state):
            path.append(_choose(decisions, chance))
            state = scheduler.decide(state, path[-1])
        coverage.losses.update(scheduler.finish(state))
    except InvariantViolated as violated:
        raise Failure(scheduler.scenario, path, str(violated)) from violated
    coverage.schedules += 1
    for decision in path:
        coverage.count_fault(decision)


def _choose(decisions: list[Decision], chance: random.Random) -> Decision:
    ordinary = [decision for decision in decisions if decision.event in ORDINARY]
    rare = [decision for decision in decisions if decision.event not in ORDINARY]
    if rare and (not ordinary or chance.random() < RARE):
        return chance.choice(rare)
    return chance.choice(ordinary)


def shrink(failure: Failure, product: Product | None = None) -> Failure:
    """A shorter schedule that fails, too: decisions that the failure does not need are left out."""
    best, improved = failure, True
    while improved:
        improved = False
        for number in range(len(best.schedule)):
            rest = best.schedule[:number] + best.schedule[number + 1 :]
            shorter = _follow(failure.scenario, rest, product)
            if shorter and _length(shorter) < _length(best):
                best, improved = shorter, True
                break
    return best


def _length(failure: Failure) -> tuple[int, int, int]:
    """Faults and time steps, switches between operations, decisions."""
    schedule = failure.schedule
    switches = sum(one.target[0] != other.target[0] for one, other in pairwise(schedule))
    return sum(one.event not in ORDINARY for one in schedule), switches, len(schedule)


def _follow(
    scenario: Scenario, schedule: list[Decision], product: Product | None
) -> Failure | None:
    """The failure of a schedule. Impossible decisions are left out, missing ones are added."""
    scheduler = Scheduler(scenario, product)
    state = scheduler.start(UNLIMITED)
    path: list[Decision] = []
    wanted = list(schedule)
    try:
        while decisions := scheduler.decisions(state):
            while wanted and wanted[0] not in decisions:
                wanted.pop(0)
            path.append(wanted.pop(0) if wanted else decisions[0])
            state = scheduler.decide(state, path[-1])
        scheduler.finish(state)
    except InvariantViolated as violated:
        return Failure(scenario, path, str(violated))
    return None


class _RaiseErrors(logging.Handler):
    """Raises the internal errors that the product logs and swallows."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            raise record.exc_info[1]


@contextmanager
def search_environment() -> Iterator[None]:
    """Fail on internal errors, drop all other log lines, and pause the garbage collector.

    The collector would look through all remembered states again and again.
    """
    logger = logging.getLogger("identity_service")
    handler = _RaiseErrors(logging.ERROR)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
