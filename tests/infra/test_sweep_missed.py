"""The alerts about a sweep that does not run, on lines that the app logs."""

from datetime import timedelta

import pytest

from identity_service.operations.status import MAX_AGE
from tests.infra.test_alerts import QUERIES
from tests.infra.workspace import Workspace
from tests.support.virtual_time import START
from tests.support.world import SECOND, World

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("minutes", "missed"),
    [(0, 0), (5, 0), (10, 0), (11, 1), (60, 1)],
)
async def test_two_missed_runs(
    world: World, workspace: Workspace, minutes: int, missed: int
) -> None:
    """The alert fires when `ready` finds two missed runs, and not at one."""
    readiness = world.readiness()
    now = world.clock.now()
    world.clock.advance(START + timedelta(days=1) - now)  # a time of the schedule
    await world.sweep()
    world.clock.advance(minutes * MINUTE + MAX_AGE * SECOND)
    await readiness.check()

    assert workspace.query(QUERIES["sweep-missed"]) == [{"Missed": missed}]


async def test_nobody_asks(world: World, workspace: Workspace) -> None:
    """Without a check there is no line, so only the alert for missing sweeps can fire."""
    await world.sweep()

    assert workspace.query(QUERIES["sweep-missed"]) == [{"Missed": 0}]
