"""When the soak makes what fail."""

from itertools import pairwise

from bench.soak.plan import CALM, FAULT, NAMES, plan

TEN_MINUTES = plan(600, seed=0)


def test_a_seed_repeats_its_plan() -> None:
    """Another seed has another one."""
    assert plan(600, seed=0) == TEN_MINUTES
    assert plan(600, seed=1) != TEN_MINUTES


def test_everything_fails_in_ten_minutes() -> None:
    """Twice, and the worker is killed before all of it."""
    names = [fault.name for fault in TEN_MINUTES]

    assert names[0] == "worker: killed"
    assert all(names.count(name) >= 2 for name in NAMES)
    assert names.count("worker: killed") == 1


def test_calm_follows_every_fault() -> None:
    """The last one, too."""
    starts = [fault.start for fault in TEN_MINUTES] + [600.0]

    assert all(later - sooner >= FAULT + CALM for sooner, later in pairwise(starts))


def test_there_is_no_fault_in_a_short_time() -> None:
    """Not even one that would end before its calm does."""
    assert plan(20, seed=0) == []
