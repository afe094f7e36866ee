"""What tests say to the app, and to those behind it, over HTTP."""

import asyncio
import hashlib
import io
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from tests.end_to_end.stack import App, Azure

T = TypeVar("T")

# Seconds within which the README promises every answer.
PROMISE = 10.0
CHAT = {"scopes": ["chat"]}
OF_ANOTHER_RESOURCE = (
    "8:acs:0c7d6c6b-8f0d-4f43-9e3a-9d5c2f6a1b77_00000019-0c3b-54e8-6a0b-343a0d00a1b2"
)


@dataclass(frozen=True)
class Reply:
    """What came back, and after how many seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float = 0

    def json(self) -> Any:
        """The body, read as JSON."""
        return msgspec.json.decode(self.body)

    def assert_success(self, status: int = 200) -> Any:
        """It is this success, in time, and not for a cache; its content."""
        assert self.status == status, self.body
        assert self.headers["Cache-Control"] == "no-store"
        assert self.seconds < PROMISE
        if not self.body:
            return None
        assert self.headers["Content-Type"] == "application/json"
        return self.json()

    def assert_problem(self, status: int, code: str) -> Any:
        """It is this problem, in time, in the one shape that all have; its members."""
        assert self.status == status, self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.headers["Cache-Control"] == "no-store"
        assert self.seconds < PROMISE
        members = self.json()
        assert (members["status"], members["code"]) == (status, code)
        optional = {"field", "allowed", "upstreamRequestId"}
        assert members.keys() - optional == {"type", "title", "status", "code", "detail"}
        assert all(text for text in members.values())
        return members

    def assert_of_the_host(self, status: int) -> None:
        """It is the host's own answer, which has no body."""
        assert (self.status, self.body) == (status, b"")


class Api:
    """The app's operations."""

    def __init__(self, session: aiohttp.ClientSession, app: App) -> None:
        self._session = session
        self.app = app

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        prefix: str = "/api/",
    ) -> Reply:
        """Send one request, bytes as they are; without `headers` it brings the function key."""
        raw = body if isinstance(body, bytes) else _json(body)
        # aiohttp warns of a long body as bytes; a file it sends piece by piece.
        data = io.BytesIO(raw)
        url = URL(f"{self.app.url}{prefix}{path}", encoded=True)
        headers = {"x-functions-key": self.app.function_key} if headers is None else headers
        started = time.perf_counter()
        async with self._session.request(
            method, url, data=data, headers=headers, allow_redirects=False
        ) as response:
            content = await response.read()
            reply = Reply(response.status, response.headers, content, time.perf_counter() - started)
        self._remember(body, reply)
        return reply

    def _remember(self, body: object, reply: Reply) -> None:
        """What passed through the app and must not be in its log."""
        user_id = body.get("userId") if isinstance(body, dict) else None
        if isinstance(user_id, str) and len(user_id) > 8:
            digest = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()
            self.app.secrets.update((user_id, digest))
        if reply.headers.get("Content-Type") == "application/json":
            token = reply.json().get("token")
            self.app.secrets.update([token] if token else [])

    async def get(self, path: str) -> Reply:
        """GET, with the key."""
        return await self.call("GET", path)

    async def post(self, path: str, body: object = None) -> Reply:
        """POST, with the key."""
        return await self.call("POST", path, body)

    async def delete(self, path: str) -> Reply:
        """DELETE, with the key."""
        return await self.call("DELETE", path)

    async def new_identity(self) -> str:
        """The id of a new identity."""
        created = await self.post("identities")
        return str(created.assert_success(201)["id"])

    async def new_token(self, identity_id: str) -> str:
        """A new token of the identity."""
        issued = await self.post(f"identities/{identity_id}/tokens", CHAT)
        return str(issued.assert_success()["token"])

    async def deleted_identity(self) -> str:
        """The id of an identity that is deleted."""
        identity_id = await self.new_identity()
        (await self.delete(f"identities/{identity_id}")).assert_success(202)
        return identity_id

    async def sweep(self) -> None:
        """Have the host run the timer now; it does not wait for the end."""
        headers = {"x-functions-key": self.app.master_key, "Content-Type": "application/json"}
        path = "functions/purge_deleted_identities"
        reply = await self.call("POST", path, {"input": ""}, headers=headers, prefix="/admin/")
        assert reply.status == 202

    async def is_gone(self, identity_id: str) -> bool:
        """Whether the registry knows no deleted identity of this id any more."""
        return (await self.get(f"deleted-identities/{identity_id}")).status == 404

    async def pages(self, path: str) -> AsyncIterator[list[Any]]:
        """A list page by page, as `nextLink` leads."""
        link: str | None = f"/api/{path}"
        while link:
            page = (await self.call("GET", link, prefix="")).assert_success()
            yield page["value"]
            link = page.get("nextLink")

    async def all_ids(self, path: str) -> list[str]:
        """The ids of everything in the list."""
        return [each["id"] async for page in self.pages(path) for each in page]


class Control:
    """What stands behind the app: asked, and made to fail."""

    def __init__(self, session: aiohttp.ClientSession, azure: Azure) -> None:
        self._session = session
        self._url = azure.env["ACS_CONTROL_URL"]
        self._headers = {"x-acs-control-key": azure.env["ACS_CONTROL_KEY"]}
        self._tls = _tls(azure.env["SSL_CERT_FILE"])

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask one thing."""
        async with self._session.request(
            method, f"{self._url}/{path}", json=body, headers=self._headers, ssl=self._tls
        ) as response:
            content = await response.read()
            assert response.ok, content
            return msgspec.json.decode(content) if content else None

    async def fault(self, kind: str, **members: object) -> None:
        """Order a fault of ACS."""
        await self.ask("POST", "faults", {"kind": kind, **members})

    async def trouble(self, **members: object) -> None:
        """Order trouble with the managed identity endpoint."""
        await self.ask("PUT", "managed-identity/trouble", members)

    async def outage(self, seconds: float) -> None:
        """Nobody gets through to ACS for so long, and so not to here either."""
        await self.ask("POST", "outage", {"seconds": seconds})

    async def peace(self) -> None:
        """Take every fault back, as soon as there is somebody to take it."""

        async def taken_back() -> bool:
            try:
                for path in ("faults", "quotas", "managed-identity/trouble"):
                    await self.ask("DELETE", path)
            except aiohttp.ClientError:
                return False
            return True

        await until(taken_back)

    async def attempts(self, operation: str) -> int:
        """How often ACS was asked for this so far."""
        counts = await self.ask("GET", "counts")
        return int(counts["operations"][operation]["attempts"])

    async def most_at_once(self) -> int:
        """How many calls ACS had under way at most."""
        return int((await self.ask("GET", "counts"))["inFlight"]["peak"])

    async def under_way(self) -> int:
        """How many calls ACS has under way."""
        return int((await self.ask("GET", "counts"))["inFlight"]["now"])

    async def identities(self) -> dict[str, str]:
        """Every identity that ACS ever had, and its state."""
        answer = await self.ask("GET", "identities")
        return {identity["id"]: identity["state"] for identity in answer["identities"]}

    async def state(self, identity_id: str) -> str:
        """The state of the identity in ACS."""
        return str((await self.ask("GET", f"identities/{identity_id}"))["state"])

    async def fate(self, token: str) -> str:
        """`works`, or the reason why the token does not."""
        answer = await self.ask("POST", "tokens/verify", {"token": token})
        return str(answer["reason"] or "works")

    async def identity_requests(self) -> dict[str, int]:
        """How often the managed identity endpoint was asked, by resource."""
        answer = await self.ask("GET", "managed-identity")
        return dict(answer["requests"])


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Ask again and again until it is so."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 -- nothing over HTTP tells when it is so
            await asyncio.sleep(0.02)


def _json(body: object) -> bytes:
    return b"" if body is None else msgspec.json.encode(body)


@cache
def _tls(authorities: str) -> ssl.SSLContext:
    """Made once, for reading the machine's roots takes longer than most tests."""
    return ssl.create_default_context(cafile=authorities)


@asynccontextmanager
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session without a limit of its own: five hundred calls at once go out at once."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout
    ) as session:
        yield session
