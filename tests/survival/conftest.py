"""One local Azure per pytest worker, and a process that forks workers of the app."""

import ssl
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.support.client import Control
from tests.support.stack import Azure, running_azure
from tests.survival.processes import Workers, running_workers
from tests.survival.records import Records


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The local Azure."""
    with running_azure(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="session")
def workers(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers of the app with the settings of this Azure."""
    with running_workers(azure.settings, tmp_path_factory.mktemp("workers") / "log") as running:
        yield running


@pytest.fixture
async def session(azure: Azure) -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session that trusts the local Azure.

    Azurite closes connections that are idle for five seconds; older ones must not be reused.
    """
    trust = ssl.create_default_context(cafile=azure.env["SSL_CERT_FILE"])
    connector = aiohttp.TCPConnector(ssl=trust, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=connector) as made:
        yield made


@pytest.fixture
async def control(session: aiohttp.ClientSession, azure: Azure) -> AsyncIterator[Control]:
    """The control endpoint, reset before the test; all faults are removed after it."""
    made = Control(session, azure.env)
    await made.ask("POST", "reset")
    yield made
    await made.clear()


@pytest.fixture
def records(azure: Azure, session: aiohttp.ClientSession, control: Control) -> Records:
    """ACS, and the tables of the storage account."""
    tables = azure.settings["AzureWebJobsStorage__tableServiceUri"]
    return Records(azure, session, control, tables)
