"""The runbooks that stop the sweep and start it by hand."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import Control, until

STOP = section("stop-the-sweep-at-once").command("Disabled")
BY_HAND = section("run-the-sweep-by-hand").command("acsid sweep")
# Deleted identities are due at once, and the timer runs every second.
OFTEN = {"CLEANUP_SCHEDULE": "* * * * * *", "DELETED_IDENTITY_RETENTION_DAYS": "0"}
FINISHED = "sweep_finished due="


@pytest.fixture
async def stopped(operate: Operate) -> Operator:
    """An operator who has stopped the sweep."""
    operator = operate(settings=OFTEN)
    await operator.run(STOP)
    return operator


async def test_a_stopped_sweep_purges_nothing(stopped: Operator, control: Control) -> None:
    """The timer does not run, and identities that are due stay."""
    identity_id = await stopped.api.deleted_identity()
    twice = datetime.now(UTC) + timedelta(seconds=2)

    async def would_have_run_twice() -> bool:
        return datetime.now(UTC) > twice

    await until(would_have_run_twice)

    assert "sweep_" not in stopped.api.app.log
    assert not await stopped.api.is_gone(identity_id)
    assert await control.state(identity_id) == "active"


async def test_a_resumed_sweep_purges_everything_that_is_due(
    stopped: Operator, control: Control
) -> None:
    """Nothing is forgotten while it is stopped."""
    identities = [await stopped.api.deleted_identity() for _ in range(3)]

    await stopped.run(STOP.replace("Disabled=true", "Disabled=false"))

    for identity_id in identities:
        await until(partial(stopped.api.is_gone, identity_id))
    assert [await control.state(each) for each in identities] == ["deleted"] * 3


async def test_a_stopped_sweep_can_be_started_by_hand(stopped: Operator, control: Control) -> None:
    """The log says when it has finished."""
    identity_id = await stopped.api.deleted_identity()

    await stopped.run(BY_HAND)

    async def is_logged() -> bool:
        return FINISHED in stopped.api.app.log

    await until(is_logged)
    assert await control.state(identity_id) == "deleted"
