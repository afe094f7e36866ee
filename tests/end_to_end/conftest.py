"""One local Azure and one app for each worker of pytest; more apps for who wants other settings."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.client import Api, Control, http_session
from tests.end_to_end.stack import App, Azure, running_app, running_azure

StartApp = Callable[..., Api]


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The local Azure. What a test makes go wrong in it, `control` puts right again."""
    with running_azure(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="session")
def app(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app with the settings of the sample."""
    with running_app(azure, tmp_path_factory.mktemp("app")) as running:
        yield running


@pytest.fixture(scope="session")
def app_without_retention(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Another worker of the same app: what is deleted here is purged by the next sweep."""
    settings = {"DELETED_IDENTITY_RETENTION_DAYS": "0"}
    with running_app(azure, tmp_path_factory.mktemp("hasty"), settings) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """What requests are sent with."""
    async with http_session() as made:
        yield made


@pytest.fixture
def api(session: aiohttp.ClientSession, app: App) -> Api:
    """The app's operations."""
    return Api(session, app)


@pytest.fixture
def hasty(session: aiohttp.ClientSession, app_without_retention: App) -> Api:
    """The operations of the app that retains nothing."""
    return Api(session, app_without_retention)


@pytest.fixture
async def control(session: aiohttp.ClientSession, azure: Azure) -> AsyncIterator[Control]:
    """What stands behind the app; after the test nothing is wrong with it any more."""
    made = Control(session, azure)
    yield made
    await made.peace()


@pytest.fixture
def start_app(
    azure: Azure, session: aiohttp.ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartApp]:
    """Starts one more worker of the app, with these settings changed or left out."""
    with ExitStack() as apps:

        def start(without: Sequence[str] = (), **changes: str) -> Api:
            folder: Path = tmp_path_factory.mktemp("app")
            return Api(session, apps.enter_context(running_app(azure, folder, changes, without)))

        yield start
