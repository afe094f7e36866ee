"""Going through the schedules of a scenario: all of them, or some at random."""

import random
from collections import Counter
from dataclasses import dataclass, field

from tests.exploration.decisions import FAULTS, Budget, Decision, Fate
from tests.exploration.exploration import Exploration, Moment
from tests.exploration.watch import Violated


class Failure(Exception):
    """A schedule that leads to what must not be."""

    def __init__(self, scenario: str, schedule: list[Decision], fact: str) -> None:
        super().__init__(f"{scenario}: {fact}")
        self.scenario = scenario
        self.schedule = schedule
        self.fact = fact


@dataclass
class Tally:
    """What was explored.

    Attributes:
        schedules: How many schedules.
        moments: How many different moments they consist of, where all of them were explored.
        faults: How many faults were decided on, by kind.
        lost: At how many different ends something was lost that may be lost, by kind.
    """

    schedules: int = 0
    moments: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lost = "".join(f"; {count} x {kind}" for kind, count in sorted(self.lost.items()))
        moments = f" of {self.moments:,} moments" if self.moments else ""
        return f"{self.schedules:,} schedules{moments}, {self.faults.total():,} faults{lost}"


class TooMany(Exception):
    """There are more moments than can be kept in mind."""


# A moment takes some 5 KB.
MOST = 500_000


class Exhaustion:
    """All schedules of a scenario within a budget. Moments that are equal go on equally."""

    def __init__(self, exploration: Exploration, most: int = MOST) -> None:
        self.tally = Tally()
        self._exploration = exploration
        self._most = most
        self._schedules: dict[Moment, int] = {}
        self._path: list[Decision] = []

    def run(self, budget: Budget) -> Tally:
        """Go through all of them.

        Raises:
            Failure: one leads to what must not be.
            TooMany: they cannot be gone through to the end.
        """
        try:
            self.tally.schedules = self._count(self._exploration.start(budget))
        except Violated as violated:
            name = str(self._exploration.scenario)
            raise Failure(name, list(self._path), str(violated)) from violated
        return self.tally

    def _count(self, moment: Moment) -> int:
        """How many schedules go on from here, each of them checked."""
        known = self._schedules.get(moment)
        if known is not None:
            return known
        self.tally.moments += 1
        if self.tally.moments > self._most:
            raise TooMany(f"more than {self._most:,} moments")
        decisions = self._exploration.decisions(moment)
        if not decisions:
            self.tally.lost.update(self._exploration.end(moment))
        count = 0 if decisions else 1
        for decision in decisions:
            self._path.append(decision)
            self.tally.faults.update(_fault(decision))
            count += self._count(self._exploration.decide(moment, decision))
            self._path.pop()
        self._schedules[moment] = count
        return count


# How often something out of the ordinary happens at a decision of a random schedule.
RARE = 0.12
ORDINARY = {Fate.HAPPENS, Fate.ARRIVES}


def walk(exploration: Exploration, seed: str, budget: Budget, tally: Tally) -> None:
    """Go through one schedule, which the seed alone decides.

    Raises:
        Failure: it leads to what must not be.
    """
    chance = random.Random(seed)  # noqa: S311 -- it is to be repeated
    moment = exploration.start(budget)
    path: list[Decision] = []
    try:
        while decisions := exploration.decisions(moment):
            path.append(_drawn(decisions, chance))
            moment = exploration.decide(moment, path[-1])
        tally.lost.update(exploration.end(moment))
    except Violated as violated:
        raise Failure(str(exploration.scenario), path, str(violated)) from violated
    tally.schedules += 1
    for decision in path:
        tally.faults.update(_fault(decision))


def _drawn(decisions: list[Decision], chance: random.Random) -> Decision:
    ordinary = [decision for decision in decisions if decision.fate in ORDINARY]
    rare = [decision for decision in decisions if decision.fate not in ORDINARY]
    if rare and (not ordinary or chance.random() < RARE):
        return chance.choice(rare)
    return chance.choice(ordinary)


def _fault(decision: Decision) -> list[str]:
    return [str(decision.fate)] if decision.fate in FAULTS else []
