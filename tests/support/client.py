"""HTTP clients: for services, for signed-in users, and for the emulator's control endpoint."""

import asyncio
import hashlib
import io
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import aiohttp
import jwt
import msgspec
from yarl import URL

from tests.support.stack import App, Azure

# Seconds within which the README promises every response.
DEADLINE = 10.0
# Seconds for which a busy machine may pause the app or the caller. Nothing makes a response that
# late on purpose: faults hang for much longer.
PAUSES = 10.0
CHAT = {"scopes": ["chat"]}
OF_ANOTHER_RESOURCE = (
    "8:acs:0c7d6c6b-8f0d-4f43-9e3a-9d5c2f6a1b77_00000019-0c3b-54e8-6a0b-343a0d00a1b2"
)
# Seconds until a condition must hold, and between two checks of it.
PATIENCE, _PAUSE = 20.0, 0.02
# The times in a response, and their only form: RFC 3339 in whole seconds.
_TIMES = re.compile(r'"(?:\w+On|refreshAfter)":"([^"]*)"')
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
# User ids and tokens shorter than this may be in a log by chance.
_SECRET_LENGTH = 9


@dataclass(frozen=True)
class Reply:
    """A response, and the seconds it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float = 0

    def json(self) -> Any:
        """Decodes the body."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The code of a problem, or an empty string."""
        is_problem = self.headers.get("Content-Type") == "application/problem+json"
        return str(self.json()["code"]) if is_problem else ""

    def assert_success(self, status: int = 200) -> Any:
        """Asserts this status and what holds for every success; returns the content."""
        assert self.status == status, self.body
        self._assert_ours()
        if not self.body:
            return None
        assert self.headers["Content-Type"] == "application/json"
        times = _TIMES.findall(self.body.decode())
        assert all(_TIME.fullmatch(each) for each in times), times
        return self.json()

    def assert_problem(self, status: int, code: str) -> Any:
        """Asserts this problem, in time and in the shape of all problems; returns its fields."""
        assert self.status == status, self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        self._assert_ours()
        fields = self.json()
        assert (fields["status"], fields["code"]) == (status, code)
        optional = {"field", "allowed", "identityId", "deletedBy", "upstreamRequestId"}
        assert fields.keys() - optional == {"type", "title", "status", "code", "detail"}
        assert all(text for text in fields.values())
        return fields

    def _assert_ours(self) -> None:
        """Asserts the deadline, that no cache keeps the response, and that no browser sniffs it."""
        assert self.seconds < DEADLINE + PAUSES
        assert self.headers["Cache-Control"] == "no-store"
        assert self.headers["X-Content-Type-Options"] == "nosniff"

    def assert_from_host(self, status: int) -> None:
        """Asserts that the host sent this response, which has no body."""
        assert (self.status, self.body) == (status, b"")


class Client:
    """Calls an app's operations as one caller: by default as a service with a function key."""

    def __init__(
        self, session: aiohttp.ClientSession, app: App, headers: Mapping[str, str] | None = None
    ) -> None:
        self._session = session
        self.app = app
        self.headers = {"x-functions-key": app.function_key} if headers is None else headers

    def signed_in(self, token: str) -> "Me":
        """Returns a signed-in user who calls the same app."""
        return Me(self._session, self.app, token)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        prefix: str = "/api/",
    ) -> Reply:
        """Sends one request. A body of bytes is sent as it is; `headers` replace the caller's."""
        raw = body if isinstance(body, bytes) else _json(body)
        # aiohttp warns about long bodies that are bytes, but not about files.
        data = io.BytesIO(raw)
        url = URL(f"{self.app.url}{prefix}{path}", encoded=True)
        headers = self.headers if headers is None else headers
        started = time.perf_counter()
        async with self._session.request(
            method, url, data=data, headers=headers, allow_redirects=False
        ) as response:
            content = await response.read()
            reply = Reply(response.status, response.headers, content, time.perf_counter() - started)
        self._remember_secrets(body, reply)
        return reply

    def _remember_secrets(self, body: object, reply: Reply) -> None:
        user_id = body.get("userId") if isinstance(body, dict) else None
        if isinstance(user_id, str) and len(user_id) >= _SECRET_LENGTH:
            digest = hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()
            self.app.secrets.update((user_id, digest))
        if reply.body and reply.headers.get("Content-Type") == "application/json":
            token = reply.json().get("token")
            self.app.secrets.update([token] if token else [])

    async def get(self, path: str) -> Reply:
        """Sends GET."""
        return await self.call("GET", path)

    async def post(self, path: str, body: object = None) -> Reply:
        """Sends POST."""
        return await self.call("POST", path, body)

    async def delete(self, path: str) -> Reply:
        """Sends DELETE."""
        return await self.call("DELETE", path)

    async def new_identity(self) -> str:
        """Creates an identity and returns its id."""
        created = await self.post("identities")
        return str(created.assert_success(201)["id"])

    async def new_token(self, identity_id: str) -> str:
        """Issues a token for the identity."""
        issued = await self.post(f"identities/{identity_id}/tokens", CHAT)
        return str(issued.assert_success()["token"])

    async def deleted_identity(self) -> str:
        """Creates and deletes an identity, and returns its id."""
        identity_id = await self.new_identity()
        (await self.delete(f"identities/{identity_id}")).assert_success(202)
        return identity_id

    async def is_active(self, identity_id: str) -> bool:
        """Whether the registry has the identity as active."""
        return (await self.get(f"identities/{identity_id}")).status == 200

    async def is_gone(self, identity_id: str) -> bool:
        """Whether the registry has no deleted identity with this id."""
        return (await self.get(f"deleted-identities/{identity_id}")).status == 404

    async def pages(self, path: str) -> AsyncIterator[list[Any]]:
        """Reads a list page by page by following `nextLink`."""
        link: str | None = f"/api/{path}"
        while link:
            page = (await self.call("GET", link, prefix="")).assert_success()
            yield page["value"]
            link = page.get("nextLink")

    async def all_ids(self, path: str) -> list[str]:
        """Returns the ids of everything in the list."""
        return [each["id"] async for page in self.pages(path) for each in page]

    async def _call_host(self, method: str, path: str, body: object = None) -> Reply:
        headers = {"x-functions-key": self.app.master_key, "Content-Type": "application/json"}
        return await self.call(method, path, body, headers=headers, prefix="/admin/")

    async def sweep(self) -> None:
        """Starts the timer function; does not wait for its end."""
        reply = await self._call_host("POST", "functions/purge_deleted_identities", {"input": ""})
        assert reply.status == 202

    async def warm_up(self) -> None:
        """Runs the warm-up, as the platform does before it sends requests to a new worker."""
        reply = await self.call("GET", "warmup", headers={}, prefix="/admin/")
        assert reply.status == 200

    async def count_tasks(self) -> int:
        """Returns the number of tasks on the worker's event loop."""
        return int((await self._call_host("GET", "host/status")).json()["tasks"])

    async def http_functions(self) -> list[dict[str, Any]]:
        """Returns name, methods, route and level of each function with an HTTP trigger."""
        functions = (await self._call_host("GET", "functions")).json()
        triggers = {each["name"]: each["config"]["bindings"][0] for each in functions}
        return [
            {
                "name": name,
                "methods": trigger["methods"],
                "route": trigger["route"],
                "authLevel": trigger["authLevel"].lower(),
            }
            for name, trigger in triggers.items()
            if trigger["type"] == "httpTrigger"
        ]


class Me(Client):
    """Calls an app as a signed-in user."""

    def __init__(self, session: aiohttp.ClientSession, app: App, token: str) -> None:
        super().__init__(session, app, {"Authorization": f"Bearer {token}"})
        app.secrets.add(token)
        self.sign_in_token = token

    @property
    def user_id(self) -> str:
        """The documented user id of a user of Entra."""
        sign_in = claims(self.sign_in_token)
        return f"aad/{sign_in['tid']}/{sign_in['oid']}"

    async def read(self) -> Reply:
        """GET me."""
        return await self.get("me")

    async def issue(self, **body: object) -> Reply:
        """POST me/tokens."""
        return await self.post("me/tokens", body or None)

    async def revoke(self) -> Reply:
        """DELETE me/tokens."""
        return await self.delete("me/tokens")

    async def remove(self) -> Reply:
        """DELETE me."""
        return await self.delete("me")

    async def restore(self) -> Reply:
        """POST me/restore."""
        return await self.post("me/restore")

    async def exchange(self, token: str, **more: str) -> Reply:
        """POST me/teams-token."""
        return await self.post("me/teams-token", {"token": token, **more})


@dataclass(frozen=True)
class TeamsUser:
    """A user of Teams.

    Attributes:
        token: Their Entra token.
        app_id: The application that it was issued for.
    """

    token: str
    app_id: str
    tenant_id: str
    user_id: str

    @property
    def path(self) -> str:
        """Where the app has the user's access."""
        return f"teams/access/{self.tenant_id}/{self.user_id}"

    def body(self, **more: object) -> dict[str, object]:
        """What gives the user access with the application."""
        return {"principalType": "user", "clientIds": [self.app_id], **more}


class Control:
    """Calls the emulator's control endpoint.

    Args:
        env: The content of `.local/env`.
    """

    def __init__(self, session: aiohttp.ClientSession, env: Mapping[str, str]) -> None:
        self._session = session
        self._env = env
        self._url = env["ACS_CONTROL_URL"]
        self._headers = {"x-acs-control-key": env["ACS_CONTROL_KEY"]}
        self._tls = _tls(env["SSL_CERT_FILE"])

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Sends one request and returns the content of the response."""
        async with self._session.request(
            method, f"{self._url}/{path}", json=body, headers=self._headers, ssl=self._tls
        ) as response:
            content = await response.read()
            assert response.ok, content
            return msgspec.json.decode(content) if content else None

    async def ask_when_reachable(self, method: str, path: str, body: object = None) -> Any:
        """Sends one request, and retries it while an outage refuses connections."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    return await self.ask(method, path, body)
                except aiohttp.ClientError:
                    await asyncio.sleep(_PAUSE)

    async def inject(self, kind: str, **fields: object) -> None:
        """Injects a fault into ACS."""
        await self.ask("POST", "faults", {"kind": kind, **fields})

    async def inject_identity_fault(self, **fields: object) -> None:
        """Injects a fault into the managed identity endpoint."""
        await self.ask("PUT", "managed-identity/trouble", fields)

    async def outage(self, seconds: float) -> None:
        """Refuses all connections to ACS for some time, and so to the control endpoint."""
        await self.ask("POST", "outage", {"seconds": seconds})

    async def delay(self, seconds: float) -> None:
        """Replaces all faults of ACS by a delay of every call; 0 means no delay."""
        await self.clear_faults()
        if seconds:
            await self.inject("delay", delaySeconds=seconds)

    async def clear_faults(self) -> None:
        """Removes all faults of ACS."""
        await self.ask("DELETE", "faults")

    async def clear(self) -> None:
        """Removes all faults and quotas, as soon as the control endpoint is reachable."""
        for path in ("faults", "quotas", "managed-identity/trouble"):
            await self.ask_when_reachable("DELETE", path)

    async def all_attempts(self) -> dict[str, int]:
        """Returns how many calls ACS has received so far, by operation."""
        counts = await self.ask("GET", "counts")
        return {name: one["attempts"] for name, one in counts["operations"].items()}

    async def attempts(self, operation: str) -> int:
        """Returns how many calls of this operation ACS has received so far."""
        return (await self.all_attempts())[operation]

    async def calls_in_flight(self) -> int:
        """Returns how many calls ACS is processing."""
        return int((await self.ask("GET", "counts"))["inFlight"]["now"])

    async def most_calls_in_flight(self) -> int:
        """Returns how many calls ACS has processed at the same time at most."""
        return int((await self.ask("GET", "counts"))["inFlight"]["peak"])

    async def identities(self) -> dict[str, str]:
        """Returns the state of every identity that ACS ever had, by id."""
        listed = await self.ask("GET", "identities")
        return {identity["id"]: identity["state"] for identity in listed["identities"]}

    async def active_identities(self) -> set[str]:
        """Returns the ids of the identities that exist in ACS."""
        return {name for name, state in (await self.identities()).items() if state == "active"}

    async def state(self, identity_id: str) -> str:
        """Returns the state of the identity in ACS."""
        return str((await self.ask("GET", f"identities/{identity_id}"))["state"])

    async def token_state(self, token: str) -> str:
        """Returns `valid`, or the reason why ACS does not accept the token."""
        verified = await self.ask("POST", "tokens/verify", {"token": token})
        return str(verified["reason"] or "valid")

    async def teams_user(self) -> "TeamsUser":
        """Returns a new user of Teams, whom nobody has given access."""
        found = await self.ask("POST", "teams-user", {"userId": str(uuid4())})
        return TeamsUser(found["token"], found["appId"], found["tenantId"], found["userId"])

    async def assigned_users(self) -> set[str]:
        """Returns the object ids of everyone who has an assignment in ACS."""
        listed = (await self.ask("GET", "assignments"))["assignments"]
        return {str(each["objectId"]) for each in listed}

    async def assign(self, user: "TeamsUser") -> None:
        """Gives the user access without the app, with a request to ACS and a managed identity."""
        resource = {"resource": "https://communication.azure.com", "api-version": "2019-08-01"}
        header = {"X-IDENTITY-HEADER": self._env["IDENTITY_HEADER"]}
        endpoint = self._env["IDENTITY_ENDPOINT"]
        async with self._session.get(endpoint, params=resource, headers=header) as response:
            token = (await response.json())["access_token"]
        path = f"tenants/{user.tenant_id}/assignments/{user.user_id}?api-version=2025-06-30"
        async with self._session.put(
            f"{self._env['ACS_ENDPOINT']}/access/teamsExtension/{path}",
            json=user.body(),
            headers={"Authorization": f"Bearer {token}"},
            ssl=self._tls,
        ) as response:
            assert response.status == 201, await response.text()

    async def token_requests(self) -> dict[str, int]:
        """Returns how many tokens the managed identity endpoint was asked for, by resource."""
        return dict((await self.ask("GET", "managed-identity"))["requests"])

    async def sign_in(self, user: str, minutes: float = 60) -> str:
        """Returns the token of a user who signs in to the app."""
        signed_in = await self.ask("POST", "sign-in", {"user": user, "minutes": minutes})
        return str(signed_in["token"])

    async def app_token(self, name: str, *roles: str, minutes: float = 60) -> str:
        """Returns the token of an application that has these roles."""
        request = {"app": name, "roles": roles, "minutes": minutes}
        return str((await self.ask("POST", "app-token", request))["token"])

    async def teams_token(self, object_id: str) -> str:
        """Returns the Entra token of the Teams user with this object id."""
        return str((await self.ask("POST", "teams-user", {"userId": object_id}))["token"])


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Waits until the condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 -- HTTP has no event to wait for
            await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def http_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session without a limit of connections, so that 500 calls can be in flight."""
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=timeout
    ) as session:
        yield session


def _json(body: object) -> bytes:
    return b"" if body is None else msgspec.json.encode(body)


@cache
def _tls(authority: str) -> ssl.SSLContext:
    """Cached, because loading the machine's certificates takes longer than most tests."""
    return ssl.create_default_context(cafile=authority)


def claims(token: str) -> dict[str, Any]:
    """Returns the claims of a JSON Web Token without verifying it."""
    decoded: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return decoded


def teams_body(azure: Azure) -> dict[str, str]:
    """Returns the body with which the emulator's Teams user exchanges a token."""
    return {
        "token": azure.env["ACS_TEAMS_USER_TOKEN"],
        "appId": azure.env["ACS_TEAMS_APP_ID"],
        "userId": azure.env["ACS_TEAMS_USER_ID"],
    }
