"""Workers of the app, each a process of its own, as the tests see them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from tests.support.stack import ROOT
from tests.survival.ports import Fate
from tests.survival.worker import Done, Failed, Farewell, Order, Task, Word

# Seconds within which a worker says what it came to, on a machine that has much else to do.
PATIENCE = 240.0


class Worker:
    """A process at work on one task."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def says(self) -> Word | None:
        """What it says next; None when it has died."""
        async with asyncio.timeout(PATIENCE):
            line = await self._reader.readline()
        return msgspec.json.decode(line, type=Word) if line else None

    async def ends(self) -> Done:
        """What it came to."""
        match await self.says():
            case Done() as done:
                return done
            case Failed(trace):
                raise AssertionError(trace)
            case other:
                raise AssertionError(f"It did not come to its end: {other}")

    async def dies(self) -> str:
        """The name of the call at which it died."""
        farewell, silence = await self.says(), await self.says()
        assert isinstance(farewell, Farewell), farewell
        assert silence is None, silence
        return farewell.name

    async def freezes(self) -> int:
        """The id of the process, which is frozen."""
        farewell = await self.says()
        assert isinstance(farewell, Farewell), farewell
        return farewell.pid


class Workers:
    """Starts them."""

    def __init__(self, port: int) -> None:
        self._port = port

    @asynccontextmanager
    async def at_work(self, task: Task, fate: Fate | None = None) -> AsyncIterator[Worker]:
        """A worker that has been given the task."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        try:
            writer.write(msgspec.json.encode(Order(task, fate)) + b"\n")
            yield Worker(reader)
        finally:
            writer.close()

    async def end(self, task: Task) -> Done:
        """What a worker came to that lived to the end of the task."""
        async with self.at_work(task) as worker:
            return await worker.ends()

    async def die(self, task: Task, fate: Fate) -> str:
        """The name of the call at which the worker died."""
        async with self.at_work(task, fate) as worker:
            return await worker.dies()


@contextmanager
def running_workers(settings: Mapping[str, str], log_file: Path) -> Iterator[Workers]:
    """The process that forks them, with these settings as their environment."""
    with (
        log_file.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.survival.worker"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout
        try:
            port = process.stdout.readline()
            assert port, log_file.read_text()
            yield Workers(int(port))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
