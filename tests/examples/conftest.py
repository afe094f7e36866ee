"""The app, as a server of yours finds it."""

from collections.abc import Iterator

import pytest

from tests.support.stack import App, running_app, running_azure


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app against a local Azure of its own."""
    azure_folder, app_folder = (tmp_path_factory.mktemp(name) for name in ("azure", "app"))
    changes = {"SERVICE_TOKEN_DEFAULT_MINUTES": "60"}
    with running_azure(azure_folder) as azure, running_app(azure, app_folder, changes) as app:
        yield app
