"""Workers of the app, each in its own process, as the tests see them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from tests.support.stack import start_module
from tests.support.waiting import is_suspended, wait_until
from tests.survival.worker import Done, Failed, Interrupted, Interruption, Message, Order, Task

# Seconds within which a worker sends its next message, on a busy machine.
PATIENCE = 240.0


class Worker:
    """A process that works on one task."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def next_message(self) -> Message | None:
        """Return its next message, or None if it has died."""
        async with asyncio.timeout(PATIENCE):
            line = await self._reader.readline()
        return msgspec.json.decode(line, type=Message) if line else None

    async def result(self) -> Done:
        """Wait until it is done and return the result."""
        match await self.next_message():
            case Done() as done:
                return done
            case Failed(trace):
                raise AssertionError(trace)
            case other:
                raise AssertionError(f"The worker did not finish: {other}")

    async def killed_at(self) -> str:
        """Wait until it is killed and return the name of the call at which that happened."""
        message, end = await self.next_message(), await self.next_message()
        assert isinstance(message, Interrupted), message
        assert end is None, end
        return message.name

    async def suspended_pid(self) -> int:
        """Wait until it is suspended and return the id of the process."""
        message = await self.next_message()
        assert isinstance(message, Interrupted), message
        await asyncio.to_thread(wait_until, lambda: is_suspended(message.pid))
        return message.pid


class Workers:
    """Starts workers."""

    def __init__(self, port: int) -> None:
        self._port = port

    @asynccontextmanager
    async def working(
        self, task: Task, interruption: Interruption | None = None
    ) -> AsyncIterator[Worker]:
        """Start a worker with this task."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        try:
            writer.write(msgspec.json.encode(Order(task, interruption)) + b"\n")
            yield Worker(reader)
        finally:
            writer.close()

    async def run(self, task: Task) -> Done:
        """Run a worker to the end of the task."""
        async with self.working(task) as worker:
            return await worker.result()

    async def kill(self, task: Task, interruption: Interruption) -> str:
        """Run a worker until it is killed; return the name of the call at which that happened."""
        async with self.working(task, interruption) as worker:
            return await worker.killed_at()


@contextmanager
def running_workers(settings: Mapping[str, str], log_file: Path) -> Iterator[Workers]:
    """Run the process that forks workers; these settings are its environment."""
    with (
        log_file.open("w") as log,
        start_module("tests.survival.worker", environ=settings, log=log) as process,
    ):
        assert process.stdout
        try:
            port = process.stdout.readline()
            assert port, log_file.read_text()
            yield Workers(int(port))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
