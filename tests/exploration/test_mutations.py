"""Each rule is necessary: if it alone is broken, some schedule violates an invariant."""

import pytest

from tests.exploration.access_mutations import ACCESS_RULES, AccessMutation
from tests.exploration.mutations import RULES, Mutation
from tests.exploration.scenarios import Scenario
from tests.exploration.scheduler import Budget, Scheduler
from tests.exploration.search import EXPLORED, ExhaustiveSearch, Failure, shrink
from tests.exploration.trace import render

MAX_STATES = 30_000

ALL_RULES: dict[str, Mutation | AccessMutation] = {**RULES, **ACCESS_RULES}


def _is_explored(scenario: Scenario, budget: Budget) -> bool:
    """Whether `test_every_order` explores at least as much."""
    return any(
        scenario == explored and budget.faults <= most.faults and budget.passes <= most.passes
        for explored, most in EXPLORED
    )


# Without repetitions.
KEPT = [
    one
    for one in dict.fromkeys((rule.scenario, rule.budget) for rule in ALL_RULES.values())
    if not _is_explored(*one)
]


@pytest.mark.parametrize("mutation", ALL_RULES.values(), ids=ALL_RULES.keys())
def test_broken(mutation: Mutation | AccessMutation) -> None:
    """If the rule is broken, the search finds it soon, and the trace shows it."""
    product = mutation.product()
    search = ExhaustiveSearch(Scheduler(mutation.scenario, product), MAX_STATES)
    with pytest.raises(Failure) as found:
        search.run(mutation.budget)
    short = shrink(found.value, product)
    trace = render(mutation.scenario, short.schedule, product)

    assert mutation.fact in found.value.fact
    assert f"VIOLATED: {short.fact}" in trace


@pytest.mark.parametrize(("scenario", "budget"), KEPT, ids=str)
def test_kept(scenario: Scenario, budget: Budget) -> None:
    """If the rules are kept, the same scenarios with the same faults violate nothing."""
    ExhaustiveSearch(Scheduler(scenario)).run(budget)
