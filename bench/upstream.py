"""The local Azure in processes of its own, and the environment in which the app finds it."""

import asyncio
import contextlib
import json
import os
import shlex
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path

from bench import ROOT
from local.servers import stop

_PARTS = ("app", "acs", "identity", "blob", "queue", "table")
# Of this process's own environment nothing else reaches those that are measured.
_INHERITED = ("PATH", "HOME", "LANG")


@contextlib.asynccontextmanager
async def upstream() -> AsyncIterator[dict[str, str]]:
    """Run it; yields the environment for a process that is to work against it."""
    with tempfile.TemporaryDirectory() as folder:
        ports = [argument for part in _PARTS for argument in (f"--{part}-port", "0")]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local", "azure", "--folder", folder, *ports),
            cwd=ROOT,
            stdout=PIPE,
        )
        try:
            assert process.stdout is not None  # noqa: S101 -- asked for above
            while b"shell assignments" not in (line := await process.stdout.readline()):
                if not line:
                    raise RuntimeError("The local Azure does not start: run make setup first.")
            yield environment() | _told(Path(folder))
        finally:
            await stop(process)


def environment() -> dict[str, str]:
    """What a process that is measured gets of this one's environment."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _told(folder: Path) -> dict[str, str]:
    settings: dict[str, str] = json.loads((folder / "local.settings.json").read_text())["Values"]
    lines = shlex.split((folder / ".local" / "env").read_text())
    return dict(line.split("=", 1) for line in lines) | settings
