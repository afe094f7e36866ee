"""The local Azure to measure against, and apps that run on it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

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

    async def start_app(self, settings: Mapping[str, str] | None = None) -> App:
        """Start an app with these settings changed; it ends with the stack."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        app = running_app(self.azure, folder, settings)
        return await asyncio.to_thread(self._exits.enter_context, app)


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
