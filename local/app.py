"""The app in a process of its own, behind the Functions host stand-in."""

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from local.azure import ROOT, LocalAzure
from local.processes import ended
from local.try_it import files
from local.workplace import CannotStart

PORT_TAKEN = 4
EXAMPLE = "/example/"
# Built by `make setup`.
_EXAMPLE_FOLDER = ROOT / "examples" / "web" / "dist"
# Variables of whoever starts us that would choose another resource or credential for the app.
_FOREIGN = (
    "APPLICATIONINSIGHTS_",
    "AZURE_",
    "AzureFunctionsJobHost__",
    "AzureWebJobs",
    "COMMUNICATION_SERVICES_",
    "IDENTITY_",
    "MSI_",
    "OTEL_",
    "PYTHON_APPLICATIONINSIGHTS_",
    "WEBSITE_",
)
# No proxy leads to loopback.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class App:
    """The running app."""

    url: str
    process: Process


@contextlib.asynccontextmanager
async def running_app(
    azure: LocalAzure, changes: Mapping[str, str], port: int, log: Path
) -> AsyncIterator[App]:
    """Run the app against this Azure with its settings, changed so, and those who sign in there.

    Nothing else can change its mind.

    Raises:
        CannotStart: its port is taken, or it does not load; then the log says why.
    """
    host = {
        "LOCAL_HOST_STATIC_FILES": json.dumps({EXAMPLE: str(_EXAMPLE_FOLDER), **files()}),
        "LOCAL_HOST_SIGN_IN": azure.sign_in_endpoint(),
        "LOCAL_HOST_EASY_AUTH": azure.sign_in.easy_auth(),
        "LOCAL_HOST_FUNCTION_KEY": azure.keys.function_key,
        "LOCAL_HOST_MASTER_KEY": azure.keys.master_key,
    }
    with log.open("w") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local.functions_host"),
            *("--app", str(ROOT), "--port", str(port), "--until-stdin-closes"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
            cwd=ROOT,
            env=_inherited() | azure.settings() | dict(changes) | host,
        )
    try:
        yield App(await _announced(process, port, log), process)
    finally:
        await ended(process)


def _inherited() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.upper() not in _PROXIES
    }


async def _announced(process: Process, port: int, log: Path) -> str:
    """The address that the host prints once it serves."""
    assert process.stdout is not None  # noqa: S101 -- asked for above
    line = (await process.stdout.readline()).decode()
    if line.startswith("listening "):
        return line.split()[1]
    if await process.wait() == PORT_TAKEN:
        raise CannotStart(f"Port {port} is taken: choose another with --app-port.")
    raise CannotStart(f"The app does not start: see {log}.")
