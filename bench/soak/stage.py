"""What the load is put on: the local Azure, and one worker of the app at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from bench.control import Control
from local.app import App, running_app
from local.azure import LocalAzure, Ports, local_azure
from local.workspace import Workspace

# What is deleted is due at once, and the sweep runs all the time.
SETTINGS = {"DELETED_IDENTITY_RETENTION_DAYS": "0", "CLEANUP_SCHEDULE": "*/2 * * * * *"}
# Seconds that tokens of the managed identity live. azure-identity asks for another one when 300 are
# left, so every 30 s, its least pause; the app lets the old one serve until 60 are left.
LIFETIME = 310
# Seconds within which the control endpoint is in reach again, and from one try to the next.
REACH, PAUSE = 20.0, 0.1


class Stage:
    """All that runs.

    Attributes:
        app: The worker that serves now.
    """

    def __init__(
        self, azure: LocalAzure, control: Control, folder: Path, stack: AsyncExitStack
    ) -> None:
        self.azure = azure
        self.control = control
        self._folder = folder
        self._stack = stack
        self._logs: list[Path] = []
        self.app: App

    async def start_worker(self) -> None:
        """Start a worker, with a log of its own."""
        log = self._folder / f"app-{len(self._logs)}.log"
        self._logs.append(log)
        self.app = await self._stack.enter_async_context(running_app(self.azure, SETTINGS, 0, log))

    async def kill_worker(self) -> None:
        """Kill the worker as the host would: without notice."""
        self.app.process.kill()
        await self.app.process.wait()

    async def count_tasks(self) -> int:
        """How many tasks the worker's event loop has."""
        headers = {"x-functions-key": self.azure.keys.master_key}
        async with (
            aiohttp.ClientSession(headers=headers, raise_for_status=True) as session,
            session.get(f"{self.app.url}/admin/host/status") as answer,
        ):
            return int((await answer.json())["tasks"])

    def logs(self) -> list[str]:
        """What all the workers have logged."""
        return [log.read_text() for log in self._logs]

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """What the control endpoint says, once it is within reach.

        Raises:
            TimeoutError: it is not for longer than any outage lasts.
        """
        async with asyncio.timeout(REACH):
            while True:
                try:
                    return await self.control.ask(method, path, body)
                except aiohttp.ClientResponseError:
                    raise
                except aiohttp.ClientError:
                    await asyncio.sleep(PAUSE)

    async def in_acs(self) -> set[str]:
        """The ids of the identities that ACS has."""
        answer = await self.control.ask("GET", "/identities")
        return {one["id"] for one in answer["identities"] if one["state"] == "active"}

    async def trouble_identity(self, **trouble: Any) -> None:
        """Make the managed identity endpoint fail, or, without a word, let it be well."""
        order = {"lifetimeSeconds": LIFETIME, **trouble}
        await self.control.ask("PUT", "/managed-identity/trouble", order)

    async def token_requests(self) -> dict[str, int]:
        """How often the managed identity endpoint was asked for a token, by resource."""
        answer = await self.control.ask("GET", "/managed-identity")
        return dict(answer["requests"])

    def environment(self) -> dict[str, str]:
        """What another process needs to work with the product's own clients."""
        return self.azure.settings() | SETTINGS


@asynccontextmanager
async def stage(workspace: Workspace) -> AsyncIterator[Stage]:
    """Run it all, with a fresh worker."""
    async with AsyncExitStack() as stack:
        azure = await stack.enter_async_context(local_azure(workspace, Ports(0, 0, 0, 0, 0, 0)))
        control = await stack.enter_async_context(
            Control(azure.acs.control_url, azure.keys.control_key, str(azure.acs.bundle))
        )
        made = Stage(azure, control, workspace.folder, stack)
        await made.trouble_identity()
        await made.start_worker()
        yield made
