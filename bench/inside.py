"""`python -m bench.inside ROUNDS`: what the app adds to its two upstream calls, in the process.

It calls the app's trigger function as the Python worker does, one call at a time, and the same two
upstream calls alone: with Microsoft's clients, and as plain HTTP requests. All share one process
and its event loop. The figures are printed as JSON.
"""

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from itertools import cycle
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import azure.functions as func
import uvloop
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.data.tables.aio import TableClient
from azure.identity.aio import DefaultAzureCredential

from bench.load import Contender, Load, contest
from bench.product import REGISTRY, functions_in_memory, load_functions, row_keys

TRIGGER = "the app's trigger function"
CLIENTS = "the two calls with the SDKs"
REQUESTS = "the two calls as plain requests"
ALONE = "the app's trigger function without the two calls"

IDENTITIES = 32
LOAD = Load(1, calls=40, delay_ms=20)

_BODY = b'{"scopes":["voip"]}'
_INVOCATION = SimpleNamespace(invocation_id="11111111-2222-3333-4444-555555555555")
_ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
_TABLES = "AzureWebJobsStorage__tableServiceUri"


class App:
    """The app, called as the Python worker calls it.

    Args:
        functions: Its trigger functions, by name.
    """

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions
        self._identities: Iterator[str] = iter(())

    async def create_identities(self) -> list[str]:
        """Create the identities that all contenders use."""
        created = [
            await self._call("create_identity", 201, "identities", b"{}") for _ in range(IDENTITIES)
        ]
        identities = [str(json.loads(body)["id"]) for body in created]
        self._identities = cycle(identities)
        return identities

    async def issue(self) -> None:
        """Issue a token for the next identity."""
        identity_id = next(self._identities)
        path = f"identities/{identity_id}/tokens"
        await self._call("issue_token", 200, path, _BODY, identity_id)

    async def _call(
        self, name: str, expected: int, path: str, body: bytes, identity_id: str = ""
    ) -> bytes:
        request = func.HttpRequest(
            "POST",
            f"https://app.example/api/{path}",
            headers={"content-type": "application/json"},
            route_params={"id": identity_id},
            body=body,
        )
        response = await self._functions[name](request, _INVOCATION)
        content: bytes = response.get_body()
        if response.status_code != expected:
            raise RuntimeError(f"{name}: {response.status_code} {content.decode()}")
        return content


class Clients:
    """Microsoft's two clients, as their documentation shows."""

    def __init__(self, identities: list[str]) -> None:
        credential = DefaultAzureCredential()
        self._acs = CommunicationIdentityClient(os.environ[_ENDPOINT], credential)
        self._table = TableClient(os.environ[_TABLES], REGISTRY, credential=credential)
        self._identities = cycle(identities)

    async def issue_and_read(self) -> None:
        """Issue a token for the next identity, and read its row."""
        identity_id = next(self._identities)
        await self._acs.get_token(CommunicationUserIdentifier(identity_id), ["voip"])
        await self._table.get_entity(*row_keys(identity_id))


class Requests:
    """The same two requests, with nothing but an HTTP client."""

    def __init__(self, session: aiohttp.ClientSession, identities: list[str]) -> None:
        self._session = session
        self._identities = cycle(identities)
        self._headers: list[dict[str, str]] = []

    async def authenticate(self) -> None:
        """Get the tokens for ACS and for storage."""
        credential = DefaultAzureCredential()
        for resource in ("https://communication.azure.com", "https://storage.azure.com"):
            token = await credential.get_token(f"{resource}/.default")
            self._headers.append({"Authorization": f"Bearer {token.token}"})

    async def issue_and_read(self) -> None:
        """Issue a token for the next identity, and read its row."""
        identity_id = next(self._identities)
        acs, storage = self._headers
        path = f"identities/{identity_id}/:issueAccessToken?api-version=2023-10-01"
        await self._send("POST", f"{os.environ[_ENDPOINT]}/{path}", acs, _BODY)
        partition, row = row_keys(identity_id)
        path = f"{REGISTRY}(PartitionKey='{partition}',RowKey='{quote(row)}')"
        headers = {"Accept": "application/json;odata=minimalmetadata", "x-ms-version": "2019-02-02"}
        await self._send("GET", f"{os.environ[_TABLES]}/{path}", headers | storage)

    async def _send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None = None
    ) -> None:
        async with self._session.request(
            method, url, headers=headers, data=body, raise_for_status=True
        ) as response:
            json.loads(await response.read())


def _log_like_a_worker() -> None:
    """Format INFO lines as a worker would, except those of the SDKs, which the app turns off."""
    logging.basicConfig(level=logging.INFO, handlers=[_Formatter()])
    logging.getLogger("azure").setLevel(logging.WARNING)


class _Formatter(logging.Handler):
    """Formats each line that a worker would send to the host, and drops it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Format the line."""
        self.format(record)


async def _measure(rounds: int) -> None:
    """Measure all contenders and print the figures."""
    _log_like_a_worker()
    async with aiohttp.ClientSession() as session:
        app, alone = App(load_functions()), App(functions_in_memory())
        identities = await app.create_identities()
        await alone.create_identities()
        requests = Requests(session, identities)
        await requests.authenticate()
        contenders = [
            Contender(TRIGGER, app.issue),
            Contender(CLIENTS, Clients(identities).issue_and_read),
            Contender(REQUESTS, requests.issue_and_read),
            Contender(ALONE, alone.issue),
        ]
        series = await contest(contenders, LOAD, rounds)
    print(json.dumps([dataclasses.asdict(one) for one in series]), flush=True)
    os._exit(0)  # without closing the clients, as the host ends a worker


if __name__ == "__main__":
    uvloop.run(_measure(int(sys.argv[1])))
