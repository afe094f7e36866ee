"""A storage account, and a table of each test in it."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from azure.data.tables.aio import TableClient

from tests.support.azurite import StorageAccount, storage_account


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageAccount]:
    """A storage account for all tests of this process."""
    with storage_account(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture
async def table(account: StorageAccount) -> AsyncIterator[TableClient]:
    """A client for a table of this test, which does not exist yet."""
    async with account.table(f"t{uuid4().hex}") as client:
        yield client
