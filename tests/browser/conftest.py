"""The whole stack as `make run` starts it, and a browser."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.support.browser import Seen, browser_page, chromium, running_browser
from tests.support.client import Client, Control, http_session
from tests.support.stack import ROOT, App, Azure, running


@pytest.fixture(scope="session")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The content of `.local/env` of the running stack."""
    chromium()
    if not (ROOT / "examples" / "web" / "dist" / "index.html").exists():
        pytest.fail("The example page is not built: make setup", pytrace=False)
    with running(tmp_path_factory.mktemp("azure"), "run") as env:
        yield env


@pytest.fixture(scope="session")
def site(env: dict[str, str]) -> str:
    """The origin of the app and its pages."""
    return env["FUNCTIONS_URL"]


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser(env: dict[str, str]) -> AsyncIterator[Browser]:
    """One browser for all tests of this process."""
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def opened(browser: Browser, site: str) -> AsyncIterator[tuple[Page, Seen]]:
    """A page in a new profile. It stores nothing, logs no error and stays on its origin."""
    async with browser_page(browser) as (page, seen):
        yield page, seen
        assert await page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert await page.evaluate("document.cookie") == ""
        assert seen.console == []
        assert seen.origins == {site}


@pytest_asyncio.fixture(loop_scope="session")
async def service(env: dict[str, str]) -> AsyncIterator[Client]:
    """A service that calls the same app."""
    async with http_session() as session:
        yield Client(session, App(env["FUNCTIONS_URL"], Azure(env, "", "")))


@pytest_asyncio.fixture(loop_scope="session")
async def faults(env: dict[str, str]) -> AsyncIterator[Control]:
    """The emulator's control endpoint. All faults are removed after the test."""
    async with http_session() as session:
        control = Control(session, env)
        yield control
        await control.clear()


@pytest.fixture
def page(opened: tuple[Page, Seen]) -> Page:
    """The page."""
    return opened[0]


@pytest.fixture
def seen(opened: tuple[Page, Seen]) -> Seen:
    """What the page did."""
    return opened[1]
