"""What the tests of the queries share."""

import logging
from collections.abc import Iterator

import pytest

from tests.infra.workspace import Workspace
from tests.support.world import World


@pytest.fixture
def workspace(world: World, caplog: pytest.LogCaptureFixture) -> Iterator[Workspace]:
    """Receives what the app logs."""
    log = logging.getLogger("identity_service")
    caplog.set_level(logging.INFO, log.name)
    workspace = Workspace(world.clock)
    log.addHandler(workspace)
    yield workspace
    log.removeHandler(workspace)
