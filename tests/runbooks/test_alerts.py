"""The commands in the sections of the alerts."""

import re

import pytest

from tests.runbooks.conftest import Account, Operate, has_registry
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import Control, until

STUCK = section("deletions-stuck")
LOST = section("identity-lost").command("acsid delete")
DOWN = {"operation": "delete", "status": 503}
# The calls that one call of ACS makes before it fails.
ATTEMPTS = 2


async def test_a_stuck_purge_is_repeated(operate: Operate, control: Control) -> None:
    """As soon as ACS works, the command removes it."""
    settings = {
        "CLEANUP_MAX_ATTEMPTS": "1",
        "DELETED_IDENTITY_RETENTION_DAYS": "0",
        "CLEANUP_DELETES_PER_30S": "15",  # one after the other, so that the first one fails
    }
    operator = operate(settings=settings)
    identity_id = await operator.api.deleted_identity()
    await operator.api.deleted_identity()
    await control.inject("status", times=ATTEMPTS, **DOWN)
    await operator.api.sweep()

    async def is_stuck() -> bool:
        return identity_id in await operator.api.all_ids("deleted-identities?stuck=true")

    await until(is_stuck)
    await control.clear()

    await operator.run(STUCK.command("acsid purge"), ID=identity_id)

    assert await operator.api.is_gone(identity_id)
    assert await control.state(identity_id) == "deleted"


@pytest.mark.parametrize(
    ("method", "path", "command", "undo"),
    [
        ("DELETE", "", STUCK.command("acsid delete"), "deleted-identities/{}/restore"),
        ("POST", "/suspend", STUCK.command("acsid suspend"), "identities/{}/resume"),
    ],
)
async def test_a_revocation_that_failed_is_repeated(  # noqa: PLR0913, PLR0917 -- one case each
    operator: Operator, control: Control, method: str, path: str, command: str, undo: str
) -> None:
    """As soon as ACS works, the command revokes the tokens. The mark can still be undone."""
    api = operator.api
    identity_id = await api.new_identity()
    token = await api.new_token(identity_id)
    await control.inject("status", operation="revoke", status=503, times=ATTEMPTS)
    failed = await api.call(method, f"identities/{identity_id}{path}")
    failed.assert_problem(503, "acs_unavailable")
    assert await control.token_state(token) == "valid"

    await operator.run(command, ID=identity_id)

    assert await control.token_state(token) == "revoked"
    (await api.post(undo.format(identity_id))).assert_success()
    assert await api.is_active(identity_id)


@pytest.fixture
async def lost_id(account_operator: Operator, account: Account, control: Control) -> str:
    """The id of an identity that could neither be recorded nor deleted again: only in the log."""
    api = account_operator.api
    await api.new_identity()  # the app now knows that it is at the right ACS resource
    logged = len(api.app.log)
    account.tables.stop()
    await control.inject("status", **DOWN)
    (await api.post("identities")).assert_problem(503, "registry_unavailable")
    account.tables.start()
    await control.clear()
    await until(lambda: has_registry(api))
    [lost] = re.findall(r"identity_lost identity_id=(\S+)", api.app.log[logged:])
    assert await control.state(lost) == "active"
    return str(lost)


async def test_a_lost_identity_is_deleted(
    account_operator: Operator, control: Control, lost_id: str
) -> None:
    """The command registers and deletes it, and the sweep deletes it in ACS."""
    await account_operator.run(LOST, ID=lost_id)

    await account_operator.api.sweep()
    await until(lambda: account_operator.api.is_gone(lost_id))
    assert await control.state(lost_id) == "deleted"
