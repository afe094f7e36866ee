"""Microsoft's quickstart for identities and tokens, walked once through the app."""

import base64
import json
from collections.abc import Callable
from typing import Any

import aiohttp

SOURCE = (
    "https://learn.microsoft.com/azure/communication-services/quickstarts/identity/access-tokens"
)


class WrongAnswer(Exception):
    """A step was not answered as it should be."""


class Walk:
    """Takes the steps one by one and shows each with what came back."""

    def __init__(self, url: str, key: str, show: Callable[[str], None]) -> None:
        self._url = url
        self._key = key
        self._show = show
        self._step = 0

    async def take(self) -> None:
        """Walk through all of it.

        Raises:
            WrongAnswer: at the first step that goes wrong.
        """
        headers = {"x-functions-key": self._key}
        async with aiohttp.ClientSession(headers=headers) as self._session:
            made = await self._ask("Create an identity", "POST", "identities", 201)
            identity = f"identities/{made['id']}"
            tokens = f"{identity}/tokens"
            scopes = {"scopes": ["chat", "voip"]}
            await self._ask("Issue an access token", "POST", tokens, 200, scopes)
            both = await self._ask(
                "Create an identity and its first token in one call",
                "POST",
                "identities/with-token",
                201,
                {"scopes": ["voip"], "expiresInMinutes": 60},
            )
            await self._ask("Refresh a token: issue the next one", "POST", tokens, 200, scopes)
            await self._ask("Revoke all tokens of the identity", "DELETE", tokens, 204)
            for name in (identity, f"identities/{both['id']}"):
                await self._ask("Delete the identity", "DELETE", name, 202)
            await self._ask("No token for what is deleted", "POST", tokens, 409, scopes)

    async def _ask(
        self, title: str, method: str, path: str, expected: int, body: object = None
    ) -> dict[str, Any]:
        self._step += 1
        self._show(f"\n{self._step}. {title}")
        sent = f" {json.dumps(body)}" if body else ""
        self._show(f"   {method} /api/{path}{sent}")
        address = f"{self._url}/api/{path}"
        async with self._session.request(method, address, json=body) as response:
            text = await response.text()
        answer: dict[str, Any] = json.loads(text) if text else {}
        self._show(
            f"   {response.status} {json.dumps(_shortened(answer)) if answer else ''}".rstrip()
        )
        if token := answer.get("token"):
            self._show(f"   its claims: {json.dumps(claims(token))}")
        if response.status != expected:
            raise WrongAnswer(f"step {self._step}: expected {expected}, got {response.status}")
        return answer


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, unverified: for showing only."""
    payload = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return decoded


def _shortened(answer: dict[str, Any]) -> dict[str, Any]:
    token = answer.get("token")
    return answer if token is None else {**answer, "token": f"{token[:12]}…{token[-6:]}"}
