"""One host per module: a module names its app in `APP` and, if need be, its `SETTINGS`."""

from collections.abc import Iterator

import pytest

from tests.local.functions_host.running import RunningHost, running_host, write_app


@pytest.fixture(scope="module")
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHost]:
    """The module's app, served."""
    app = write_app(tmp_path_factory.mktemp("app"), request.module.APP)
    with running_host(app, getattr(request.module, "SETTINGS", None)) as running:
        yield running
