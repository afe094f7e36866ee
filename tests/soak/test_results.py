"""How the soak evaluates what it observed: identities, growth of the worker, and the report."""

import os
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from bench.process import mebibytes, sockets
from bench.product import Remains
from bench.soak.accounting import Accounts, account_for
from bench.soak.callers import Tally
from bench.soak.health import MIN_SAMPLES, Sample, Trend, trends
from bench.soak.report import Soak, report

LOG = """
 INFO identity_created identity_id=8:acs:kept invocation_id=1
 INFO operation_finished operation=create_identity status=201 identity_id=8:acs:kept invocation_id=1
 INFO identity_created identity_id=8:acs:killed invocation_id=2
 ERROR identity_lost identity_id=8:acs:lost code=acs_unavailable invocation_id=3
 INFO identity_created identity_id=8:acs:lost invocation_id=3
 INFO operation_finished operation=create_identity status=503 identity_id=- invocation_id=3
 INFO identity_created identity_id=8:acs:forgotten invocation_id=4
 INFO operation_finished operation=create_identity status=201 identity_id=- invocation_id=4
 INFO identity_created identity_id=8:acs:late invocation_id=5
 WARNING operation_finished_late outcome=none invocation_id=5
 INFO sweep_finished due=3 revoked=0 purged=2 deferred=1 stuck=0 invocation_id=6
 ERROR sweep_failed code=registry_unavailable kind=connect due=- revoked=0 purged=1 invocation_id=7
"""

KEPT = {"8:acs:kept"}
NONE: set[str] = set()
ACCOUNTS = Accounts(KEPT, NONE, {"8:acs:unreported"}, NONE, NONE, NONE, swept=1)
TALLY = Tally(Counter({("create_identity", 201): 2}), seconds=[0.01, 0.02], failed_creates=1)
FLAT = Trend("memory, MiB", early=70, late=71, limit=24)
IDENTITIES = {"alice": "8:acs:kept", "bob": ""}
GOOD = Soak(
    seconds=600,
    faults=["ACS: 500"],
    unused=[],
    tally=TALLY,
    failed_samples=0,
    trends=[FLAT],
    accounts=ACCOUNTS,
    remains=Remains(KEPT, purged=0, unfinished=0, user_rows=IDENTITIES),
    identities=IDENTITIES,
)
OTHER = {"8:acs:other"}
WITH_OTHER = {"alice": "8:acs:kept", "bob": "8:acs:other"}
REMAINS = GOOD.remains


def test_every_identity_is_explained() -> None:
    """Each identity of ACS and the registry is explained by the log of the worker it came from."""
    names = ("kept", "killed", "lost", "forgotten", "late", "unreported")
    in_acs = {f"8:acs:{name}" for name in names}

    accounts = account_for(in_acs, {"8:acs:kept", "8:acs:phantom"}, [LOG])

    assert accounts.in_both == {"8:acs:kept"}
    assert accounts.only_in_registry == {"8:acs:phantom"}
    assert accounts.unreported == {"8:acs:unreported"}
    assert accounts.killed == {"8:acs:killed"}
    assert accounts.logged_lost == {"8:acs:lost"}
    assert accounts.unexplained == {"8:acs:forgotten", "8:acs:late"}
    assert accounts.lost == 3


def test_purges_are_counted() -> None:
    """The purges of all sweeps of all workers are added up."""
    assert account_for(set(), set(), [LOG, LOG]).swept == 6


def samples(pid: int, *memory: float) -> list[Sample]:
    """Enough samples for a trend, distributed evenly over these values."""
    times = -(-MIN_SAMPLES // len(memory))
    return [
        Sample(pid, each, sockets=10, tasks=5, blocks=300) for each in memory for _ in range(times)
    ]


@pytest.mark.parametrize(
    ("memory", "is_flat"),
    [
        ((50, 70, 70, 70, 70, 71, 71, 71), True),
        ((50, 70, 70, 70, 78, 78, 94, 94), True),
        ((50, 70, 70, 70, 78, 86, 95, 95), False),
    ],
)
def test_growth(memory: tuple[float, ...], is_flat: bool) -> None:
    """Growth is measured from the second quarter to the last; the first is warm-up."""
    assert trends(samples(1, *memory))[0].is_flat is is_flat


@pytest.mark.parametrize("figure", ["sockets", "tasks", "blocks"])
def test_leak_is_distinguished_from_work(figure: str) -> None:
    """A higher minimum is a leak; what is not in every sample is work in progress."""
    idle = Sample(1, memory=70, sockets=10, tasks=5, blocks=300)
    busy, leaking = [5, 5, 5, 90] * MIN_SAMPLES + [90, 90, 90, 5] * 5, range(0, 90, 2)
    found = [
        trends([replace(idle, **{figure: value}) for value in values]) for values in (busy, leaking)
    ]

    assert [all(one.is_flat for one in each) for each in found] == [True, False]


def test_only_the_last_worker_counts() -> None:
    """Samples of a worker that was killed are not part of the trend."""
    found = trends([*samples(1, 200, 200, 200, 200), *samples(2, 70, 70, 70, 70)])

    assert (found[0].early, found[0].late) == (70, 70)


@pytest.mark.parametrize("number", [0, 1, MIN_SAMPLES - 1])
def test_too_few_samples_are_no_trend(number: int) -> None:
    """Fewer samples than the minimum give no trend."""
    assert trends(samples(1, 70)[:number]) == []


def test_sockets_of_a_process_are_counted() -> None:
    """Each open socket of a process is counted."""
    before = sockets(os.getpid())

    with socket.socket():
        assert sockets(os.getpid()) == before + 1


def test_memory_of_a_process() -> None:
    """Resident memory is positive and no more than the peak."""
    assert 0 < mebibytes("VmRSS", os.getpid()) <= mebibytes("VmHWM")


def test_ended_process_has_no_memory() -> None:
    """The memory of a process that has ended is an error, not the memory of this process."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass

    with pytest.raises(OSError, match="No such file"):
        mebibytes("VmRSS", ended.pid)


def test_good_soak_has_no_defects() -> None:
    """An identity whose creation ACS could not report is shown, and is no defect."""
    assert GOOD.defects() == []
    assert "| in ACS only: the response of the creation was lost          | 1" in report(GOOD)


@pytest.mark.parametrize(
    ("soak", "found"),
    [
        (replace(GOOD, tally=replace(TALLY, wrong=["a"])), "wrong responses: 1"),
        (replace(GOOD, tally=replace(TALLY, gone=1), faults=[]), "without any fault: 1"),
        (
            replace(GOOD, tally=replace(TALLY, failed_creates=0)),
            "lost beyond the failed creations: 1",
        ),
        (replace(GOOD, unused=["storage: no response"]), "that no call met: 1"),
        (replace(GOOD, failed_samples=2), "that was not reachable: 2"),
        (replace(GOOD, trends=[replace(FLAT, late=95)]), "figures that grew: 1"),
        (replace(GOOD, trends=[]), "too few samples"),
        (replace(GOOD, accounts=replace(ACCOUNTS, only_in_registry=OTHER)), "not in ACS: 1"),
        (replace(GOOD, accounts=replace(ACCOUNTS, unexplained=OTHER)), "without explanation: 1"),
        (replace(GOOD, accounts=replace(ACCOUNTS, swept=0)), "no sweep purged anything"),
        (replace(GOOD, accounts=replace(ACCOUNTS, in_both=KEPT | OTHER)), "that no caller has: 1"),
        (replace(GOOD, remains=replace(REMAINS, unfinished=1)), "due entries after the last"),
        (
            replace(GOOD, remains=replace(REMAINS, user_rows=WITH_OTHER)),
            "names another identity: 1",
        ),
        (
            replace(GOOD, identities=WITH_OTHER, remains=replace(REMAINS, user_rows=WITH_OTHER)),
            "callers' identities that are not in both: 1",
        ),
    ],
)
def test_defect_is_reported(soak: Soak, found: str) -> None:
    """Each defect is in the last line of the report."""
    assert len(soak.defects()) == 1
    assert found in report(soak).splitlines()[-1]


def test_soak_without_responses_can_be_reported() -> None:
    """A soak without any response has no median, and a report."""
    assert "| -" in report(replace(GOOD, tally=replace(TALLY, seconds=[])))
