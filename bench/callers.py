"""The app's operations as its callers see them, over HTTP."""

import time
from dataclasses import dataclass
from typing import Any

import aiohttp

# Longer than anything may take, so that it is seen when something does.
PATIENCE = aiohttp.ClientTimeout(total=90)
SCOPES = {"scopes": ["voip"]}


@dataclass(frozen=True)
class Operation:
    """One operation of the app.

    Attributes:
        upstream: The operation of ACS that it calls.
        path: Where it is; an identity made for this call takes the place of `{id}`.
    """

    name: str
    upstream: str
    method: str
    path: str
    body: object = None


@dataclass(frozen=True)
class Outcome:
    """What the caller of one operation sees."""

    operation: Operation
    status: int
    code: str
    retry_after: str
    seconds: float


def operations(teams: dict[str, str]) -> list[Operation]:
    """Those that call ACS; `teams` is a Teams user's token and what belongs to it."""
    return [
        Operation("create", "create", "POST", "identities"),
        Operation("create with token", "create", "POST", "identities/with-token", SCOPES),
        Operation("issue", "issue", "POST", "identities/{id}/tokens", SCOPES),
        Operation("revoke", "revoke", "DELETE", "identities/{id}/tokens"),
        Operation("delete", "revoke", "DELETE", "identities/{id}"),
        Operation("exchange", "exchange", "POST", "teams/token", teams),
    ]


class Caller:
    """Somebody with a key to one running app."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def create(self) -> str:
        """A new identity; its id."""
        async with self._session.post(f"{self._url}/api/identities") as answer:
            answer.raise_for_status()
            return str((await answer.json())["id"])

    async def call(self, operation: Operation, identity_id: str) -> Outcome:
        """Call the operation, with the identity where it takes one."""
        address = f"{self._url}/api/{operation.path.format(id=identity_id)}"
        started = time.perf_counter()
        async with self._session.request(
            operation.method, address, json=operation.body, timeout=PATIENCE
        ) as answer:
            content: Any = await answer.json(content_type=None) if await answer.read() else {}
        return Outcome(
            operation,
            answer.status,
            content.get("code", ""),
            answer.headers.get("Retry-After", ""),
            time.perf_counter() - started,
        )
