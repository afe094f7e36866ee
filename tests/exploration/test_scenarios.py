"""The invariants hold in every order, whatever fails, is delayed or is killed.

`pytest -rP` prints how much was explored.
"""

import sys

import pytest

from tests.exploration.scenarios import ALL, MANY, MORE, TWO, Scenario
from tests.exploration.scheduler import Budget, Scheduler
from tests.exploration.search import Coverage, ExhaustiveSearch, Failure, random_walk, shrink
from tests.exploration.trace import render

WALKS = 150


@pytest.mark.parametrize("scenario", TWO, ids=str)
def test_two_operations(scenario: Scenario) -> None:
    """Two operations are safe in every order, with any one fault and one time step."""
    _search(scenario, Budget(faults=1, passes=1))


@pytest.mark.parametrize("scenario", TWO, ids=str)
def test_two_faults(scenario: Scenario) -> None:
    """Two operations are safe in every order, with any two faults."""
    _search(scenario, Budget(faults=2))


@pytest.mark.parametrize("scenario", MORE, ids=str)
def test_more_operations(scenario: Scenario) -> None:
    """Three operations are safe in every order, with any one fault."""
    _search(scenario, Budget(faults=1))


@pytest.mark.parametrize("scenario", MANY, ids=str)
def test_no_fault(scenario: Scenario) -> None:
    """Up to four operations are safe in every order."""
    _search(scenario, Budget())


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


def _search(scenario: Scenario, budget: Budget) -> None:
    try:
        coverage = ExhaustiveSearch(Scheduler(scenario)).run(budget)
    except Failure as failure:
        _fail(failure)
    else:
        sys.stdout.write(f"{scenario}: {coverage}\n")


def _fail(failure: Failure) -> None:
    short = shrink(failure)
    pytest.fail(f"{short.fact}\n{render(short.scenario, short.schedule)}", pytrace=False)
