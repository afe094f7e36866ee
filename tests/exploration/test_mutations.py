"""Each rule is necessary: if it alone is broken, some schedule violates an invariant."""

import pytest

from tests.exploration.mutations import RULES, Mutation
from tests.exploration.scheduler import Scheduler
from tests.exploration.search import ExhaustiveSearch, Failure, shrink
from tests.exploration.trace import render

MAX_STATES = 1_000

each_rule = pytest.mark.parametrize("mutation", RULES.values(), ids=RULES.keys())


@each_rule
def test_broken(mutation: Mutation) -> None:
    """If the rule is broken, the search finds it soon, and the trace shows it."""
    product = mutation.product()
    search = ExhaustiveSearch(Scheduler(mutation.scenario, product), MAX_STATES)
    with pytest.raises(Failure) as found:
        search.run(mutation.budget)
    short = shrink(found.value, product)
    trace = render(mutation.scenario, short.schedule, product)

    assert mutation.fact in found.value.fact
    assert f"VIOLATED: {short.fact}" in trace


@each_rule
def test_kept(mutation: Mutation) -> None:
    """If the rule is kept, the same scenario with the same faults violates nothing."""
    ExhaustiveSearch(Scheduler(mutation.scenario)).run(mutation.budget)
