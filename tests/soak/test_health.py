"""Whether a worker stays as it is."""

import os
import socket
import subprocess
import sys

import pytest

from bench.process import mebibytes, sockets
from bench.soak.health import SHORTEST, Sample, trends


def samples(pid: int, *memory: float) -> list[Sample]:
    """So many looks that they make a trend, shared out evenly among these figures."""
    times = -(-SHORTEST // len(memory))
    return [Sample(pid, each, sockets=10, tasks=5) for each in memory for _ in range(times)]


@pytest.mark.parametrize(
    ("memory", "is_flat"),
    [
        ((50, 70, 70, 70, 70, 71, 71, 71), True),
        ((50, 70, 70, 70, 74, 76, 79, 79), False),
    ],
)
def test_growth(memory: tuple[float, ...], is_flat: bool) -> None:
    """From the second quarter to the last; the first is for warming up."""
    assert trends(samples(1, *memory))[0].is_flat is is_flat


def test_a_leak_is_told_from_work() -> None:
    """What is at work is not there at every look; what is leaked is."""
    busy = [Sample(1, 70, 10, tasks) for tasks in [5, 5, 5, 30] * SHORTEST + [30, 30, 30, 5] * 5]
    leaking = [Sample(1, 70, 10, tasks) for tasks in range(SHORTEST)]

    assert [trends(each)[2].is_flat for each in (busy, leaking)] == [True, False]


def test_only_the_last_worker_counts() -> None:
    """Another one was killed."""
    found = trends([*samples(1, 200, 200, 200, 200), *samples(2, 70, 70, 70, 70)])

    assert (found[0].early, found[0].late) == (70, 70)


@pytest.mark.parametrize("looks", [0, 1, SHORTEST - 1])
def test_a_few_looks_are_no_trend(looks: int) -> None:
    """Then there is nothing to say."""
    assert trends(samples(1, 70)[:looks]) == []


def test_sockets_of_a_process_are_counted() -> None:
    """One more is seen."""
    before = sockets(os.getpid())

    with socket.socket():
        assert sockets(os.getpid()) == before + 1


def test_memory_of_a_process() -> None:
    """Resident now, and no more than at the peak."""
    assert 0 < mebibytes("VmRSS", os.getpid()) <= mebibytes("VmHWM")


def test_a_process_that_has_ended_has_no_memory() -> None:
    """It is not taken for ours."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass

    with pytest.raises(OSError, match="No such file"):
        mebibytes("VmRSS", ended.pid)
