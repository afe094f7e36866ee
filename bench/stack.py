"""The local Azure to measure against, in this process or in its own. Only this module starts it."""

import asyncio
import json
import shlex
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT
from bench.control import Control
from bench.process import clean_environment
from local.app import App, running_app
from local.azure import LocalAzure, Ports, local_azure
from local.servers import stop
from local.workspace import Workspace

_PARTS = ("app", "acs", "identity", "blob", "queue", "table")

__all__ = ["App", "Stack", "running_stack", "separate_azure"]


@dataclass(frozen=True)
class Stack:
    """The local Azure in this process; apps run against it in their own processes."""

    azure: LocalAzure
    control: Control
    folder: Path

    def app(self, settings: Mapping[str, str], log: Path) -> AbstractAsyncContextManager[App]:
        """Run an app with these settings changed."""
        return running_app(self.azure, settings, 0, log)


@asynccontextmanager
async def running_stack() -> AsyncIterator[Stack]:
    """Run the local Azure in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, Workspace(Path(folder)).locked() as workspace:
        async with (
            local_azure(workspace, Ports(0, 0, 0, 0, 0, 0)) as azure,
            Control(
                azure.acs.control_url, azure.keys.control_key, str(azure.acs.bundle)
            ) as control,
        ):
            yield Stack(azure, control, workspace.folder)


@asynccontextmanager
async def separate_azure() -> AsyncIterator[dict[str, str]]:
    """Run the local Azure in its own processes; yields the environment to work against it."""
    with tempfile.TemporaryDirectory() as folder:
        ports = [argument for part in _PARTS for argument in (f"--{part}-port", "0")]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local", "azure", "--folder", folder, *ports),
            cwd=ROOT,
            stdout=PIPE,
        )
        try:
            assert process.stdout is not None  # noqa: S101 -- requested above
            while b"shell assignments" not in (line := await process.stdout.readline()):
                if not line:
                    raise RuntimeError("The local Azure does not start: run make setup first.")
            yield clean_environment() | _environment(Path(folder))
        finally:
            await stop(process)


def _environment(folder: Path) -> dict[str, str]:
    settings: dict[str, str] = json.loads((folder / "local.settings.json").read_text())["Values"]
    lines = shlex.split((folder / ".local" / "env").read_text())
    return dict(line.split("=", 1) for line in lines) | settings
