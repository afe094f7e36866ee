"""Whether a worker stays as it is."""

import os
import socket

import pytest

from bench.process import mebibytes, sockets
from bench.soak.health import Sample, trends


def samples(pid: int, *memory: float) -> list[Sample]:
    """One look for each."""
    return [Sample(pid, each, sockets=10, tasks=5) for each in memory]


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


def test_only_the_last_worker_counts() -> None:
    """Another one was killed."""
    found = trends([*samples(1, 200, 200, 200, 200), *samples(2, 70, 70, 70, 70)])

    assert (found[0].early, found[0].late) == (70, 70)


def test_nobody_looked() -> None:
    """Then there is nothing to say."""
    assert trends([]) == []


def test_sockets_of_a_process_are_counted() -> None:
    """One more is seen."""
    before = sockets(os.getpid())

    with socket.socket():
        assert sockets(os.getpid()) == before + 1


def test_memory_of_a_process() -> None:
    """Resident now, and no more than at the peak."""
    assert 0 < mebibytes("VmRSS", os.getpid()) <= mebibytes("VmHWM")
