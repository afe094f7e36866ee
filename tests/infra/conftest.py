"""What the tests of the queries share."""

import logging
from collections.abc import AsyncIterator

import pytest

from tests.infra.workspace import Workspace
from tests.support.virtual_time import START
from tests.support.world import World


@pytest.fixture
async def workspace(world: World, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Workspace]:
    """Receives what the app logs. It is noon: no test depends on how long the machine runs."""
    world.clock.advance(START - world.clock.now())
    log = logging.getLogger("identity_service")
    caplog.set_level(logging.INFO, log.name)
    workspace = Workspace(world.clock)
    log.addHandler(workspace)
    yield workspace
    log.removeHandler(workspace)
