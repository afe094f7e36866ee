"""When the soak makes what fail."""

from bench.soak.plan import CALM, FAULTS, plan

TEN_MINUTES = plan(600, seed=0)


def test_a_seed_repeats_its_plan() -> None:
    """Another seed has another one."""
    assert plan(600, seed=0) == TEN_MINUTES
    assert plan(600, seed=1) != TEN_MINUTES


def test_everything_fails_in_ten_minutes() -> None:
    """Twice, and the worker is killed before all of it."""
    names = [fault.name for fault in TEN_MINUTES]

    assert names[0] == "worker: killed"
    assert all(names.count(fault.name) >= 2 for fault in FAULTS)
    assert names.count("worker: killed") == 1


def test_calm_follows_every_fault() -> None:
    """The last one, too."""
    ends = [fault.start + fault.seconds for fault in TEN_MINUTES]
    following = [fault.start for fault in TEN_MINUTES[1:]] + [600.0]

    assert all(start - end >= CALM for end, start in zip(ends, following, strict=True))


def test_there_is_no_fault_in_a_short_time() -> None:
    """Not even one that would end before its calm does."""
    assert plan(17, seed=0) == []
