"""The child processes of a local Azure, which must not outlive it.

Standard input of each child is a pipe from its parent. The pipe reaches its end when the parent has
ended, however that happened, and then the child ends itself. If a child could not do so (it was
suspended), the next start in the folder ends it: a file there has the id and the birth of each.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

# Seconds that a child has to stop after SIGTERM.
GRACE = 3.0
# Seconds that the kernel may take to end a process after SIGKILL.
_KILL_TIMEOUT = 5.0
_PROC = Path("/proc")


class Children:
    """Starts and stops child processes, and keeps a record of those that run.

    Args:
        record: the file for it.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        # With the birth of each.
        self._running: dict[Process, str | None] = {}

    async def start(self, *command: str, **options: Any) -> Process:
        """Start a program that ends when its standard input closes.

        Args:
            command: the program and its arguments.
            options: of `asyncio.create_subprocess_exec`.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=PIPE,
            start_new_session=True,  # Ctrl-C in a terminal must not reach it: we stop it ourselves
            **options,
        )
        self._running[process] = born(process.pid)
        self._write_record()
        return process

    async def stop(self, process: Process) -> None:
        """Stop a child: with SIGTERM, and with SIGKILL after the grace period."""
        self.send_signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), GRACE)
        except TimeoutError:
            self.send_signal(process, signal.SIGKILL)
            await process.wait()
        self._running.pop(process, None)
        self._write_record()

    def send_signal(self, process: Process, number: signal.Signals) -> None:
        """Send a signal to a child, if it still runs.

        `Process.send_signal` can take the exit code of a child that ends away from asyncio.
        """
        birth = self._running.get(process)
        if birth and birth == born(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def end_leftovers(self) -> int:
        """Kill the recorded processes that still run, and return their number.

        No other process is killed, even if it has got the id of a recorded one.
        """
        leftovers = [(pid, birth) for pid, birth in self._read_record() if born(pid) == birth]
        for pid, _ in leftovers:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + _KILL_TIMEOUT
        while any(born(pid) == birth for pid, birth in leftovers) and time.monotonic() < until:
            time.sleep(0.02)
        return len(leftovers)

    def _write_record(self) -> None:
        lines = (f"{process.pid} {birth}\n" for process, birth in self._running.items() if birth)
        self._record.write_text("".join(lines))

    def _read_record(self) -> list[tuple[int, str]]:
        try:
            lines = self._record.read_text().splitlines()
        except (OSError, ValueError):
            return []
        records = (line.partition(" ") for line in lines)
        return [(int(pid), birth) for pid, _, birth in records if pid.isdecimal() and birth]


def born(pid: int) -> str | None:
    """When a process began. With its id, it identifies a process. None if it has ended."""
    return _born_in_proc(pid) if (_PROC / "self" / "stat").exists() else _born_in_ps(pid)


def _born_in_proc(pid: int) -> str | None:
    """On Linux: clock ticks since the machine started, and which start that was."""
    try:
        # The name of the program, in parentheses, can contain anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return None if fields[0] in "ZX" else f"{fields[19]} {boot}"


def _born_in_ps(pid: int) -> str | None:
    """On other systems: date and time."""
    call = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    environ = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(call, check=False, env=environ, capture_output=True, text=True)  # noqa: S603 -- fixed program
    state, _, start = done.stdout.strip().partition(" ")
    return None if state.startswith("Z") or not start else start.strip()
