"""One storage account and one process of release 1 for all tests of a pytest worker."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.azurite import StorageAccount, storage_account
from tests.upgrade.world import Shared

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageAccount]:
    """The storage account."""
    with storage_account(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture(scope="session")
def port(account: StorageAccount, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of the process of release 1."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE / "release_1.zip"),
        "SSL_CERT_FILE": str(account.bundle),
        "TABLES": account.tables,
        "STORAGE_TOKEN": asyncio.run(account.tenant.get_token_info()).token,
    }
    log_file = tmp_path_factory.mktemp("release-1") / "log"
    with (
        log_file.open("w") as log,
        subprocess.Popen(  # noqa: S603 -- our own program
            [sys.executable, str(HERE / "release_1.py")],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout
        line = process.stdout.readline()
        assert line, log_file.read_text()
        yield int(line)
        process.kill()


@pytest.fixture
async def world(account: StorageAccount, port: int) -> AsyncIterator[Shared]:
    """An empty ACS resource and an empty table, used by both releases."""
    async with account.table(f"t{uuid4().hex}") as table:
        await table.create_table()
        yield Shared(table, port)
