"""Starts Azurite's table service, and connects to it as the registry does."""

import re
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.data.tables.aio import TableClient

from identity_service.azure.credential import Credential
from identity_service.azure.row_reader import RowReader
from identity_service.azure.table import CONNECT, CONNECTION, RESPONSE
from identity_service.azure.transport import StreamingTransport, Transport, new_session
from local.azurite import ACCOUNT, KEEP_ALIVE
from local.entra import STORAGE_AUDIENCE, Issuer
from local.servers import HOST, Authority
from tests.support.stack import PATIENCE, ROOT
from tests.support.waiting import suspend

_SCRIPT = ROOT / "local/node_modules/azurite/dist/src/azurite.js"
_OPTIONS = ("--silent", "--oauth", "basic", "--disableTelemetry", "--skipApiVersionCheck")
_LISTENING = re.compile(r"Table service is successfully listening at https://[^:]+:(\d+)")
# Seconds that a token for storage is valid.
LIFETIME = 3600


class Tables:
    """The table service of an Azurite that a test can stop and start.

    Attributes:
        address: The address of the service, which is the same after each start.
    """

    def __init__(self, folder: Path, certificate: Path, key: Path) -> None:
        self._port = "0"
        self._arguments = (
            *("--blobPort", "0", "--queuePort", "0"),
            *("--tableKeepAliveTimeout", str(KEEP_ALIVE), "--location", str(folder)),
            *("--cert", str(certificate), "--key", str(key)),
        )
        self.start()
        self.address = f"https://{HOST}:{self._port}/{ACCOUNT}"

    def start(self) -> None:
        """Starts it with the data in its folder."""
        node = shutil.which("node")
        assert node
        self._process = subprocess.Popen(  # noqa: S603 -- the local Azure's own
            [node, str(_SCRIPT), *_OPTIONS, *self._arguments, "--tablePort", self._port],
            stdin=subprocess.DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout
        output = ""
        for line in self._process.stdout:
            output += line
            if found := _LISTENING.search(line):
                self._port = found[1]
                return
        raise AssertionError(output)

    def stop(self) -> None:
        """Stops it, and waits until it has written its data."""
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)

    def kill(self) -> None:
        """Kills it."""
        self._process.kill()
        self._process.communicate()

    def suspend(self) -> None:
        """Stops it from responding."""
        suspend(self._process.pid)

    def resume(self) -> None:
        """Lets it respond again."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def running_tables(folder: Path, certificates: Path) -> Iterator[Tables]:
    """Runs the table service until the end of the block.

    The folder `certificates` contains `localhost.pem` and `localhost.key`.
    """
    tables = Tables(folder, certificates / "localhost.pem", certificates / "localhost.key")
    try:
        yield tables
    finally:
        tables.kill()


class Tenant:
    """Issues tokens for storage as a managed identity does."""

    def __init__(self) -> None:
        self._token = Issuer().sign(STORAGE_AUDIENCE, LIFETIME)

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """Returns a token for storage, for any scope."""
        return AccessTokenInfo(self._token, int(time.time()) + LIFETIME)

    async def close(self) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class StorageAccount:
    """A storage account's tables, the authority of its certificate, and a credential for it."""

    tables: str
    bundle: Path
    tenant: Tenant = field(default_factory=Tenant)

    def table(self, name: str, **options: Any) -> TableClient:
        """Connects to a table as the registry does, with more options of the client.

        It creates the transport itself, because aiohttp loads its certificates on import.
        """
        transport = StreamingTransport(CONNECT, RESPONSE)
        transport.session = new_session(ssl=self._trust(), auto_decompress=False)
        credential = Credential(self.tenant)
        return TableClient(
            self.tables,
            name,
            credential=credential,
            transport=transport,
            **{**CONNECTION, **options},
        )

    def reader(self, name: str) -> RowReader:
        """Reads rows of a table as the registry does."""
        transport = Transport(CONNECT, RESPONSE)
        transport.session = new_session(ssl=self._trust())
        return RowReader(self.tables, name, Credential(self.tenant), transport)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.bundle)


@contextmanager
def storage_account(folder: Path) -> Iterator[StorageAccount]:
    """Runs an empty storage account until the end of the block."""
    authority, bundle = Authority(), folder / "bundle.pem"
    authority.write_bundle(bundle)
    authority.write_server_files(folder / "localhost.pem", folder / "localhost.key")
    (folder / "azurite").mkdir()
    with running_tables(folder / "azurite", folder) as tables:
        yield StorageAccount(tables.address, bundle)
