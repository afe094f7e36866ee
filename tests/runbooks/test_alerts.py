"""What an alert's section says to do, where that is a command."""

import re

import pytest

from tests.end_to_end.client import Control, until
from tests.runbooks.conftest import Operate, finds_its_registry
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.runbooks.storage import Account

STUCK = section("deletions-stuck").command("DELETE")
LOST = section("identity-lost").command("DELETE")
DOWN = {"operation": "delete", "status": 503}


async def test_what_is_stuck_is_purged_by_hand(operate: Operate, control: Control) -> None:
    """Once ACS is well again: 204, and it is gone."""
    settings = {"CLEANUP_MAX_ATTEMPTS": "1", "DELETED_IDENTITY_RETENTION_DAYS": "0"}
    operator = operate(settings=settings)
    identity_id = await operator.api.deleted_identity()
    await control.fault("status", **DOWN)
    await operator.api.sweep()

    async def is_stuck() -> bool:
        return await operator.api.all_ids("deleted-identities?stuck=true") == [identity_id]

    await until(is_stuck)
    await control.peace()

    outcome = await operator.runs(STUCK, ID=identity_id)

    assert outcome.statuses == [204]
    assert await operator.api.is_gone(identity_id)
    assert await control.state(identity_id) == "deleted"


@pytest.fixture
async def lost_id(caretaker: Operator, account: Account, control: Control) -> str:
    """An identity of which the log alone tells: neither was it recorded nor deleted again."""
    lines = len(caretaker.api.app.log)
    account.tables.stop()
    await control.fault("status", **DOWN)
    (await caretaker.api.post("identities")).assert_problem(503, "registry_unavailable")
    account.tables.start()
    await control.peace()
    await until(lambda: finds_its_registry(caretaker.api))
    [lost] = re.findall(r"identity_lost identity_id=(\S+)", caretaker.api.app.log[lines:])
    assert await control.state(lost) == "active"
    return str(lost)


async def test_a_lost_identity_is_put_on_the_agenda_and_deleted_by_the_sweep(
    caretaker: Operator, control: Control, lost_id: str
) -> None:
    """Deleting it is all that is needed."""
    outcome = await caretaker.runs(LOST, ID=lost_id)

    assert outcome.statuses == [202]
    await caretaker.api.sweep()
    await until(lambda: caretaker.api.is_gone(lost_id))
    assert await control.state(lost_id) == "deleted"
