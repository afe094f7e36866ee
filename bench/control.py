"""The control endpoint of the ACS emulator, asked from here."""

import ssl
from typing import Any, Self

import aiohttp

from local.acs import CONTROL_HEADER


class Control:
    """Orders faults and counts calls."""

    def __init__(self, url: str, key: str, authority: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(
            headers={CONTROL_HEADER: key},
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority)),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Its answer, read as JSON where there is one."""
        async with self._session.request(method, f"{self._url}{path}", json=body) as answer:
            answer.raise_for_status()
            return await answer.json() if answer.content_type == "application/json" else None

    async def delay(self, milliseconds: int) -> None:
        """Let every call take so much longer from now on; 0 lets none."""
        await self.ask("DELETE", "/faults")
        if milliseconds:
            await self.ask(
                "POST", "/faults", {"kind": "delay", "delaySeconds": milliseconds / 1000}
            )

    async def attempts(self) -> dict[str, int]:
        """The calls that have reached ACS so far, by operation."""
        counts = await self.ask("GET", "/counts")
        return {name: one["attempts"] for name, one in counts["operations"].items()}
