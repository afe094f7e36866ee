"""A client for the control endpoint of the ACS emulator, which injects faults and counts calls."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Self

import aiohttp

# Seconds until the control endpoint must be reachable again, and between two attempts.
_REACHABLE_WITHIN, _PAUSE = 20.0, 0.1


class Control:
    """The control endpoint."""

    def __init__(self, url: str, key: str, authority: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(
            headers={"x-acs-control-key": key},
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority)),
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Return a client for the local Azure that this environment describes."""
        return cls(environ["ACS_CONTROL_URL"], environ["ACS_CONTROL_KEY"], environ["SSL_CERT_FILE"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return its JSON response, if there is one."""
        async with self._session.request(method, f"{self._url}{path}", json=body) as response:
            response.raise_for_status()
            return await response.json() if response.content_type == "application/json" else None

    async def ask_when_reachable(self, method: str, path: str, body: object = None) -> Any:
        """Do the same, retrying while an outage makes the endpoint unreachable.

        Raises:
            TimeoutError: it stays unreachable for longer than any outage lasts.
        """
        async with asyncio.timeout(_REACHABLE_WITHIN):
            while True:
                try:
                    return await self.ask(method, path, body)
                except aiohttp.ClientResponseError:
                    raise
                except aiohttp.ClientError:
                    await asyncio.sleep(_PAUSE)

    async def inject(self, fault: Mapping[str, Any]) -> None:
        """Inject a fault into ACS."""
        await self.ask("POST", "/faults", fault)

    async def clear(self) -> None:
        """Remove all faults of ACS."""
        await self.ask("DELETE", "/faults")

    async def delay(self, milliseconds: int) -> None:
        """Replace all faults of ACS by a delay of every call; 0 means no delay."""
        await self.clear()
        if milliseconds:
            await self.inject({"kind": "delay", "delaySeconds": milliseconds / 1000})

    async def start_outage(self, seconds: float) -> None:
        """Refuse all connections to ACS for this long, including those to this endpoint."""
        await self.ask("POST", "/outage", {"seconds": seconds})

    async def inject_identity_fault(self, fault: Mapping[str, Any]) -> None:
        """Replace the fault of the managed identity endpoint."""
        await self.ask("PUT", "/managed-identity/trouble", fault)

    async def clear_identity_fault(self) -> None:
        """Remove the fault of the managed identity endpoint."""
        await self.ask("DELETE", "/managed-identity/trouble")

    async def attempts(self) -> dict[str, int]:
        """Return the number of calls that have reached ACS, by operation."""
        counts = await self.ask("GET", "/counts")
        return {name: one["attempts"] for name, one in counts["operations"].items()}

    async def token_requests(self) -> dict[str, int]:
        """Return the number of requests to the managed identity endpoint, by resource."""
        return dict((await self.ask("GET", "/managed-identity"))["requests"])

    async def active_identities(self) -> set[str]:
        """Return the ids of the identities that exist in ACS."""
        response = await self.ask("GET", "/identities")
        return {one["id"] for one in response["identities"] if one["state"] == "active"}
