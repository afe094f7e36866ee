"""A storage account that can be lost, and the app that has its registry there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from identity_service.registry import TABLE
from tests.azurite_fixture import StorageAccount, Tenant
from tests.end_to_end.stack import Azure
from tests.survival.storage import Tables


class Account:
    """The account's tables, let in by this Azure's certificates.

    Attributes:
        tables: What serves them.
    """

    def __init__(self, azure: Azure, folder: Path) -> None:
        self._folder = folder
        self._bundle = Path(azure.env["SSL_CERT_FILE"])
        made = self._bundle.parent / "azurite"
        self.tables = Tables(folder, made / "localhost.pem", made / "localhost.key")

    def is_lost(self) -> None:
        """It is gone, and another one, which is empty, has its name."""
        self.tables.kill()
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        self.tables.start()

    async def loses_its_table(self) -> None:
        """The registry is deleted."""
        account = StorageAccount(self.tables.address, self._bundle, Tenant())
        async with account.table(TABLE) as table:
            await table.delete_table()


@contextmanager
def own_account(azure: Azure, folder: Path) -> Iterator[Account]:
    """An account beside that of the local Azure, until the end of the block."""
    account = Account(azure, folder)
    try:
        yield account
    finally:
        account.tables.kill()
