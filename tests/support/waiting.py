"""Waits for what happens in other threads and processes. Nothing announces it, so it polls."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 30.0
_PAUSE = 0.005


def wait_until(
    condition: Callable[[], bool], explain: Callable[[], object] = lambda: "It did not happen."
) -> None:
    """Waits until the condition holds.

    Args:
        condition: what must hold.
        explain: what the error says if it does not hold in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, explain()
        time.sleep(_PAUSE)


def suspend(pid: int) -> None:
    """Suspends a process with SIGSTOP, on Linux.

    `os.kill` returns at once. On a busy machine, the process does more before it is suspended.
    """
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_suspended(pid))


def is_suspended(pid: int) -> bool:
    """Whether all threads of a process are suspended."""
    try:
        threads = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # one of them has just ended
        return False
    # The name of the program, in parentheses, can contain anything.
    return bool(threads) and all(thread.rpartition(")")[2].split()[0] == "T" for thread in threads)
