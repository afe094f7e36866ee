"""What a soak says in the end."""

from collections import Counter
from dataclasses import replace

import pytest

from bench.soak.accounts import Accounts
from bench.soak.crowd import Tally
from bench.soak.health import Trend
from bench.soak.report import Soak, report
from bench.soak.settling import Remains

KEPT = {"8:acs:kept"}
NOBODY: set[str] = set()
ACCOUNTS = Accounts(KEPT, NOBODY, {"8:acs:untold"}, NOBODY, NOBODY, NOBODY, swept=1)
TALLY = Tally(Counter({("create_identity", 201): 2}), seconds=[0.01, 0.02], failed_creates=1)
FLAT = Trend("memory, MiB", early=70, late=71, limit=8)
HELD = {"alice": "8:acs:kept", "bob": ""}
GOOD = Soak(
    seconds=600,
    faults=["ACS: 500"],
    unfelt=[],
    tally=TALLY,
    failed_looks=0,
    trends=[FLAT],
    accounts=ACCOUNTS,
    remains=Remains(KEPT, purged=0, unfinished=0, claims=HELD),
    held=HELD,
)
STRAY = {"8:acs:stray"}
STRAYS = {"alice": "8:acs:kept", "bob": "8:acs:stray"}
REMAINS = GOOD.remains


def test_all_is_as_it_must_be() -> None:
    """An identity that ACS did not get to tell of is shown, and is no fault."""
    assert GOOD.defects() == []
    assert "| in ACS only: ACS did not get to tell                         | 1" in report(GOOD)


@pytest.mark.parametrize(
    ("soak", "found"),
    [
        (replace(GOOD, tally=replace(TALLY, wrong=["a"])), "wrong answers: 1"),
        (replace(GOOD, tally=replace(TALLY, waiting=1), faults=[]), "though nothing failed: 1"),
        (replace(GOOD, tally=replace(TALLY, failed_creates=0)), "more identities lost"),
        (replace(GOOD, unfelt=["storage: no answer"]), "that nothing ran into: 1"),
        (replace(GOOD, failed_looks=2), "that was not there: 2"),
        (replace(GOOD, trends=[replace(FLAT, late=79)]), "figures that grew: 1"),
        (replace(GOOD, trends=[]), "not looked at often enough"),
        (replace(GOOD, accounts=replace(ACCOUNTS, only_in_registry=STRAY)), "ACS does not have"),
        (replace(GOOD, accounts=replace(ACCOUNTS, unexplained=STRAY)), "nobody can explain"),
        (replace(GOOD, accounts=replace(ACCOUNTS, swept=0)), "no sweep purged anything"),
        (replace(GOOD, accounts=replace(ACCOUNTS, in_both=KEPT | STRAY)), "that no caller has: 1"),
        (replace(GOOD, remains=replace(REMAINS, unfinished=1)), "on the agenda"),
        (replace(GOOD, remains=replace(REMAINS, claims=STRAYS)), "names another identity: 1"),
        (
            replace(GOOD, held=STRAYS, remains=replace(REMAINS, claims=STRAYS)),
            "a caller has and not both: 1",
        ),
    ],
)
def test_what_is_not_is_said(soak: Soak, found: str) -> None:
    """In the last line."""
    assert len(soak.defects()) == 1
    assert found in report(soak).splitlines()[-1]


def test_a_soak_without_an_answer_can_be_told_of() -> None:
    """There is no median of nothing."""
    assert "| -" in report(replace(GOOD, tally=replace(TALLY, seconds=[])))
