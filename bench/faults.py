"""What callers see of each upstream fault: the response, how late, and how many calls reach ACS."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench import ROOT
from bench.stack import Stack, running_stack
from tests.support.client import teams_body
from tools.markdown import table

DOCUMENT = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- begin: make faults -->", "<!-- end -->"
HEADS = ("fault", "operation", "status", "code", "Retry-After", "seconds", "calls to ACS")

# Longer than any response should take, so that a late one is seen.
_TIMEOUT = aiohttp.ClientTimeout(total=90)
_SCOPES = {"scopes": ["voip"]}
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
    "half a response": {"kind": "half"},
    "no response": {"kind": "hang"},
    "response 20 s late": {"kind": "delay", "delaySeconds": 20},
}
OUTAGE = "connections refused"
OUTAGE_SECONDS = 5
# Faults of the managed identity endpoint: they affect the first call of a cold worker.
IDENTITY_FAULTS: dict[str, dict[str, Any]] = {
    "managed identity: connection dropped": {"drop": True},
    "managed identity: 500": {"status": 500},
    "managed identity: 2 s late": {"delaySeconds": 2},
    "managed identity: 20 s late": {"delaySeconds": 20},
}


@dataclass(frozen=True)
class Operation:
    """An operation of the app that calls ACS.

    Attributes:
        upstream: The operation of ACS that it calls.
        path: A new identity for each call replaces `{id}`.
    """

    name: str
    upstream: str
    method: str
    path: str
    body: object = None


@dataclass(frozen=True)
class Outcome:
    """What the caller of an operation sees."""

    operation: Operation
    status: int
    code: str
    retry_after: str
    seconds: float


# An outcome, and how many calls of it reached ACS.
Seen = tuple[Outcome, int]


async def write() -> None:
    """Measure, print the table, and write it into the document."""
    async with _measurement() as measurement:
        seen = [
            *await measurement.acs_faults(),
            *await measurement.outage(),
            *await measurement.identity_faults(),
        ]
    text = table(HEADS, [row for fault, calls in seen for row in _rows(fault, calls)])
    print(text)
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}")


def _rows(fault: str, seen: list[Seen]) -> list[tuple[str, ...]]:
    """Return one row for all operations with the same outcome."""
    same: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome, calls in seen:
        key = (str(outcome.status), outcome.code, outcome.retry_after, str(calls))
        same.setdefault(key, []).append(outcome)
    return [_row(fault, key, outcomes) for key, outcomes in same.items()]


def _row(fault: str, key: tuple[str, ...], outcomes: list[Outcome]) -> tuple[str, ...]:
    names = ", ".join(outcome.operation.name for outcome in outcomes)
    longest = max(outcome.seconds for outcome in outcomes)
    seconds = f"{longest:.1f}" if longest >= 0.1 else "under 0.1"  # noqa: PLR2004 -- one digit
    *response, calls = key
    return fault, names, *response, seconds, calls


@asynccontextmanager
async def _measurement() -> AsyncIterator["_Measurement"]:
    async with running_stack() as stack:
        app = await stack.start_app()
        headers = {"x-functions-key": app.function_key}
        async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
            yield _Measurement(stack, session, app.url)


class _Measurement:
    """Injects each fault and calls each operation, on a warm app and on cold ones."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession, warm_url: str) -> None:
        self._stack = stack
        self._control = stack.control
        self._session = session
        self._warm_url = warm_url
        self._operations = [
            Operation("create", "create", "POST", "identities"),
            Operation("create with token", "create", "POST", "identities/with-token", _SCOPES),
            Operation("issue", "issue", "POST", "identities/{id}/tokens", _SCOPES),
            Operation("revoke", "revoke", "DELETE", "identities/{id}/tokens"),
            Operation("delete", "revoke", "DELETE", "identities/{id}"),
            Operation("exchange", "exchange", "POST", "teams/token", teams_body(stack.azure)),
        ]
        # Operations that make the same call of ACS are in different groups, to count them apart.
        second = ("create with token", "delete")
        self._groups = [
            [one for one in self._operations if (one.name in second) == wanted]
            for wanted in (False, True)
        ]

    async def acs_faults(self) -> list[tuple[str, list[Seen]]]:
        """Inject every fault of ACS under a warm app."""
        for group in self._groups:
            await self._call_all(group, self._call_warm)
        return [(name, await self._acs_fault(fault)) for name, fault in FAULTS.items()]

    async def _acs_fault(self, fault: Mapping[str, Any]) -> list[Seen]:
        seen: list[Seen] = []
        for group in self._groups:
            faults = [{**fault, "operation": one.upstream} for one in group]
            seen += await self._call_all(group, self._call_warm, faults)
            await self._control.clear_faults()
            await asyncio.sleep(0.2)  # lets calls finish that the fault held
        return seen

    async def outage(self) -> list[tuple[str, list[Seen]]]:
        """Make ACS unreachable; the control endpoint is too, so calls are not counted."""
        identities = await self._create_identities(self._operations)
        await self._control.outage(OUTAGE_SECONDS)
        await asyncio.sleep(0.2)
        calls = zip(self._operations, identities, strict=True)
        outcomes = await asyncio.gather(*(self._call_warm(*one) for one in calls))
        await asyncio.sleep(OUTAGE_SECONDS + 0.5)
        return [(OUTAGE, [(outcome, 0) for outcome in outcomes])]

    async def identity_faults(self) -> list[tuple[str, list[Seen]]]:
        """Inject every fault of the managed identity endpoint under cold apps."""
        seen: list[tuple[str, list[Seen]]] = []
        for name, fault in IDENTITY_FAULTS.items():
            groups = [await self._identity_fault(group, fault) for group in self._groups]
            seen.append((name, [each for group in groups for each in group]))
        return seen

    async def _identity_fault(self, group: list[Operation], fault: Mapping[str, Any]) -> list[Seen]:
        apps = await asyncio.gather(*(self._stack.start_app() for _ in group))
        urls = {one.name: app.url for one, app in zip(group, apps, strict=True)}

        async def call_cold(operation: Operation, identity_id: str) -> Outcome:
            return await self._call(urls[operation.name], operation, identity_id)

        await self._control.inject_identity_fault(**fault)
        seen = await self._call_all(group, call_cold)
        await self._control.clear()
        return seen

    async def _call_all(
        self,
        group: Sequence[Operation],
        call: Callable[[Operation, str], Awaitable[Outcome]],
        faults: Iterable[Mapping[str, Any]] = (),
    ) -> list[Seen]:
        """Call the operations at once, each with its own identity, and count the calls of ACS."""
        identities = await self._create_identities(group)
        before = await self._control.all_attempts()
        for fault in faults:
            await self._control.inject(**fault)
        pairs = zip(group, identities, strict=True)
        outcomes = await asyncio.gather(*(call(*pair) for pair in pairs))
        after = await self._control.all_attempts()
        return [
            (outcome, after[one.upstream] - before[one.upstream])
            for one, outcome in zip(group, outcomes, strict=True)
        ]

    async def _create_identities(self, group: Sequence[Operation]) -> list[str]:
        identities = []
        for _ in group:
            async with self._session.post(f"{self._warm_url}/api/identities") as response:
                response.raise_for_status()
                identities.append(str((await response.json())["id"]))
        return identities

    async def _call_warm(self, operation: Operation, identity_id: str) -> Outcome:
        return await self._call(self._warm_url, operation, identity_id)

    async def _call(self, url: str, operation: Operation, identity_id: str) -> Outcome:
        address = f"{url}/api/{operation.path.format(id=identity_id)}"
        started = time.perf_counter()
        async with self._session.request(
            operation.method, address, json=operation.body
        ) as response:
            content: Any = await response.json(content_type=None) if await response.read() else {}
        return Outcome(
            operation,
            response.status,
            content.get("code", ""),
            response.headers.get("Retry-After", ""),
            time.perf_counter() - started,
        )
