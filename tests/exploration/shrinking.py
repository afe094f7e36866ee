"""Making a failing schedule short: what is not needed for the failure is left out."""

from itertools import pairwise

from tests.exploration.cast import Product
from tests.exploration.decisions import Decision
from tests.exploration.exploration import Exploration
from tests.exploration.explorer import ORDINARY, Failure
from tests.exploration.scenarios import Scenario
from tests.exploration.trace import ENOUGH
from tests.exploration.watch import Violated


def shortened(failure: Failure, product: Product | None = None) -> Failure:
    """The same failure with fewer decisions, or with plainer ones."""
    best, shorter = failure, True
    while shorter:
        shorter = False
        for number in range(len(best.schedule)):
            rest = best.schedule[:number] + best.schedule[number + 1 :]
            tried = _followed(failure.scenario, rest, product)
            if tried and _length(tried) < _length(best):
                best, shorter = tried, True
                break
    return best


def _length(failure: Failure) -> tuple[int, int, int]:
    """How much there is to a failure: what is out of the ordinary, turns, decisions."""
    schedule = failure.schedule
    turns = sum(one.who[0] != other.who[0] for one, other in pairwise(schedule))
    return sum(one.fate not in ORDINARY for one in schedule), turns, len(schedule)


def _followed(name: str, schedule: list[Decision], product: Product | None) -> Failure | None:
    """The failure to which the schedule leads, without what cannot be, and gone on to its end."""
    exploration = Exploration(Scenario.parse(name), product)
    moment = exploration.start(ENOUGH)
    path: list[Decision] = []
    wanted = list(schedule)
    try:
        while decisions := exploration.decisions(moment):
            while wanted and wanted[0] not in decisions:
                wanted.pop(0)
            path.append(wanted.pop(0) if wanted else decisions[0])
            moment = exploration.decide(moment, path[-1])
        exploration.end(moment)
    except Violated as violated:
        return Failure(name, path, str(violated))
    return None
