"""Azure Storage on loopback: Azurite, over TLS, with bearer tokens of the local tenant.

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

from local.children import Children
from local.servers import HOST, Authority
from local.workspace import CannotStart, remove

ACCOUNT = "devstoreaccount1"
# Seconds. As in Azure, longer than aiohttp keeps an idle connection (15). With Azurite's default of
# 5, a write sometimes uses a connection that the server is closing.
KEEP_ALIVE = 60
_SCRIPT = Path(__file__).parent / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
UNTIL_STDIN_CLOSES = Path(__file__).parent / "until_stdin_closes.cjs"
_LISTENING = re.compile(r"Azurite (\w+) service is successfully listening at https://[^:]+:(\d+)")


@dataclass(frozen=True)
class Azurite:
    """The running storage account."""

    blob: str
    queue: str
    table: str
    process: Process

    async def end(self) -> str:
        """Wait until the process ends by itself. Returns a message for the user."""
        assert self.process.stdout is not None  # noqa: S101 -- it is started with it
        printed = (await self.process.stdout.read()).decode(errors="replace").strip()
        code = await self.process.wait()
        reason = printed or f"exit code {code}"
        return f"Azurite has stopped unexpectedly: {reason}"


@dataclass(frozen=True)
class AzuritePorts:
    """The ports of its three services on loopback. 0 selects a free port."""

    blob: int
    queue: int
    table: int


@contextlib.asynccontextmanager
async def azurite(
    folder: Path, ports: AzuritePorts, authority: Authority, children: Children
) -> AsyncIterator[Azurite]:
    """Run Azurite with an empty account in memory. Its certificate is in `folder`.

    Raises:
        CannotStart: Node or Azurite is missing, or Azurite does not start.
    """
    certificate, key = _clean(folder, authority)
    process = await children.start(
        *_command(ports),
        *("--cert", str(certificate), "--key", str(key)),
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield await _read_addresses(process)
    finally:
        await children.stop(process)
        remove(folder)


def _clean(folder: Path, authority: Authority) -> tuple[Path, Path]:
    """Empty the folder and write a certificate and its key to it."""
    remove(folder)
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = folder / "localhost.pem", folder / "localhost.key"
    authority.write_server_files(certificate, key)
    return certificate, key


def _command(ports: AzuritePorts) -> list[str]:
    node = shutil.which("node")
    if node is None:
        raise CannotStart("Node is missing: install Node 20.19 or newer.")
    if not _SCRIPT.exists():
        raise CannotStart("Azurite is missing: run `make runnable`.")
    options = ["--silent", "--oauth", "basic", "--disableTelemetry", "--skipApiVersionCheck"]
    # Otherwise it stops for as long as it takes to write all rows to a file, every few seconds.
    options += ["--inMemoryPersistence"]
    options += ["--tableKeepAliveTimeout", str(KEEP_ALIVE)]
    for name, port in vars(ports).items():
        options += [f"--{name}Port", str(port)]
    return [node, "--require", str(UNTIL_STDIN_CLOSES), str(_SCRIPT), *options]


async def _read_addresses(process: Process) -> Azurite:
    """Read its output until all three services listen."""
    assert process.stdout is not None  # noqa: S101 -- requested above
    addresses: dict[str, str] = {}
    last = ""
    while len(addresses) < 3:  # noqa: PLR2004 -- blob, queue and table
        line = (await process.stdout.readline()).decode(errors="replace")
        if not line:
            raise CannotStart(f"Azurite does not start: {last.strip() or 'it printed nothing'}")
        last = line
        if found := _LISTENING.search(line):
            # Not "localhost": azure-data-tables would assume the emulator of Cosmos DB.
            addresses[found[1].lower()] = f"https://{HOST}:{found[2]}/{ACCOUNT}"
    return Azurite(**addresses, process=process)
