"""Azurite: Azure Storage on loopback, over TLS, for tokens of the local tenant.

Source: https://github.com/Azure/Azurite#readme
"""

import asyncio
import contextlib
import re
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from local.certificates import Authority
from local.processes import ended
from local.servers import HOST, listen
from local.workplace import CannotStart

ACCOUNT = "devstoreaccount1"
# Seconds. Longer than aiohttp keeps an idle connection (15), as in Azure: with Azurite's own 5 a
# write now and then meets a connection that is just being closed.
KEEP_ALIVE = 60
_SCRIPT = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at https://[^:]+:(\d+)")


@dataclass(frozen=True)
class Azurite:
    """The running storage account."""

    blob: str
    queue: str
    table: str
    process: Process


@dataclass(frozen=True)
class AzuritePorts:
    """Where its three services listen on loopback; 0 stands for any free port."""

    blob: int
    queue: int
    table: int


@contextlib.asynccontextmanager
async def azurite(
    folder: Path, ports: AzuritePorts, authority: Authority
) -> AsyncIterator[Azurite]:
    """Run Azurite on an empty account that lives in `folder`.

    Raises:
        CannotStart: Node or Azurite is missing, or a port is taken.
    """
    certificate, key = _clean(folder, authority)
    process = await asyncio.create_subprocess_exec(
        *_command(ports),
        *("--location", str(folder), "--cert", str(certificate), "--key", str(key)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on
    )
    try:
        yield await _announced(process)
    finally:
        await ended(process)
        shutil.rmtree(folder, ignore_errors=True)


def _clean(folder: Path, authority: Authority) -> tuple[Path, Path]:
    """Empty the folder but for a certificate and its key."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    certificate, key = folder / "localhost.pem", folder / "localhost.key"
    authority.write_server_files(certificate, key)
    return certificate, key


def _command(ports: AzuritePorts) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise CannotStart("Node is missing: install Node 20 or newer, then run make setup again.")
    if not _SCRIPT.exists():
        raise CannotStart("Azurite is missing: run make setup.")
    options = ["--silent", "--oauth", "basic", "--disableTelemetry", "--skipApiVersionCheck"]
    options += ["--tableKeepAliveTimeout", str(KEEP_ALIVE)]
    for name, port in vars(ports).items():
        listen(port, f"--{name}-port").close()
        options += [f"--{name}Port", str(port)]
    return [node, str(_SCRIPT), *options]


async def _announced(process: Process) -> Azurite:
    """Read what it says until its last service listens."""
    assert process.stdout is not None  # noqa: S101 -- asked for above
    addresses: dict[str, str] = {}
    said = ""
    while len(addresses) < 3:  # noqa: PLR2004 -- blob, queue and table
        line = (await process.stdout.readline()).decode(errors="replace")
        if not line:
            raise CannotStart(f"Azurite does not start: {said.strip() or 'it says nothing'}")
        said = line
        if found := _LISTENING.search(line):
            # Not "localhost": azure-data-tables takes that for Cosmos DB's emulator.
            addresses[found[1].lower()] = f"https://{HOST}:{found[2]}/{ACCOUNT}"
    return Azurite(**addresses, process=process)
