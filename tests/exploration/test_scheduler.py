"""A schedule is determined by its decisions: it can be rendered, shortened and replayed."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.exploration.invariants import (
    DANGLING_USER_ROW,
    KILLED_NEXT,
    RESPONSE_LOST,
    UNDELETABLE,
    UNREPORTED,
    USER_ROW_LEFT,
)
from tests.exploration.scenarios import ALL, Scenario, random_scenario
from tests.exploration.scheduler import (
    UNLIMITED,
    Budget,
    Decision,
    Scheduler,
    SystemState,
    format_schedule,
    parse_schedule,
    without_etags,
)
from tests.exploration.search import Coverage, ExhaustiveSearch, random_walk
from tests.exploration.trace import render
from tests.exploration.world import Snapshot

SMALL = Scenario(("issue", "delete"), "active")
CREATING = Scenario(("create for user", "sweep"))
CREATING_WITHOUT_USER = Scenario(("create",))
UNREGISTERING = Scenario(("unregister",), "registered")
ONE_FAULT = Budget(faults=1)

TRACE = """\
issue | delete -- active
     before: create for user, issue
   0                    identity-given0.2: active; +user row for identity-given0.2; \
+identity-given0.2; +token-given1.2
   1 A1                 issue: begin -> None
   2 A2                 issue: acs.issue_token -> +token-A2
   3 B1                 delete: registry.read -> active
   4 B2                 delete: registry.update -> identity-given0.2: active => \
deleted +2s, not revoked by service due +62s
   5 B3:late            delete: acs.revoke_tokens -> the operation returns AcsTooSlow
   6 A3                 issue: registry.read -> deleted +2s, not revoked by service \
due +62s; the operation returns IdentityDeleted
   7 B3:arrives         acs.revoke_tokens -> -token-A2; -token-given1.2
   8                    after the sweeps: nothing lost
     replay: python -m tests.exploration --scenario 'issue | delete -- active' \
--replay 'A1 A2 B1 B2 B3:late A3 B3:arrives'"""


def schedules(
    scheduler: Scheduler, state: SystemState, path: tuple[Decision, ...] = ()
) -> Iterator[tuple[tuple[Decision, ...], Snapshot]]:
    """Every schedule from this state on with its last snapshot, without remembering states."""
    decisions = scheduler.decisions(state)
    if not decisions:
        yield path, state.snapshot
    for decision in decisions:
        yield from schedules(scheduler, scheduler.decide(state, decision), (*path, decision))


def test_complete() -> None:
    """Equal states are explored once, and every schedule is counted."""
    scheduler = Scheduler(SMALL)
    one_by_one = list(schedules(scheduler, scheduler.start(ONE_FAULT)))

    coverage = ExhaustiveSearch(Scheduler(SMALL)).run(ONE_FAULT)

    assert coverage.schedules == len(one_by_one) > coverage.states


def test_independent() -> None:
    """The end of a schedule does not depend on the schedules that were explored before it."""
    scheduler = Scheduler(SMALL)

    for path, snapshot in schedules(scheduler, scheduler.start(ONE_FAULT)):
        fresh = Scheduler(SMALL)
        state = fresh.start(ONE_FAULT)
        for decision in path:
            state = fresh.decide(state, decision)
        assert without_etags(state.snapshot) == without_etags(snapshot)


def test_one_line() -> None:
    """A schedule can be written in one line and read back."""
    line = "A1 A2:late B1:fails B2:denied B3:disowned lease:passes A2:arrives B:killed C:answered"

    assert format_schedule(parse_schedule(line)) == line


@pytest.mark.parametrize("scenario", ALL, ids=str)
def test_scenario_name(scenario: Scenario) -> None:
    """The name of a scenario describes it completely."""
    assert Scenario.parse(str(scenario)) == scenario


def test_random_scenarios_are_about_one_thing() -> None:
    """What is about identities is no start for what is about access, and the other way round."""
    of_access = {name for each in ALL if each.is_access for name in each.operations}
    of_identities = {name for each in ALL if not each.is_access for name in each.operations}
    chance = random.Random(0)  # noqa: S311 -- it must be repeatable

    for one in (random_scenario(chance) for _ in range(1000)):
        other = of_identities if one.is_access else of_access
        assert not set(one.operations) & (other - {"sweep"}), one


def test_seed() -> None:
    """Random walks with the same seed are the same."""
    coverages = [Coverage(), Coverage()]

    for coverage in coverages:
        random_walk(Scheduler(SMALL), "seed", Budget(3, 3), coverage)

    assert coverages[0] == coverages[1]


def test_trace() -> None:
    """A trace shows each call with its effect, and the command that replays it."""
    assert render(SMALL, parse_schedule("A1 A2 B1 B2 B3:late A3 B3:arrives")) == TRACE


def test_outdated_schedule() -> None:
    """The trace of a schedule that is not possible any more says so."""
    trace = render(SMALL, parse_schedule("A1 A7"))

    assert "A7 is not possible: the operations have changed since" in trace


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        ("A1 A2:lost B1 B2", RESPONSE_LOST),
        ("A1 A2 A:killed B1 B2", KILLED_NEXT),
        ("A1 A2 A3:fails A4:fails B1 B2", UNDELETABLE),
        ("A1 A2 A3:fails A:killed B1 B2", UNDELETABLE),
        ("A1 A2 A3 lease:passes B1 B2 B3 B4 B5 B6 B7 B8 A4 A:killed", DANGLING_USER_ROW),
    ],
)
def test_losses(schedule: str, kind: str) -> None:
    """Each permitted loss of a creation is reported by its kind."""
    assert _losses(CREATING, schedule) == {kind: 1}


@pytest.mark.parametrize("schedule", ["A1 A2 A:answered A3", "A1 A2 A3:lost"])
def test_loss_without_user(schedule: str) -> None:
    """An identity without a user that its caller does not get is reported as a permitted loss.

    It is one only if the last step was on its way already.
    """
    assert _losses(CREATING_WITHOUT_USER, schedule) == {UNREPORTED: 1}


@pytest.mark.parametrize("schedule", ["A1 A2 A3 A:killed", "A1 A2 A3 A4:fails"])
def test_loss_of_unregister(schedule: str) -> None:
    """A user row that an unregister leaves behind is reported as a permitted loss."""
    assert _losses(UNREGISTERING, schedule) == {USER_ROW_LEFT: 1}


def _losses(scenario: Scenario, schedule: str) -> Counter[str]:
    scheduler = Scheduler(scenario)
    state = scheduler.start(UNLIMITED)
    for decision in parse_schedule(schedule):
        assert decision in scheduler.decisions(state)
        state = scheduler.decide(state, decision)

    return Counter(scheduler.finish(state))
