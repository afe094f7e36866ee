"""Teams Phone access through the whole stack. Users exchange their tokens with Microsoft's SDK."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.support.client import Client, Control, TeamsUser, until
from tests.support.stack import ROOT, Azure

SDK = ROOT / "tests" / "sdk"
SCOPE = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"


@pytest.fixture
async def teams_user(control: Control) -> TeamsUser:
    """A user of Teams without access."""
    return await control.teams_user()


async def exchanged(azure: Azure, user: TeamsUser) -> str:
    """The ACS token that Microsoft's client SDK gets for the user. Empty if ACS refuses it."""
    process = await asyncio.create_subprocess_exec(
        *("node", "entra_user.mjs", SCOPE),
        stdout=PIPE,
        stderr=PIPE,
        cwd=SDK,
        env={**os.environ, **azure.env, "ENTRA_TOKEN": user.token},
    )
    output, errors = await process.communicate()
    assert process.returncode == 0 or b"Status: 403" in errors, errors.decode()
    return str(json.loads(output)["token"]) if output else ""


async def test_a_user_gets_a_token_while_they_have_access(
    api: Client, control: Control, azure: Azure, teams_user: TeamsUser
) -> None:
    """Before and after, ACS refuses the same sign-in. The removal revokes the user's token."""
    never_assigned = await exchanged(azure, teams_user)
    assigned = await api.call("PUT", teams_user.path, teams_user.body())
    token = await exchanged(azure, teams_user)
    valid = await control.token_state(token)
    verified = await api.get(f"{teams_user.path}?verify=true")
    removed = await api.delete(teams_user.path)
    after = await exchanged(azure, teams_user)

    assert assigned.assert_success(201)["state"] == "assigned"
    assert assigned.headers["Location"] == f"/api/{teams_user.path}"
    assert verified.assert_success()["acs"] == {"matches": True, **teams_user.body()}
    removed.assert_success(204)
    assert (never_assigned, after) == ("", "")
    assert (valid, await control.token_state(token)) == ("valid", "revoked")
    (await api.get(teams_user.path)).assert_problem(404, "teams_access_not_found")


async def test_another_application_gets_no_token(
    api: Client, azure: Azure, teams_user: TeamsUser
) -> None:
    """Access is for the named applications only."""
    body = teams_user.body(clientIds=[str(uuid4())])
    (await api.call("PUT", teams_user.path, body)).assert_success(201)

    assert await exchanged(azure, teams_user) == ""


async def test_an_imported_user_loses_access_on_the_date(
    api: Client, control: Control, teams_user: TeamsUser
) -> None:
    """Access that was given elsewhere is taken over with an end, and the sweep ends it."""
    await control.assign(teams_user)
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=6)
    record = {"tenantId": teams_user.tenant_id, "objectId": teams_user.user_id}
    body = {"access": [{**record, "expiresOn": end.isoformat()}]}

    results = (await api.post("teams/access/import", body)).assert_success()["results"]
    listed = (await api.get(f"teams/access?tenantId={teams_user.tenant_id}")).assert_success()

    assert results == [{**record, "result": "imported"}]
    assert teams_user.user_id in {one["objectId"] for one in listed["value"]}
    assert teams_user.user_id in await control.assigned_users()

    async def is_over() -> bool:
        return datetime.now(UTC) > end

    async def is_removed() -> bool:
        return teams_user.user_id not in await control.assigned_users()

    await until(is_over)
    await api.sweep()
    await until(is_removed)
    (await api.get(teams_user.path)).assert_problem(404, "teams_access_not_found")


async def test_a_removal_is_repeated_until_acs_responds(
    api: Client, control: Control, teams_user: TeamsUser
) -> None:
    """While ACS fails, the caller gets 503, and nobody finds the access any more."""
    (await api.call("PUT", teams_user.path, teams_user.body())).assert_success(201)
    await control.inject("status", status=503, operation="deleteAssignment")

    failed = await api.delete(teams_user.path)
    hidden = await api.get(teams_user.path)
    await control.clear_faults()
    (await api.delete(teams_user.path)).assert_success(204)

    failed.assert_problem(503, "acs_unavailable")
    hidden.assert_problem(404, "teams_access_not_found")
    assert teams_user.user_id not in await control.assigned_users()


async def test_what_acs_does_not_accept(api: Client, teams_user: TeamsUser) -> None:
    """A tenant id and an object id that are no GUIDs never reach ACS."""
    path = teams_user.path.replace(teams_user.user_id, "alice")

    problem = (await api.call("PUT", path, teams_user.body())).assert_problem(400, "invalid_guid")

    assert problem["field"] == "objectId"


async def test_the_log_says_who_changed_whose_access(api: Client, teams_user: TeamsUser) -> None:
    """Each change is one line, with the caller. The user's token is in none."""
    await api.call("PUT", teams_user.path, teams_user.body())
    await api.delete(teams_user.path)

    ids = f"tenant_id={teams_user.tenant_id} object_id={teams_user.user_id}"
    for event in ("teams_access_assigned", "teams_access_removed"):
        assert f"{event} {ids} caller=key" in api.app.log
    assert teams_user.token not in api.app.log
