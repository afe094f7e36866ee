"""Whatever the order, whatever fails, comes late or dies: what must hold, holds.

`pytest -rP` shows how much was explored.
"""

import sys

import pytest

from tests.exploration.decisions import Budget
from tests.exploration.exploration import Exploration
from tests.exploration.explorer import Exhaustion, Failure, Tally, walk
from tests.exploration.scenarios import MORE, PAIRS, Scenario
from tests.exploration.shrinking import shortened
from tests.exploration.trace import told

WALKS = 150


@pytest.mark.parametrize("scenario", PAIRS, ids=str)
def test_two_at_once(scenario: Scenario) -> None:
    """Two operations end well in every order, with any one fault, whenever time passes once."""
    _exhaust(scenario, Budget(faults=1, passes=1))


@pytest.mark.parametrize("scenario", PAIRS, ids=str)
def test_two_faults(scenario: Scenario) -> None:
    """Two operations end well in every order, with any two faults."""
    _exhaust(scenario, Budget(faults=2))


@pytest.mark.parametrize("scenario", MORE, ids=str)
def test_more_at_once(scenario: Scenario) -> None:
    """Three and four operations end well in every order, with any one fault."""
    _exhaust(scenario, Budget(faults=1))


@pytest.mark.parametrize("scenario", PAIRS + MORE, ids=str)
def test_several_faults(scenario: Scenario) -> None:
    """Random orders with up to three faults, while time passes up to three times, end well."""
    exploration, tally = Exploration(scenario), Tally()
    try:
        for number in range(WALKS):
            budget = Budget(faults=1 + number % 3, passes=number % 4)
            walk(exploration, str(number), budget, tally)
    except Failure as failure:
        _tell(failure)
    sys.stdout.write(f"{scenario}: {tally}\n")


def _exhaust(scenario: Scenario, budget: Budget) -> None:
    try:
        tally = Exhaustion(Exploration(scenario)).run(budget)
    except Failure as failure:
        _tell(failure)
    else:
        sys.stdout.write(f"{scenario}: {tally}\n")


def _tell(failure: Failure) -> None:
    short = shortened(failure)
    pytest.fail(
        f"{short.fact}\n{told(Scenario.parse(short.scenario), short.schedule)}", pytrace=False
    )
