"""One local Azure for each worker of pytest, and a process from which workers of the app fork."""

import ssl
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.support.client import Control
from tests.support.stack import Azure, running_azure
from tests.survival.forks import Workers, running_workers
from tests.survival.registers import Registers


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The local Azure."""
    with running_azure(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="session")
def workers(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers of the app, with the settings of this Azure."""
    with running_workers(azure.settings, tmp_path_factory.mktemp("workers") / "log") as running:
        yield running


@pytest.fixture
async def session(azure: Azure) -> AsyncIterator[aiohttp.ClientSession]:
    """What requests are sent with: it trusts what runs here.

    Azurite closes a connection after five idle seconds: one as old as that must not be used again.
    """
    trust = ssl.create_default_context(cafile=azure.env["SSL_CERT_FILE"])
    connector = aiohttp.TCPConnector(ssl=trust, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=connector) as made:
        yield made


@pytest.fixture
async def control(session: aiohttp.ClientSession, azure: Azure) -> AsyncIterator[Control]:
    """What stands behind the app, without a memory; after the test nothing is wrong with it."""
    made = Control(session, azure.env)
    await made.ask("POST", "reset")
    yield made
    await made.clear()


@pytest.fixture
def registers(azure: Azure, session: aiohttp.ClientSession, control: Control) -> Registers:
    """ACS, and the tables of the storage account."""
    tables = azure.settings["AzureWebJobsStorage__tableServiceUri"]
    return Registers(azure, session, control, tables)
