"""An app for each test: thousands of random requests leave too much behind for other tests."""

from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.client import Control
from tests.support.stack import App, running_app, running_azure


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """The app on a local Azure of its own."""
    unlimited = {"USER_CALLS_PER_MINUTE": "100000"}
    with running_azure(tmp_path) as azure, running_app(azure, tmp_path, unlimited) as started:
        yield started


@pytest.fixture
def control(session: aiohttp.ClientSession, app: App) -> Control:
    """The emulator's control endpoint."""
    return Control(session, app.azure.env)


@pytest.fixture
async def environ(app: App, control: Control) -> dict[str, str]:
    """The variables that a program needs to call the app as a service and as a user."""
    token = await control.sign_in("alice")
    return {**app.azure.env, "APP_URL": app.url, "SIGN_IN_TOKEN": token}
