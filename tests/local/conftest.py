"""One host per module: a test module sets its app in `APP` and its settings in `SETTINGS`."""

from collections.abc import Iterator

import pytest

from tests.local.running_host import RunningHost, running_host, write_app


@pytest.fixture(scope="module")
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHost]:
    """A host that serves the module's app."""
    app = write_app(tmp_path_factory.mktemp("app"), request.module.APP)
    with running_host(app, getattr(request.module, "SETTINGS", None)) as running:
        yield running
