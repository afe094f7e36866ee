"""A walkthrough of the app: Microsoft's quickstart, and what this app adds to it.

Source of the first part:
https://learn.microsoft.com/azure/communication-services/quickstarts/identity/access-tokens
"""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

# Seconds that the sweep may take to purge one identity.
SWEEP_TIMEOUT = 30.0


class UnexpectedResponse(Exception):
    """A step did not get the expected response."""


class Walkthrough:
    """Takes the steps one by one and shows each with its response.

    Args:
        session: it authenticates as a service.
        show: prints text.
        scopes: the scopes of the tokens to issue.
        patience: how many seconds the sweep may take to purge one identity.

    Attributes:
        step: the number and the title of the last step.

    Every method raises UnexpectedResponse at the first step that fails.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        show: Callable[[str], None],
        scopes: Sequence[str],
        patience: float = SWEEP_TIMEOUT,
    ) -> None:
        self._session = session
        self._show = show
        self._scopes = {"scopes": scopes}
        self._patience = patience
        self._number = 0
        self.step = ""

    async def quickstart(self, app: str) -> None:
        """Follow Microsoft's quickstart."""
        created = await self._call("Create an identity", "POST", f"{app}/identities", 201)
        tokens = f"{app}/identities/{created['id']}/tokens"
        await self._call("Issue an access token", "POST", tokens, 200, self._scopes)
        both = await self._call(
            "Create an identity and its first token in one call",
            "POST",
            f"{app}/identities/with-token",
            201,
            {"scopes": self._scopes["scopes"][-1:], "expiresInMinutes": 60},
        )
        await self._call("Refresh the token: issue the next one", "POST", tokens, 200, self._scopes)
        await self._call("Revoke all its tokens", "DELETE", tokens, 204)
        await self._call("Delete an identity", "DELETE", f"{app}/identities/{both['id']}", 202)

    async def restore(self, app: str) -> str:
        """Create, delete and restore a user's identity. Returns its id."""
        identities, alice = f"{app}/identities", {"userId": "alice@example.com"}
        created = await self._call("Create a user's identity", "POST", identities, 201, alice)
        again = await self._call("Repeat the call: same identity", "POST", identities, 200, alice)
        if created["id"] != again["id"]:
            raise UnexpectedResponse("one user got two identities")
        identity = f"{identities}/{created['id']}"
        tokens = f"{identity}/tokens"
        await self._call("Delete it", "DELETE", identity, 202)
        await self._call("A deleted identity gets no token", "POST", tokens, 409, self._scopes)
        restore = f"{app}/deleted-identities/{created['id']}/restore"
        await self._call("Restore it", "POST", restore, 200)
        await self._call("A restored identity gets tokens again", "POST", tokens, 200, self._scopes)
        return str(created["id"])

    async def purge(
        self, app: str, identity_id: str, sweep: str, master: Mapping[str, str]
    ) -> None:
        """Delete an identity and purge it. The app must not retain deleted identities.

        `master` are the headers that start the sweep.
        """
        identity = f"{app}/identities/{identity_id}"
        await self._call("Delete it, without retention", "DELETE", identity, 202)
        await self._call("Run the sweep", "POST", sweep, 202, {"input": ""}, headers=master)
        deleted = f"{app}/deleted-identities/{identity_id}"
        await self._wait_until_purged(deleted)
        await self._call("The registry no longer has it", "GET", deleted, 404)

    async def check_acs(self, control: str, key: str, tls: ssl.SSLContext) -> None:
        """Check in the ACS emulator that the identity is gone."""
        headers = {"x-acs-control-key": key}
        await self._call("ACS no longer has it", "GET", control, 200, headers=headers, tls=tls)

    async def _wait_until_purged(self, deleted: str) -> None:
        until = time.monotonic() + self._patience
        while time.monotonic() < until:
            async with self._session.get(deleted) as response:
                if response.status == 404:  # noqa: PLR2004 -- not found
                    return
                found = await response.text()
            await asyncio.sleep(0.05)
        raise UnexpectedResponse(
            f"the identity is not purged after {self._patience:g} seconds: {found}"
        )

    async def _call(  # noqa: PLR0913 -- the parts of a request
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
        self._number += 1
        self.step = f"step {self._number}, {title}"
        path = "/" + address.split("/", 3)[3]
        sent = f" {json.dumps(body)}" if body else ""
        self._show(f"\n{self._number}. {title}\n   {method} {path}{sent}")
        async with self._session.request(
            method, address, json=body, headers=headers, ssl=tls
        ) as response:
            text = await response.text()
        document: dict[str, Any] = json.loads(text) if text else {}
        self._show(f"   {response.status} {_shortened(document)}".rstrip())
        if token := document.get("token"):
            self._show(f"   its claims: {json.dumps(claims(token))}")
        if response.status != expected:
            problem = f" {document['code']}: {document['detail']}" if "code" in document else ""
            raise UnexpectedResponse(f"expected {expected}, got {response.status}{problem}")
        return document


def claims(token: str) -> dict[str, Any]:
    """The claims of a JWT, without verification: only to show them."""
    payload = token.split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(padded))
    return decoded


def _shortened(document: dict[str, Any]) -> str:
    token = document.get("token")
    short = document if token is None else {**document, "token": f"{token[:12]}...{token[-6:]}"}
    return json.dumps(short) if short else ""
