"""The local Azure of the end-to-end tests, and somebody who operates an app on it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import aiohttp
import pytest

from tests.end_to_end.client import Api, until
from tests.end_to_end.conftest import (  # noqa: F401 -- pytest finds fixtures by their names here
    api,
    app,
    azure,
    control,
    session,
)
from tests.end_to_end.stack import App, Azure, running_app
from tests.runbooks.operator import TABLES, TOOLS, Operator, tool
from tests.runbooks.storage import Account, own_account

Operate = Callable[..., Operator]


@pytest.fixture(scope="session", autouse=True)
def tools() -> None:
    """Without them these tests fail: nobody should believe that they ran."""
    for name in TOOLS:
        try:
            tool(name)
        except FileNotFoundError as missing:
            pytest.fail(str(missing), pytrace=False)


@pytest.fixture
def operate(
    azure: Azure,  # noqa: F811 -- the fixture imported above
    session: aiohttp.ClientSession,  # noqa: F811 -- the same
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operate]:
    """Somebody at work: with an app that runs, or with one of their own in these settings."""
    with ExitStack() as operators:

        def begin(
            app: App | None = None,
            settings: Mapping[str, str] | None = None,
            azure: Azure = azure,
        ) -> Operator:
            folder = tmp_path_factory.mktemp("operator")
            return operators.enter_context(Operator(folder, session, azure, app, settings))

        yield begin


@pytest.fixture
def operator(operate: Operate, app: App) -> Operator:  # noqa: F811 -- the same
    """Somebody who looks after the app with the settings of the sample."""
    return operate(app)


@pytest.fixture(scope="module")
def account(
    azure: Azure,  # noqa: F811 -- the same
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Account]:
    """A storage account that a test may lose."""
    with own_account(azure, tmp_path_factory.mktemp("account")) as own:
        yield own


@pytest.fixture(scope="module")
def app_of_account(
    azure: Azure,  # noqa: F811 -- the same
    account: Account,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[App]:
    """The app whose registry is there; what is deleted is due at once."""
    settings = {TABLES: account.tables.address, "DELETED_IDENTITY_RETENTION_DAYS": "0"}
    with running_app(azure, tmp_path_factory.mktemp("app"), settings) as running:
        yield running


@pytest.fixture
async def caretaker(operate: Operate, app_of_account: App) -> Operator:
    """Somebody who looks after that app, which has found its account."""
    made = operate(app_of_account)
    await until(lambda: finds_its_registry(made.api))
    return made


async def finds_its_registry(api: Api) -> bool:  # noqa: F811 -- the same
    """Whether the registry answers."""
    return (await api.get("identities")).status == 200
