"""The runbooks that stop the sweep and start it by hand."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import Control, until

STOP = section("stop-the-sweep-at-once").command("Disabled")
BY_HAND = section("run-the-sweep-by-hand").command("acsid sweep")
READY = section("the-timer-stops-after-a-deployment").command("acsid ready")
OUTAGE = section("after-a-long-outage-of-acs")
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


async def test_ready_shows_that_a_sweep_by_hand_has_run(stopped: Operator) -> None:
    """Without a timer, only the sweep that was started by hand makes it `ok`."""
    await stopped.run(BY_HAND)

    async def is_shown() -> bool:
        return bool(re.search(r"sweep\s+ok", (await stopped.run(READY)).output))

    await until(is_shown, 60)  # `ready` checks every ten seconds


async def test_nothing_is_overdue_after_an_outage(operate: Operate, control: Control) -> None:
    """After an outage that many sweeps have met, the next sweep does everything."""
    operator = operate(settings={"DELETED_IDENTITY_RETENTION_DAYS": "0"})
    identity_id = await operator.api.deleted_identity()
    await control.inject("status", times=1000, operation="delete", status=503)

    async def has_met(sweeps: int) -> bool:
        return operator.api.app.log.count("sweep_without_acs") == sweeps

    for sweeps in range(1, 12):
        await operator.api.sweep()
        await until(partial(has_met, sweeps))
    await control.clear()
    await operator.api.sweep()
    await until(partial(operator.api.is_gone, identity_id))

    async def is_on_time() -> bool:
        ready = (await operator.run(OUTAGE.command("acsid ready"))).output
        # The last one is oldestOverdueSeconds.
        return bool(re.search(r"registry\s+ok\s+\d+\s+0\b", ready))

    # The sweep also works on what other tests have left, and `ready` checks every ten seconds.
    await until(is_on_time, 60)
    assert identity_id not in (await operator.run(OUTAGE.command("acsid stuck"))).output
