"""Each rule is needed: taken away alone, it makes some schedule end as it must not."""

import pytest

from tests.exploration.cast import Product
from tests.exploration.exploration import Exploration
from tests.exploration.explorer import Exhaustion, Failure
from tests.exploration.rules import RULES, Taken
from tests.exploration.shrinking import shortened
from tests.exploration.trace import told
from tests.exploration.variant import variant

BOUND = 1_000

each_rule = pytest.mark.parametrize("taken", RULES.values(), ids=RULES.keys())


@each_rule
def test_without_it(taken: Taken) -> None:
    """Without the rule what must not be is found soon, and told."""
    with variant(*taken.changes) as operations:
        product = Product(operations, taken.registry)
        exhaustion = Exhaustion(Exploration(taken.scenario, product), BOUND)
        with pytest.raises(Failure) as found:
            exhaustion.run(taken.budget)
        short = shortened(found.value, product)
        trace = told(taken.scenario, short.schedule, product)

    assert taken.fact in found.value.fact
    assert f"VIOLATED: {short.fact}" in trace


@each_rule
def test_with_it(taken: Taken) -> None:
    """With it, the same scenario with the same faults ends well."""
    Exhaustion(Exploration(taken.scenario)).run(taken.budget)
