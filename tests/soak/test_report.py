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
ACCOUNTS = Accounts(KEPT, NOBODY, {"8:acs:untold"}, NOBODY, NOBODY, NOBODY)
TALLY = Tally(Counter({("create_identity", 201): 2}), seconds=[0.01, 0.02], failed_creates=1)
FLAT = Trend("memory, MiB", early=70, late=71, limit=8)
GOOD = Soak(600, ["ACS: 500"], TALLY, [FLAT], ACCOUNTS, Remains(KEPT, 0, 0), KEPT)
STRAY = {"8:acs:stray"}


def test_all_is_as_it_must_be() -> None:
    """An identity that ACS did not get to tell of is shown, and is no fault."""
    assert GOOD.faults_found() == []
    assert "| in ACS only: ACS did not get to tell                         | 1" in report(GOOD)


@pytest.mark.parametrize(
    ("soak", "found"),
    [
        (replace(GOOD, tally=replace(TALLY, wrong=["a"])), "wrong answers: 1"),
        (replace(GOOD, tally=replace(TALLY, failed_creates=0)), "more identities lost"),
        (replace(GOOD, trends=[replace(FLAT, late=79)]), "figures that grew: 1"),
        (replace(GOOD, trends=[]), "looks at the worker that are missing: 1"),
        (replace(GOOD, accounts=replace(ACCOUNTS, only_in_registry=STRAY)), "ACS does not have"),
        (replace(GOOD, accounts=replace(ACCOUNTS, unexplained=STRAY)), "nobody can explain"),
        (replace(GOOD, remains=Remains(KEPT, 0, 1)), "entries on the agenda"),
        (replace(GOOD, callers_have=KEPT | STRAY), "a caller has and not both"),
        (replace(GOOD, callers_have=NOBODY), "in both that no caller has"),
    ],
)
def test_what_is_not_is_said(soak: Soak, found: str) -> None:
    """In the last line."""
    assert len(soak.faults_found()) == 1
    assert found in report(soak).splitlines()[-1]
