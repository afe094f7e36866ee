"""What a process holds of the machine."""

import os
import resource
from pathlib import Path


def mebibytes(figure: str, pid: int | None = None) -> float:
    """Memory of the process, by default of this one, in MiB.

    `figure` is as Linux names it: `VmRSS` is resident now, `VmHWM` was at the peak. Where there is
    no /proc it is the peak, of this process. Linux hands a parent's `ru_maxrss` down to its
    children: the file tells of one process alone.

    Raises:
        OSError: there is no such process any more.
    """
    if pid is None and not Path("/proc").exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2  # in bytes on macOS
    lines = Path("/proc", str(pid or os.getpid()), "status").read_text().splitlines()
    for line in lines:
        if line.startswith(figure):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"Process {pid} has ended.")


def sockets(pid: int) -> int:
    """How many sockets the process has open (on Linux)."""
    return sum(_is_socket(link) for link in Path("/proc", str(pid), "fd").iterdir())


def _is_socket(link: Path) -> bool:
    try:
        return str(link.readlink()).startswith("socket:")
    except FileNotFoundError:  # closed since it was listed
        return False
