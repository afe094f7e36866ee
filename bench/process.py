"""Fresh Python processes, and the CPU, memory and sockets of a process.

This module imports nothing large: it runs inside the processes whose memory is measured.
"""

import asyncio
import ctypes
import os
import resource
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from pathlib import Path

from bench import ROOT

# A measured process inherits nothing else from this environment.
_INHERITED = ("PATH", "HOME", "LANG")


def clean_environment() -> dict[str, str]:
    """Return the part of this process's environment that measured processes inherit."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


async def run_python(environ: Mapping[str, str], *arguments: str) -> bytes:
    """Run a fresh Python process and return its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=dict(environ), stdout=PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed")
    return output


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far, all threads together, to the nanosecond (on Linux).

    Raises:
        ProcessLookupError: the process has ended.
    """
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(f"Process {pid} has ended.")
    return time.clock_gettime(clock.value)


def mebibytes(figure: str, pid: int | None = None) -> float:
    """Return the memory of a process (default: this one) in MiB.

    `figure` is Linux's name: `VmRSS` is resident now, `VmHWM` is the peak. Without /proc the result
    is this process's peak. On Linux `ru_maxrss` is not used: children inherit it from the parent.

    Raises:
        OSError: the process has ended.
    """
    if pid is None and not Path("/proc").exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # in bytes on macOS
    lines = Path("/proc", str(pid or os.getpid()), "status").read_text().splitlines()
    for line in lines:
        if line.startswith(figure):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"Process {pid} has ended.")


def sockets(pid: int) -> int:
    """Return the number of sockets that the process has open (on Linux)."""
    return sum(_is_socket(link) for link in Path("/proc", str(pid), "fd").iterdir())


def _is_socket(link: Path) -> bool:
    try:
        return str(link.readlink()).startswith("socket:")
    except FileNotFoundError:  # closed after it was listed
        return False
