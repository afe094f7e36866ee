"""The local Azure to measure against, and what runs on it: apps and the Express server."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT
from bench.process import clean_environment
from tests.support.client import Control, http_session
from tests.support.stack import App, Azure, running_app, running_azure


@dataclass(frozen=True)
class Stack:
    """The local Azure, and the apps that were started."""

    azure: Azure
    control: Control
    folder: Path
    _exits: ExitStack

    async def start_app(self, settings: Mapping[str, str] | None = None, root: Path = ROOT) -> App:
        """Start the app of this folder with these settings changed; it ends with the stack."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        app = running_app(self.azure, folder, settings, root=root)
        return await asyncio.to_thread(self._exits.enter_context, app)

    async def start_express(self) -> App:
        """Start the Express server; it ends with the stack."""
        return await asyncio.to_thread(self._exits.enter_context, running_express(self.azure))


@asynccontextmanager
async def running_stack() -> AsyncIterator[Stack]:
    """Run the local Azure in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, running_azure(Path(folder)) as azure:
        async with http_session() as session:
            with ExitStack() as exits:
                yield Stack(azure, Control(session, azure.env), Path(folder), exits)


@contextmanager
def azure_environment() -> Iterator[dict[str, str]]:
    """Run the local Azure; yields the environment of a process that uses it."""
    with tempfile.TemporaryDirectory() as folder, running_azure(Path(folder)) as azure:
        yield {**clean_environment(), **azure.env, **azure.settings}


@contextmanager
def running_express(azure: Azure) -> Iterator[App]:
    """Run the Express server of `bench/node` against this Azure until the end of the block."""
    folder = ROOT / "bench" / "node"
    if not (folder / "node_modules").is_dir():
        raise FileNotFoundError("The packages of bench/node are missing: run make setup.")
    call = ["node", "--require", str(ROOT / "local" / "until_stdin_closes.cjs"), "server.mjs"]
    environ = {
        **azure.settings,
        "PATH": os.environ["PATH"],
        "NODE_ENV": "production",  # as deployed
        "NODE_EXTRA_CA_CERTS": azure.env["NODE_EXTRA_CA_CERTS"],
        "PORT": "0",
    }
    with subprocess.Popen(  # noqa: S603 -- our own script
        call, cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout  # noqa: S101 -- it is a pipe
            yield App(process.stdout.readline().split()[-1], azure, started=process)
        finally:
            process.terminate()
