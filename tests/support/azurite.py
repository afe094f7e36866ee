"""A storage account to test with: Azurite as it runs locally, let in by a tenant of its own."""

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableClient

from identity_service.azure.credential import Credential
from identity_service.azure.tables import CONNECT, RESPONSE
from local.azurite import Azurite, AzuritePorts, azurite
from local.certificates import Authority
from local.entra import STORAGE_AUDIENCE, Issuer

# Seconds that Azurite may take to start.
PATIENCE = 30
LIFETIME = 3600

# How the registry connects.
CONNECTION: dict[str, Any] = {
    "connection_timeout": CONNECT,
    "read_timeout": RESPONSE,
    "retry_total": 0,
    "use_env_settings": False,
}


class Tenant:
    """Gives tokens for storage, as a managed identity would."""

    def __init__(self) -> None:
        self._token = Issuer().sign(STORAGE_AUDIENCE, LIFETIME)

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """A token for storage, whatever is asked for."""
        return AccessTokenInfo(self._token, int(time.time()) + LIFETIME)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class StorageAccount:
    """Where an account's tables are, and how to be let in."""

    tables: str
    bundle: Path
    tenant: Tenant

    def table(self, name: str) -> TableClient:
        """One table of the account, over a connection as the registry has one.

        The transport is made by hand because aiohttp has chosen its certificates on import.
        """
        trust = ssl.create_default_context(cafile=self.bundle)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))
        transport = AioHttpTransport(session=session, **CONNECTION)
        credential = Credential(self.tenant)
        return TableClient(
            self.tables, name, credential=credential, transport=transport, **CONNECTION
        )


@contextmanager
def storage_account(folder: Path) -> Iterator[StorageAccount]:
    """Run a storage account on free ports, in a thread of its own, until the block ends."""
    authority = Authority()
    bundle = folder / "bundle.pem"
    authority.write_bundle(bundle)
    started: Future[tuple[Azurite, Callable[[], object]]] = Future()
    thread = threading.Thread(target=lambda: _run(folder / "azurite", authority, started))
    thread.start()
    account, stop = started.result(timeout=PATIENCE)
    try:
        yield StorageAccount(account.table, bundle, Tenant())
    finally:
        stop()
        thread.join()


def _run(
    folder: Path, authority: Authority, started: "Future[tuple[Azurite, Callable[[], object]]]"
) -> None:
    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with azurite(folder, AzuritePorts(0, 0, 0), authority) as account:
            started.set_result((account, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    try:
        asyncio.run(run())
    except Exception as error:  # noqa: BLE001 -- whoever waits for the start must be told
        started.set_exception(error)
