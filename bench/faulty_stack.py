"""The running stack, made to fail: each fault, each operation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.callers import Caller, Operation, Outcome, operations
from bench.control import Control
from local.app import App, running_app
from local.azure import LocalAzure, Ports, local_azure
from local.workspace import Workspace

# What the caller of one operation sees, and how many calls it cost.
Seen = tuple[Outcome, int]

_503 = {"kind": "status", "status": 503}
_429 = {"kind": "status", "status": 429, "code": "TooManyRequests"}
FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "503, once": {**_503, "times": 1},
    "503 with Retry-After: 3600": {**_503, "retryAfter": 3600},
    "429": _429,
    "429 with Retry-After: 7": {**_429, "retryAfter": 7},
    "429 with Retry-After: 3600": {**_429, "retryAfter": 3600},
    "401 Denied": {"kind": "status", "status": 401, "code": "Denied"},
    "502 with an HTML page": {"kind": "status", "status": 502, "body": "html"},
    "200 with an HTML page": {"kind": "status", "status": 200, "body": "html"},
    "503 with an empty body": {**_503, "body": "empty"},
    "dropped before the effect, once": {"kind": "drop", "times": 1},
    "dropped before the effect": {"kind": "drop"},
    "dropped after the effect": {"kind": "drop", "when": "after"},
    "half an answer": {"kind": "half"},
    "no answer": {"kind": "hang"},
    "the answer 20 s late": {"kind": "delay", "delaySeconds": 20},
}
OUTAGE = "connections refused"
OUTAGE_SECONDS = 5
# Of the managed identity endpoint, as the first call of a cold worker meets it.
TROUBLES: dict[str, dict[str, Any]] = {
    "managed identity: connection dropped": {"drop": True},
    "managed identity: 500": {"status": 500},
    "managed identity: 2 s late": {"delaySeconds": 2},
    "managed identity: 20 s late": {"delaySeconds": 20},
}

# The sweep would finish what has failed, and be counted.
_NO_SWEEP = {"AzureWebJobs.purge_deleted_identities.Disabled": "true"}


@dataclass
class FaultyStack:
    """The running stack: the local Azure, a warm app, and what a cold one takes."""

    azure: LocalAzure
    control: Control
    session: aiohttp.ClientSession
    log: Path
    warm: App

    @property
    def _operations(self) -> list[Operation]:
        teams = self.azure.acs.emulator.teams_user()
        body = {"token": teams.token, "appId": teams.app_id, "userId": teams.user_id}
        return operations(body)

    @property
    def _waves(self) -> list[list[Operation]]:
        """All operations, in groups that can be told apart by what they call."""
        second = ("create with token", "delete")
        return [
            [one for one in self._operations if (one.name in second) == wanted]
            for wanted in (False, True)
        ]

    async def faults(self) -> list[tuple[str, list[Seen]]]:
        """Everything that ACS can be told to do, to an app that is warm."""
        for wave in self._waves:
            await self._calls(wave, self._warm_call)
        return [(name, await self._fault(order)) for name, order in FAULTS.items()]

    async def _fault(self, order: dict[str, Any]) -> list[Seen]:
        seen: list[Seen] = []
        for wave in self._waves:
            orders = [{**order, "operation": one.upstream} for one in wave]
            seen += await self._calls(wave, self._warm_call, orders)
            await self.control.ask("DELETE", "/faults")
            await asyncio.sleep(0.2)  # for what goes on now that the faults let go
        return seen

    async def outage(self) -> list[tuple[str, list[Seen]]]:
        """Nobody gets through to ACS, nor to the control endpoint: nothing is counted."""
        identities = await self._identities(self._operations)
        await self.control.ask("POST", "/outage", {"seconds": OUTAGE_SECONDS})
        await asyncio.sleep(0.2)
        calls = zip(self._operations, identities, strict=True)
        outcomes = await asyncio.gather(*(self._warm_call(*one) for one in calls))
        await asyncio.sleep(OUTAGE_SECONDS + 0.5)
        return [(OUTAGE, [(outcome, 0) for outcome in outcomes])]

    async def troubles(self) -> list[tuple[str, list[Seen]]]:
        """Everything that the managed identity endpoint can be told to do, to cold apps."""
        seen: list[tuple[str, list[Seen]]] = []
        for name, order in TROUBLES.items():
            found: list[Seen] = []
            for wave in self._waves:
                found += await self._trouble(wave, order)
            seen.append((name, found))
        return seen

    async def _trouble(self, wave: list[Operation], order: dict[str, Any]) -> list[Seen]:
        async with AsyncExitStack() as stack:
            starting = (stack.enter_async_context(self._cold_app()) for _ in wave)
            apps = await asyncio.gather(*starting)
            urls = {one.name: app.url for one, app in zip(wave, apps, strict=True)}

            async def cold_call(operation: Operation, identity_id: str) -> Outcome:
                caller = Caller(self.session, urls[operation.name])
                return await caller.call(operation, identity_id)

            await self.control.ask("PUT", "/managed-identity/trouble", order)
            seen = await self._calls(wave, cold_call)
            await self.control.ask("DELETE", "/managed-identity/trouble")
        return seen

    async def _calls(
        self,
        wave: Sequence[Operation],
        call: Callable[[Operation, str], Awaitable[Outcome]],
        orders: Iterable[dict[str, Any]] = (),
    ) -> list[Seen]:
        """Call the operations all at once, each with an identity of its own, and count."""
        identities = await self._identities(wave)
        before = await self.control.attempts()
        for order in orders:
            await self.control.ask("POST", "/faults", order)
        pairs = zip(wave, identities, strict=True)
        outcomes = await asyncio.gather(*(call(*pair) for pair in pairs))
        after = await self.control.attempts()
        return [
            (outcome, after[one.upstream] - before[one.upstream])
            for one, outcome in zip(wave, outcomes, strict=True)
        ]

    async def _identities(self, wave: Sequence[Operation]) -> list[str]:
        return [await Caller(self.session, self.warm.url).create() for _ in wave]

    async def _warm_call(self, operation: Operation, identity_id: str) -> Outcome:
        return await Caller(self.session, self.warm.url).call(operation, identity_id)

    def _cold_app(self) -> AbstractAsyncContextManager[App]:
        return running_app(
            self.azure, {**_NO_SWEEP, "AzureWebJobs.warmup.Disabled": "true"}, 0, self.log
        )


@asynccontextmanager
async def faulty_stack(workspace: Workspace) -> AsyncIterator[FaultyStack]:
    """Run everything, with an app that has not been called yet."""
    log = workspace.folder / "app.log"
    async with (
        local_azure(workspace, Ports(0, 0, 0, 0, 0, 0)) as azure,
        running_app(azure, _NO_SWEEP, 0, log) as app,
        Control(
            f"{azure.acs.endpoint}/_control", azure.keys.control_key, str(azure.acs.bundle)
        ) as control,
        aiohttp.ClientSession(headers={"x-functions-key": azure.keys.function_key}) as session,
    ):
        yield FaultyStack(azure, control, session, log, app)
