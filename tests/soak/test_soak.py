"""The plan of the faults, and short soaks with real processes."""

from dataclasses import replace

from bench.soak.faults import FAULTS, KILL, QUIET, Fault, plan
from bench.soak.report import TOO_FEW_SAMPLES
from bench.soak.run import soak

SECONDS = 8.0
TEN_MINUTES = plan(600, seed=0)


def test_seed_repeats_its_plan() -> None:
    """A seed always gives the same plan; another seed gives another."""
    assert plan(600, seed=0) == TEN_MINUTES
    assert plan(600, seed=1) != TEN_MINUTES


def test_every_fault_happens_in_ten_minutes() -> None:
    """In ten minutes the worker is killed once, first, and every fault happens at least twice."""
    names = [fault.name for fault in TEN_MINUTES]

    assert names[0] == "worker: killed"
    assert all(names.count(fault.name) >= 2 for fault in FAULTS)
    assert names.count("worker: killed") == 1


def test_quiet_period_follows_every_fault() -> None:
    """A quiet period follows every fault, including the last one."""
    ends = [fault.start + fault.seconds for fault in TEN_MINUTES]
    following = [fault.start for fault in TEN_MINUTES[1:]] + [600.0]

    assert all(start - end >= QUIET for end, start in zip(ends, following, strict=True))


def test_short_soak_has_no_fault() -> None:
    """A soak that has no time for a fault and its quiet period has no fault."""
    assert plan(17, seed=0) == []


async def test_killed_worker_does_no_harm() -> None:
    """After the worker is killed another one continues, and nothing is wrong."""
    result = await soak(SECONDS, 0, [replace(KILL, start=1)])

    assert set(result.defects()) <= {TOO_FEW_SAMPLES}
    assert result.faults == ["worker: killed"]
    assert result.tally.calls > 200
    assert result.accounts.in_both


async def test_wrong_tokens_are_noticed() -> None:
    """Tokens signed with an unknown key, which the app cannot detect, are reported."""
    order = {"kind": "unknownKey", "operation": "issue"}

    result = await soak(SECONDS, 0, [Fault("foreign tokens", "acs", order=order, start=1)])

    assert any("signature" in wrong for wrong in result.tally.wrong)
