"""The runbooks about Teams Phone access: it must end now, and it is stuck."""

import json
from typing import Any

import pytest

from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import Client, Control, TeamsUser

END = section("end-somebodys-teams-phone-access-now")
STUCK = section("teams-phone-access-that-is-stuck")
REMOVE = END.command("acsid teams remove TENANT/OBJECT")
CHECK = END.command("acsid teams check")
REMOVE_MANY = END.command("acsid teams remove FILE")
REMOVING = STUCK.command("--state removing")
ASSIGNING = STUCK.command("--state assigning")
FINISH = STUCK.command("acsid teams remove")


@pytest.fixture
async def teams_user(api: Client, control: Control) -> TeamsUser:
    """A user of Teams with access."""
    user = await control.teams_user()
    (await api.call("PUT", user.path, user.body())).assert_success(201)
    return user


def ids(user: TeamsUser) -> dict[str, Any]:
    """The words that the commands have in place of the user."""
    return {"TENANT": user.tenant_id, "OBJECT": user.user_id}


async def test_access_ends_now(operator: Operator, control: Control, teams_user: TeamsUser) -> None:
    """ACS has no assignment any more, and step 2 finds no access: exit code 3."""
    await operator.run(CHECK, **ids(teams_user))
    await operator.run(REMOVE, **ids(teams_user))

    await operator.run(CHECK, exit_code=3, **ids(teams_user))
    assert teams_user.user_id not in await control.assigned_users()


async def test_access_that_the_app_does_not_know_ends(operator: Operator, control: Control) -> None:
    """An assignment that was made without the app is removed as well."""
    user = await control.teams_user()
    await control.assign(user)

    await operator.run(REMOVE, **ids(user))

    assert user.user_id not in await control.assigned_users()


async def test_access_of_many_ends(
    operator: Operator, control: Control, teams_user: TeamsUser
) -> None:
    """With a file, it ends for everybody in it."""
    rows = f"tenantId,objectId\n{teams_user.tenant_id},{teams_user.user_id}\n"
    (operator.folder / "users.csv").write_text(rows)

    await operator.run(REMOVE_MANY, FILE="users.csv")

    assert teams_user.user_id not in await control.assigned_users()


async def test_a_removal_that_is_stuck_is_finished(
    operator: Operator, control: Control, teams_user: TeamsUser
) -> None:
    """It is listed while ACS fails, and repeating it finishes it."""
    await control.inject("status", status=503, operation="deleteAssignment")
    await operator.api.delete(teams_user.path)
    listed = await found(operator, REMOVING)
    await control.clear_faults()

    await operator.run(FINISH, **ids(teams_user))

    assert teams_user.user_id in listed
    assert teams_user.user_id not in await found(operator, REMOVING)
    assert teams_user.user_id not in await control.assigned_users()


async def test_an_assignment_that_is_stuck_is_listed(operator: Operator, control: Control) -> None:
    """It is recorded, although ACS has not accepted it."""
    user = await control.teams_user()
    await control.inject("status", status=503, operation="putAssignment")

    await operator.api.call("PUT", user.path, user.body())

    assert user.user_id in await found(operator, ASSIGNING)


async def found(operator: Operator, command: str) -> set[str]:
    """The object ids that a list prints."""
    lines = (await operator.run(command)).output.splitlines()
    return {json.loads(line)["objectId"] for line in lines}
