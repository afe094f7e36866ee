"""The system under load: the local Azure and one worker of the app at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bench.stack import Stack, running_stack
from tests.support.azurite import Tables, running_tables
from tests.support.stack import App

# Deleted identities are due at once, and the sweep runs all the time.
SETTINGS = {"DELETED_IDENTITY_RETENTION_DAYS": "0", "CLEANUP_SCHEDULE": "*/2 * * * * *"}
# Seconds that tokens of the managed identity are valid. azure-identity requests a new one when 300
# are left, so every 30 s, its minimum; the app uses the old one until 60 are left.
LIFETIME = 310


class Stage:
    """The local Azure, and the worker that serves now.

    Attributes:
        tables: The storage of the registry, which can be suspended.
        app: The worker.
    """

    app: App

    def __init__(self, stack: Stack, tables: Tables) -> None:
        self.stack = stack
        self.tables = tables
        self._settings = {**SETTINGS, "AzureWebJobsStorage__tableServiceUri": tables.address}
        self._apps: list[App] = []

    async def start_worker(self) -> None:
        """Start a worker with its own log."""
        self.app = await self.stack.start_app(self._settings)
        self._apps.append(self.app)

    async def kill_worker(self) -> None:
        """Kill the worker without notice, as the host would."""
        self.app.process.kill()
        await asyncio.to_thread(self.app.process.wait)

    async def count_inside(self) -> tuple[int, int]:
        """Return the number of tasks in the worker's event loop, and of blocks of its objects."""
        headers = {"x-functions-key": self.app.master_key}
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.get(f"{self.app.url}/admin/host/status") as response,
        ):
            status = await response.json()
        return int(status["tasks"]), int(status["blocks"])

    async def set_identity_fault(self, **fault: Any) -> None:
        """Set the fault of the managed identity endpoint; without arguments it works."""
        await self.stack.control.inject_identity_fault(lifetimeSeconds=LIFETIME, **fault)

    def logs(self) -> list[str]:
        """Return the logs of all workers so far."""
        return [app.log for app in self._apps]

    def environment(self) -> dict[str, str]:
        """Return the environment for another process with the product's own clients."""
        return {**self.stack.azure.settings, **self._settings}


@asynccontextmanager
async def running_stage() -> AsyncIterator[Stage]:
    """Run the local Azure and a worker."""
    async with running_stack() as stack:
        folder = stack.folder / "tables"
        folder.mkdir()
        with running_tables(folder, stack.azure.certificates) as tables:
            stage = Stage(stack, tables)
            await stage.set_identity_fault()
            await stage.start_worker()
            yield stage
