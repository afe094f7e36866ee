"""What callers say to the app, and what is asked of those behind it."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from tests.end_to_end_callers.stack import App, Azure


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The code of a problem; empty when it is none."""
        is_problem = self.headers.get("Content-Type") == "application/problem+json"
        return str(self.json()["code"]) if is_problem else ""

    def success(self, status: int = 200) -> Any:
        """The content of this success."""
        assert self.status == status, self.body
        return self.json() if self.body else None

    def problem(self, status: int, code: str) -> Any:
        """The members of this problem."""
        assert (self.status, self.code) == (status, code), self.body
        assert self.headers["Cache-Control"] == "no-store"
        return self.json()


class Client:
    """Whoever calls the app, with whatever they bring."""

    def __init__(self, session: aiohttp.ClientSession, app: App) -> None:
        self._session = session
        self.app = app

    @property
    def key(self) -> dict[str, str]:
        """What a service brings."""
        return {"x-functions-key": self.app.function_key}

    async def call(
        self, method: str, path: str, headers: Mapping[str, str], body: object = None
    ) -> Reply:
        """Send one request; without a body it says so with its length."""
        data = b"" if body is None else msgspec.json.encode(body)
        async with self._session.request(
            method, f"{self.app.url}{path}", data=data, headers=headers
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def functions(self) -> list[dict[str, Any]]:
        """What the app says of its own functions."""
        headers = {"x-functions-key": self.app.master_key}
        reply = await self.call("GET", "/admin/functions", headers)
        functions: list[dict[str, Any]] = reply.success()
        return functions


class Me:
    """A signed-in user."""

    def __init__(self, client: Client, token: str) -> None:
        self._client = client
        self.bearer = {"Authorization": f"Bearer {token}"}

    async def get(self, **headers: str) -> Reply:
        """What the app knows about the user."""
        return await self._client.call("GET", "/api/me", self.bearer | headers)

    async def token(self, **body: object) -> Reply:
        """A token of their own."""
        return await self._client.call("POST", "/api/me/tokens", self.bearer, body or None)

    async def revoke(self) -> Reply:
        """Sign out everywhere."""
        return await self._client.call("DELETE", "/api/me/tokens", self.bearer)

    async def delete(self) -> Reply:
        """Delete me."""
        return await self._client.call("DELETE", "/api/me", self.bearer)

    async def restore(self) -> Reply:
        """Restore me."""
        return await self._client.call("POST", "/api/me/restore", self.bearer)

    async def exchange(self, token: str, **more: str) -> Reply:
        """Exchange a Teams token."""
        body = {"token": token, **more}
        return await self._client.call("POST", "/api/me/teams-token", self.bearer, body)


class Control:
    """What stands behind the app, asked."""

    def __init__(self, session: aiohttp.ClientSession, azure: Azure) -> None:
        self._session = session
        self._url = azure.env["ACS_CONTROL_URL"]
        self._headers = {"x-acs-control-key": azure.env["ACS_CONTROL_KEY"]}
        self._tls = ssl.create_default_context(cafile=azure.env["SSL_CERT_FILE"])

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask one thing."""
        async with self._session.request(
            method, f"{self._url}/{path}", json=body, headers=self._headers, ssl=self._tls
        ) as response:
            assert response.ok, await response.text()
            return await response.json()

    async def sign_in(self, user: str, minutes: float = 60) -> str:
        """The user's bearer token for the app."""
        answer = await self.ask("POST", "sign-in", {"user": user, "minutes": minutes})
        return str(answer["token"])

    async def teams_token(self, user_id: str) -> str:
        """The Entra token of a Teams user with this object id."""
        return str((await self.ask("POST", "teams-user", {"userId": user_id}))["token"])

    async def fate(self, token: str) -> str:
        """`works`, or the reason why the access token does not."""
        answer = await self.ask("POST", "tokens/verify", {"token": token})
        return str(answer["reason"] or "works")

    async def active(self) -> set[str]:
        """The identities that ACS has."""
        answer = await self.ask("GET", "identities")
        return {each["id"] for each in answer["identities"] if each["state"] == "active"}
