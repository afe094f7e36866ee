"""A walk through the app: Microsoft's quickstart, and then what the quickstart lacks.

Source of the first part:
https://learn.microsoft.com/azure/communication-services/quickstarts/identity/access-tokens
"""

import asyncio
import base64
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

SCOPES = {"scopes": ["chat", "voip"]}
# Seconds that the sweep may take to purge one identity.
SWEEP = 10.0


class WrongAnswer(Exception):
    """A step was not answered as it should be."""


class Walk:
    """Takes the steps one by one and shows each with what came back."""

    def __init__(self, session: aiohttp.ClientSession, show: Callable[[str], None]) -> None:
        self._session = session
        self._show = show
        self._step = 0

    async def quickstart(self, app: str) -> None:
        """Microsoft's quickstart, step by step.

        Raises:
            WrongAnswer: at the first step that goes wrong. The same holds for the other walks.
        """
        made = await self._ask("Create an identity", "POST", f"{app}/identities", 201)
        tokens = f"{app}/identities/{made['id']}/tokens"
        await self._ask("Issue an access token", "POST", tokens, 200, SCOPES)
        both = await self._ask(
            "Create an identity and its first token in one call",
            "POST",
            f"{app}/identities/with-token",
            201,
            {"scopes": ["voip"], "expiresInMinutes": 60},
        )
        await self._ask("Refresh the token: issue the next one", "POST", tokens, 200, SCOPES)
        await self._ask("Revoke all its tokens", "DELETE", tokens, 204)
        await self._ask("Delete an identity", "DELETE", f"{app}/identities/{both['id']}", 202)

    async def a_users_identity(self, app: str) -> str:
        """One user, one identity; deleted, and restored. Returns its id."""
        alice = {"userId": "alice@example.com"}
        made = await self._ask("Create a user's identity", "POST", f"{app}/identities", 201, alice)
        again = await self._ask("Ask again: the same one", "POST", f"{app}/identities", 200, alice)
        if made["id"] != again["id"]:
            raise WrongAnswer("one user got two identities")
        identity = f"{app}/identities/{made['id']}"
        await self._ask("Delete it", "DELETE", identity, 202)
        await self._ask("No token comes out any more", "POST", f"{identity}/tokens", 409, SCOPES)
        restore = f"{app}/deleted-identities/{made['id']}/restore"
        await self._ask("Restore it", "POST", restore, 200)
        await self._ask("Tokens come out again", "POST", f"{identity}/tokens", 200, SCOPES)
        return str(made["id"])

    async def the_end(self, app: str, identity_id: str, sweep: str) -> None:
        """Delete for good, by an app whose deleted identities are due at once."""
        identity = f"{app}/identities/{identity_id}"
        await self._ask("Delete it, without retention", "DELETE", identity, 202)
        await self._ask("Run the sweep", "POST", sweep, 202, {"input": ""})
        deleted = f"{app}/deleted-identities/{identity_id}"
        await self._until_gone(deleted)
        await self._ask("The registry has it no more", "GET", deleted, 404)

    async def gone_in_acs(self, control: str, key: str, tls: ssl.SSLContext) -> None:
        """Ask the emulator itself."""
        headers = {"x-acs-control-key": key}
        await self._ask("ACS has it no more", "GET", control, 200, headers=headers, tls=tls)

    async def _until_gone(self, deleted: str) -> None:
        async with asyncio.timeout(SWEEP):
            while True:
                async with self._session.get(deleted) as response:
                    if response.status == 404:  # noqa: PLR2004 -- not found
                        return

    async def _ask(  # noqa: PLR0913 -- a request has so many parts
        self,
        title: str,
        method: str,
        address: str,
        expected: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | bool = True,
    ) -> dict[str, Any]:
        self._step += 1
        path = "/" + address.split("/", 3)[3]
        sent = f" {json.dumps(body)}" if body else ""
        self._show(f"\n{self._step}. {title}\n   {method} {path}{sent}")
        async with self._session.request(
            method, address, json=body, headers=headers, ssl=tls
        ) as response:
            text = await response.text()
        answer: dict[str, Any] = json.loads(text) if text else {}
        self._show(f"   {response.status} {_shown(answer)}".rstrip())
        if token := answer.get("token"):
            self._show(f"   its claims: {json.dumps(claims(token))}")
        if response.status != expected:
            raise WrongAnswer(f"step {self._step}: expected {expected}, got {response.status}")
        return answer


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, unverified: for showing only."""
    payload = token.split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(padded))
    return decoded


def _shown(answer: dict[str, Any]) -> str:
    token = answer.get("token")
    short = answer if token is None else {**answer, "token": f"{token[:12]}...{token[-6:]}"}
    return json.dumps(short) if short else ""
