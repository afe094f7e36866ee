"""Stopping the sweep at once, and running it by hand."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.end_to_end.client import Api, Control, until
from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section

STOP = section("Stop the sweep at once").command("Disabled")
BY_HAND = section("Run the sweep by hand").command("/admin/")
# What is deleted is due at once, and the timer is every second.
HASTY = {"CLEANUP_SCHEDULE": "* * * * * *", "DELETED_IDENTITY_RETENTION_DAYS": "0"}
FINISHED = "sweep_finished due="


@pytest.fixture
async def stopped(operate: Operate) -> Operator:
    """Somebody who has just stopped the sweep."""
    operator = operate(settings=HASTY)
    await operator.runs(STOP)
    return operator


async def test_what_is_due_is_kept(stopped: Operator, control: Control) -> None:
    """However often the timer would have run, there is no sweep."""
    identity_id = await stopped.api.deleted_identity()
    twice = datetime.now(UTC) + timedelta(seconds=2)

    async def would_have_run_twice() -> bool:
        return datetime.now(UTC) > twice

    await until(would_have_run_twice)

    assert "sweep_" not in stopped.api.app.log
    assert not await stopped.api.is_gone(identity_id)
    assert await control.state(identity_id) == "active"


async def test_calls_go_on(stopped: Operator, control: Control) -> None:
    """And a deletion still revokes tokens."""
    identity_id = await stopped.api.new_identity()
    token = await stopped.api.new_token(identity_id)
    assert await control.fate(token) == "works"

    (await stopped.api.delete(f"identities/{identity_id}")).assert_success(202)

    assert await control.fate(token) == "revoked"


async def test_switched_on_again_the_next_sweep_does_all_that_is_due(
    stopped: Operator, control: Control
) -> None:
    """Nothing was forgotten."""
    identities = [await stopped.api.deleted_identity() for _ in range(3)]

    await stopped.runs(STOP.replace("Disabled=true", "Disabled=false"))

    await until(lambda: are_gone(stopped.api, identities))
    assert [await control.state(each) for each in identities] == ["deleted"] * 3


async def test_by_hand_it_runs_even_while_it_is_stopped(
    stopped: Operator, control: Control
) -> None:
    """202, and soon the line that tells of its end."""
    identity_id = await stopped.api.deleted_identity()

    outcome = await stopped.runs(BY_HAND)

    assert outcome.statuses == [202]
    await until(lambda: is_logged(stopped.api))
    assert await control.state(identity_id) == "deleted"


async def are_gone(api: Api, identities: list[str]) -> bool:
    """Whether the registry knows none of them any more."""
    return all([await api.is_gone(each) for each in identities])


async def is_logged(api: Api) -> bool:
    """Whether a sweep has ended."""
    return FINISHED in api.app.log
