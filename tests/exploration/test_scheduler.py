"""A schedule is what its decisions say: it can be told, made shorter, and repeated."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.exploration.decisions import Budget, Decision, read, written
from tests.exploration.exploration import Exploration, Moment
from tests.exploration.explorer import Exhaustion, Tally, walk
from tests.exploration.invariants import DIED, RESIDUE, UNDELETABLE, UNTOLD
from tests.exploration.scenarios import MORE, PAIRS, Scenario
from tests.exploration.settling import comparable
from tests.exploration.stage import World
from tests.exploration.trace import ENOUGH, told

SMALL = Scenario(("issue", "delete"), "an active one")
CREATING = Scenario(("create for user", "sweep"))
ONE_FAULT = Budget(faults=1)

TOLD = """\
issue | delete -- an active one
     before: create for user, issue
   0                    identity-given0.2: active; +claim on identity-given0.2; \
+identity-given0.2; +token-given1.1
   1 A1                 issue: acs.issue_token -> +token-A1
   2 B1                 delete: registry.read -> active
   3 B2                 delete: registry.update -> identity-given0.2: active => \
deleted +0.000002s, not revoked due +60.000002s
   4 B3:late            delete: acs.revoke_tokens -> and it answers AcsTooSlow
   5 A2                 issue: registry.read -> deleted +0.000002s, not revoked \
due +60.000002s; and it answers IdentityDeleted
   6 B3:arrives         acs.revoke_tokens -> -token-A1; -token-given1.1
   7                    the sweeps end it; all is well
     again: python -m tests.exploration --scenario 'issue | delete -- an active one' \
--replay 'A1 B1 B2 B3:late A2 B3:arrives'"""


def schedules(
    exploration: Exploration, moment: Moment, path: tuple[Decision, ...] = ()
) -> Iterator[tuple[tuple[Decision, ...], World]]:
    """Every schedule from here on, and the world at its end; nothing is remembered."""
    decisions = exploration.decisions(moment)
    if not decisions:
        yield path, moment.world
    for decision in decisions:
        yield from schedules(exploration, exploration.decide(moment, decision), (*path, decision))


def test_nothing_is_left_out() -> None:
    """Equal moments are explored once, and yet every schedule counts."""
    exploration = Exploration(SMALL)
    one_by_one = list(schedules(exploration, exploration.start(ONE_FAULT)))

    together = Exhaustion(Exploration(SMALL)).run(ONE_FAULT)

    assert together.schedules == len(one_by_one) > together.moments


def test_the_same_from_a_fresh_start() -> None:
    """What a schedule leads to does not depend on those that were explored before it."""
    exploration = Exploration(SMALL)

    for path, world in schedules(exploration, exploration.start(ONE_FAULT)):
        fresh = Exploration(SMALL)
        moment = fresh.start(ONE_FAULT)
        for decision in path:
            moment = fresh.decide(moment, decision)
        assert comparable(moment.world) == comparable(world)


def test_written_and_read() -> None:
    """A schedule fits into a line."""
    line = "A1 A2:late B1:fails lease:passes A2:arrives B:killed sweeps:run"

    assert written(read(line)) == line


@pytest.mark.parametrize("scenario", PAIRS + MORE, ids=str)
def test_named(scenario: Scenario) -> None:
    """A scenario's name says it all."""
    assert Scenario.parse(str(scenario)) == scenario


def test_seed() -> None:
    """The same seed walks the same way."""
    tallies = [Tally(), Tally()]

    for tally in tallies:
        walk(Exploration(SMALL), "seed", Budget(3, 3), tally)

    assert tallies[0] == tallies[1]


def test_told() -> None:
    """A schedule is told call by call, and how to see it again."""
    assert told(SMALL, read("A1 B1 B2 B3:late A2 B3:arrives")) == TOLD


def test_outdated() -> None:
    """A schedule that the operations do not follow any more says so."""
    assert "A7 cannot be: the operations have changed since" in told(SMALL, read("A1 A7"))


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        ("A1 A2:unanswered B1 B2", UNTOLD),
        ("A1 A2 A:killed B1 B2", DIED),
        ("A1 A2 A3:fails A4:fails B1 B2", UNDELETABLE),
        ("A1 A2 A3:fails A:killed B1 B2", UNDELETABLE),
        ("A1 A2 A3 lease:passes B1 B2 B3 B4 B5 B6 B7 A4 A:killed", RESIDUE),
    ],
)
def test_lost(schedule: str, kind: str) -> None:
    """What may be lost is counted by the way it was lost."""
    exploration = Exploration(CREATING)
    moment = exploration.start(ENOUGH)
    for decision in read(schedule):
        assert decision in exploration.decisions(moment)
        moment = exploration.decide(moment, decision)

    lost = exploration.end(moment)

    assert Counter(lost) == {kind: 1}
