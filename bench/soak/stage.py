"""The system under load: the local Azure and one worker of the app at a time."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench.stack import App, Stack, running_stack

# Deleted identities are due at once, and the sweep runs all the time.
SETTINGS = {"DELETED_IDENTITY_RETENTION_DAYS": "0", "CLEANUP_SCHEDULE": "*/2 * * * * *"}
# Seconds that tokens of the managed identity are valid. azure-identity requests a new one when 300
# are left, so every 30 s, its minimum; the app uses the old one until 60 are left.
LIFETIME = 310


class Stage:
    """The local Azure, and the worker that serves now.

    Attributes:
        app: The worker.
    """

    app: App

    def __init__(self, stack: Stack, exits: AsyncExitStack) -> None:
        self.stack = stack
        self._exits = exits
        self._logs: list[Path] = []

    async def start_worker(self) -> None:
        """Start a worker with its own log."""
        log = self.stack.folder / f"app-{len(self._logs)}.log"
        self._logs.append(log)
        self.app = await self._exits.enter_async_context(self.stack.app(SETTINGS, log))

    async def kill_worker(self) -> None:
        """Kill the worker without notice, as the host would."""
        self.app.process.kill()
        await self.app.process.wait()

    async def count_tasks(self) -> int:
        """Return the number of tasks in the worker's event loop."""
        headers = {"x-functions-key": self.stack.azure.keys.master_key}
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.get(f"{self.app.url}/admin/host/status") as response,
        ):
            return int((await response.json())["tasks"])

    async def set_identity_fault(self, **fault: Any) -> None:
        """Set the fault of the managed identity endpoint; without arguments it works."""
        await self.stack.control.inject_identity_fault({"lifetimeSeconds": LIFETIME, **fault})

    def logs(self) -> list[str]:
        """Return the logs of all workers so far."""
        return [log.read_text() for log in self._logs]

    def environment(self) -> dict[str, str]:
        """Return the environment for another process with the product's own clients."""
        return self.stack.azure.settings() | SETTINGS


@asynccontextmanager
async def running_stage() -> AsyncIterator[Stage]:
    """Run the local Azure and a worker."""
    async with AsyncExitStack() as exits:
        stage = Stage(await exits.enter_async_context(running_stack()), exits)
        await stage.set_identity_fault()
        await stage.start_worker()
        yield stage
