"""The invariants hold in every order, whatever fails, is delayed or is killed.

`pytest -rP` prints how much was explored.
"""

import sys

import pytest

from tests.exploration.scenarios import ALL, Scenario
from tests.exploration.scheduler import Budget, Scheduler
from tests.exploration.search import (
    EXPLORED,
    Coverage,
    ExhaustiveSearch,
    Failure,
    random_walk,
    shrink,
)
from tests.exploration.trace import render

WALKS = 150


@pytest.mark.parametrize(("scenario", "budget"), EXPLORED, ids=str)
def test_every_order(scenario: Scenario, budget: Budget) -> None:
    """The operations are safe in every order, with any faults and time steps of the budget."""
    try:
        coverage = ExhaustiveSearch(Scheduler(scenario)).run(budget)
    except Failure as failure:
        _fail(failure)
    else:
        sys.stdout.write(f"{scenario}: {coverage}\n")


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_several_faults(scenario: Scenario) -> None:
    """Random orders with up to three faults and three time steps are safe."""
    scheduler, coverage = Scheduler(scenario), Coverage()
    try:
        for number in range(WALKS):
            budget = Budget(faults=1 + number % 3, passes=number % 4)
            random_walk(scheduler, str(number), budget, coverage)
    except Failure as failure:
        _fail(failure)
    sys.stdout.write(f"{scenario}: {coverage}\n")


def _fail(failure: Failure) -> None:
    short = shrink(failure)
    pytest.fail(f"{short.fact}\n{render(short.scenario, short.schedule)}", pytrace=False)
