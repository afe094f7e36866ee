"""An operator, an app to operate, and a storage account that a test may lose."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from azure.communication.identity.aio import CommunicationIdentityClient

from tests.runbooks.operator import TABLES, Operator
from tests.support.azurite import Tables, running_tables
from tests.support.client import Client, until
from tests.support.programs import required
from tests.support.stack import App, Azure, running_app
from tools.setup.programs import program

Operate = Callable[..., Operator]


@pytest.fixture
def operate(
    azure: Azure,
    session: aiohttp.ClientSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operate]:
    """Returns an operator of a running app, or of a new app with these settings."""
    for name in ("bash", "jq"):
        required(partial(program, name))
    with ExitStack() as operators:

        def begin(
            app: App | None = None,
            settings: Mapping[str, str] | None = None,
            azure: Azure = azure,
        ) -> Operator:
            folder = tmp_path_factory.mktemp("operator")
            operator = Operator(folder, session, azure, app, settings)
            return operators.enter_context(closing(operator))

        yield begin


@pytest.fixture
def operator(operate: Operate, app: App) -> Operator:
    """The operator of the app with the settings of the sample."""
    return operate(app)


@dataclass(frozen=True)
class Account:
    """A storage account with the registry of an app."""

    tables: Tables
    folder: Path

    def lose(self) -> None:
        """Replaces the account with an empty one of the same name."""
        self.tables.kill()
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.tables.start()


@pytest.fixture(scope="module")
def account(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A storage account that a test may lose."""
    folder = tmp_path_factory.mktemp("account")
    with running_tables(folder, azure.certificates) as tables:
        yield Account(tables, folder)


@pytest.fixture(scope="module")
def app_of_account(
    azure: Azure, account: Account, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[App]:
    """The app whose registry is in that account. Deleted identities are due at once."""
    settings = {TABLES: account.tables.address, "DELETED_IDENTITY_RETENTION_DAYS": "0"}
    with running_app(azure, tmp_path_factory.mktemp("app"), settings) as started:
        yield started


@pytest.fixture
async def account_operator(operate: Operate, app_of_account: App) -> Operator:
    """The operator of that app, whose registry is reachable."""
    operator = operate(app_of_account)
    await until(lambda: has_registry(operator.api))
    return operator


async def has_registry(api: Client) -> bool:
    """Whether the registry responds."""
    return (await api.get("identities")).status == 200


async def created_elsewhere(azure: Azure) -> str:
    """Creates an identity in the ACS resource without the app, and returns its id."""
    client = CommunicationIdentityClient.from_connection_string(
        azure.env["ACS_CONNECTION_STRING"], connection_verify=azure.env["SSL_CERT_FILE"]
    )
    async with client:
        return str((await client.create_user()).properties["id"])
