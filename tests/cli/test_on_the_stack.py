"""`acsid` with the real app, the local Azure and its emulator of ACS."""

import csv
import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from azure.communication.identity import CommunicationIdentityClient

from tests.cli.conftest import Run, command
from tests.support.client import (
    OF_ANOTHER_RESOURCE,
    Client,
    Control,
    Me,
    claims,
    until,
)
from tests.support.stack import App, Azure

Begin = Callable[[Mapping[str, str]], Run]


def of(app: App, folder: Path) -> dict[str, str]:
    """Returns the environment of an operator of the app."""
    keys = {"ACSID_KEY": app.function_key, "ACSID_MASTER_KEY": app.master_key}
    return {"ACSID_URL": app.url, "HOME": str(folder), **keys}


@pytest.fixture
def acsid(app: App, run_in: Begin, tmp_path: Path) -> Run:
    """Runs a command against the real app."""
    return run_in(of(app, tmp_path))


@pytest.fixture(scope="session")
def created_elsewhere(azure: Azure) -> Callable[[int], list[str]]:
    """Creates identities in ACS without the app, and returns their ids."""

    def create(count: int) -> list[str]:
        connection, authority = azure.env["ACS_CONNECTION_STRING"], azure.env["SSL_CERT_FILE"]
        acs = CommunicationIdentityClient.from_connection_string(
            connection, connection_verify=authority
        )
        return [acs.create_user().properties["id"] for _ in range(count)]

    return create


def write(folder: Path, rows: Mapping[str, str]) -> Path:
    """Writes a file of identities and users."""
    path = folder / "ids.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("CommunicationServicesId", "Id"), *rows.items()])
    return path


async def test_the_life_of_an_identity(acsid: Run, control: Control, user: str) -> None:
    """Every command about one identity does what it says, in ACS too."""
    identity_id = acsid("create", "--user", user, "--json").json()["id"]
    issue = ("token", identity_id, "--scope", "chat", "--json")
    token = acsid(*issue).json()["token"]
    acsid("revoke", identity_id, "--yes")
    revoked = await control.token_state(token)
    assert acsid("delete", identity_id, "--yes").code == 0
    deleted = acsid("find", user, "--json").json()["state"]
    refused = acsid(*issue)
    assert acsid("restore", identity_id).code == 0
    assert acsid("unregister", identity_id, "--user", user, "--yes").code == 0
    forgotten = acsid("find", user).code
    assert acsid("register", identity_id, "--user", user).code == 0
    known = acsid("find", identity_id, "--json").json()["userId"]
    acsid("delete", identity_id, "--yes")
    assert acsid("purge", identity_id, "--yes").code == 0

    assert (revoked, deleted, known) == ("revoked", "deleted", user)
    assert (refused.code, refused.error()["code"]) == (1, "identity_deleted")
    assert forgotten == 3
    assert await control.state(identity_id) == "deleted"


async def test_a_suspension(acsid: Run, control: Control) -> None:
    """A suspended identity gets no token, also after a detour through a deletion, until resumed."""
    identity_id = acsid("create", "--json").json()["id"]
    issue = ("token", identity_id, "--scope", "chat", "--json")
    token = acsid(*issue).json()["token"]
    assert acsid("suspend", identity_id, "--yes").code == 0
    suspended = acsid("find", identity_id, "--json").json()
    acsid("delete", identity_id, "--yes")
    deleted = acsid("find", identity_id, "--json").json()
    restored = acsid("restore", identity_id).output
    refused = acsid(*issue)
    assert acsid("resume", identity_id).code == 0

    assert await control.token_state(token) == "revoked"
    assert (suspended["state"], deleted["deletedBy"]) == ("suspended", "service")
    assert deleted["suspendedOn"] == suspended["suspendedOn"]
    assert restored.endswith(f"It is still suspended: acsid resume {identity_id}.\n")
    assert (refused.code, refused.error()["code"]) == (1, "identity_suspended")
    assert refused.error()["hint"] == f"acsid resume {identity_id} lifts the suspension."
    assert acsid(*issue).code == 0


async def test_an_export_with_a_suspended_identity(acsid: Run, api: Client) -> None:
    """An import leaves it out, and says so: it would be registered as active."""
    identity_id = await api.new_identity()
    acsid("suspend", identity_id, "--yes")
    acsid("export", "all.jsonl")
    ended = acsid("import", "all.jsonl", "--dry-run")

    assert "1 row is left out: suspended." in ended.errors


async def test_ready_and_the_lists(acsid: Run, api: Client) -> None:
    """`ready` succeeds, and the lists have what is active and what is deleted."""
    active, deleted = await api.new_identity(), await api.deleted_identity()

    assert acsid("ready", "--json").json()["ready"] is True
    assert active in {item["id"] for item in acsid("list", "--json").lines()}
    assert deleted in {item["id"] for item in acsid("deleted", "--json").lines()}
    assert deleted not in {item["id"] for item in acsid("stuck", "--json").lines()}


def test_identities_of_a_database_are_taken_in(
    acsid: Run, created_elsewhere: Callable[[int], list[str]], tmp_path: Path, user: str
) -> None:
    """An import registers what ACS has; the export has all of it, and imports without effect."""
    rows = {one: f"={user}-{n}" for n, one in enumerate(created_elsewhere(120))}
    write(tmp_path, rows | {OF_ANOTHER_RESOURCE: user})
    first = acsid("import", "ids.csv", "--yes", "--json", "--rate", "100")
    acsid("export", "all.csv")
    second = acsid("import", "all.csv", "--yes", "--json", "--rate", "100")

    assert first.json()["results"] == {"registered": 120, "identity_not_found": 1}
    assert first.code == 1
    assert set(second.json()["results"]) == {"unchanged"}
    assert second.code == 0, second.errors
    with (tmp_path / "all.csv").open(newline="") as file:
        exported = {row["id"]: row["userId"] for row in csv.DictReader(file)}
    assert {one: f"'{user}" for one, user in rows.items()}.items() <= exported.items()


async def test_an_imported_entra_user_signs_in_to_the_same_identity(
    acsid: Run,
    created_elsewhere: Callable[[int], list[str]],
    me: Me,
    tmp_path: Path,
) -> None:
    """With `--entra-tenant`, users keep their identities when they sign in themselves."""
    [identity_id] = created_elsewhere(1)
    claimed = claims(me.sign_in_token)
    write(tmp_path, {identity_id: claimed["oid"].upper()})
    acsid("import", "ids.csv", "--entra-tenant", claimed["tid"], "--yes")
    acsid("export", "map.csv", "--format", "graph-map")
    own = (await me.read()).assert_success()

    assert own["id"] == identity_id
    row = f"{identity_id},{claimed['oid']},{claimed['tid']},mapped,"
    assert row in (tmp_path / "map.csv").read_text().splitlines()


async def test_the_sweep_purges(
    run_in: Begin, app_without_retention: App, no_retention: Client, tmp_path: Path
) -> None:
    """`sweep` starts the sweep, which purges what is due."""
    acsid = run_in(of(app_without_retention, tmp_path))
    identity_id = await no_retention.deleted_identity()
    ended = acsid("sweep", "--yes")

    assert ended.code == 0, ended.errors
    await until(lambda: no_retention.is_gone(identity_id))


async def test_a_file_is_deleted_and_restored(
    acsid: Run, api: Client, control: Control, tmp_path: Path
) -> None:
    """`delete --file` deletes, and `restore --file` takes it back."""
    ids = [await api.new_identity() for _ in range(10)]
    write(tmp_path, dict.fromkeys(ids, ""))
    deleted = acsid("delete", "--file", "ids.csv", "--yes", "--json", "--rate", "100")
    gone = [await api.is_active(one) for one in ids]
    restored = acsid("restore", "--file", "ids.csv", "--yes", "--json", "--rate", "100")

    assert deleted.json()["results"] == {"deleted": 10}
    assert not any(gone)
    assert restored.json()["results"] == {"restored": 10}
    assert all([await api.is_active(one) for one in ids])
    assert set(ids) <= await control.active_identities()


async def test_teams_phone_access(acsid: Run, control: Control, tmp_path: Path) -> None:
    """Files give and end access in ACS, and take over what was given without the app."""
    assigned, elsewhere = await control.teams_user(), await control.teams_user()
    await control.assign(elsewhere)
    end = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
    header, rows = "tenantId,objectId,clientIds,expiresOn", (assigned, elsewhere)
    for name, user in zip(("assigned", "elsewhere"), rows, strict=True):
        row = f"{user.tenant_id},{user.user_id},{user.app_id},{end}"
        (tmp_path / f"{name}.csv").write_text(f"{header}\n{row}\n")

    first = acsid("teams", "assign", "assigned.csv", "--yes", "--json").json()["results"]
    taken = acsid("teams", "import", "elsewhere.csv", "--yes", "--json").json()["results"]
    ending = {one["objectId"] for one in acsid("teams", "soon", "--json").lines()}
    agrees = acsid("teams", "check")
    exported = acsid("teams", "export", "all.csv", "--json").json()["states"]
    removed = acsid("teams", "remove", "all.csv", "--yes", "--json").json()["results"]

    users = {user.user_id for user in rows}
    assert (first, taken, removed) == ({"assigned": 1}, {"imported": 1}, {"removed": 2})
    assert (ending, exported) == (users, {"assigned": 2})
    assert agrees.code == 0, agrees.errors
    assert not users & await control.assigned_users()
    assert acsid("teams", "list", "--json").lines() == []


def test_a_killed_import_is_completed(
    acsid: Run,
    app: App,
    created_elsewhere: Callable[[int], list[str]],
    tmp_path: Path,
) -> None:
    """Killed at random moments, an import has every record exactly once in the end."""
    rows = {one: f"{uuid4()}" for one in created_elsewhere(250)}
    write(tmp_path, rows)
    for _ in range(3):
        with subprocess.Popen(  # noqa: S603 -- our own module
            command("import", "ids.csv", "--yes", "--rate", "100"),
            cwd=tmp_path,
            env=of(app, tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            # No condition to wait for: it must survive a kill at any moment.
            time.sleep(random.uniform(0.5, 2))  # noqa: S311 -- no secret
            process.send_signal(signal.SIGKILL)
    ended = acsid("import", "ids.csv", "--yes", "--json", "--rate", "100")

    report = (tmp_path / "ids.csv.acsid-import-report.jsonl").read_text().splitlines()[1:]
    results = [json.loads(line) for line in report]
    assert ended.code == 0, ended.errors
    assert Counter(each["id"] for each in results) == dict.fromkeys(rows, 1)
    assert Counter(each["result"] for each in results) == ended.json()["results"]
    registered = {item["id"]: item.get("userId") for item in acsid("list", "--json").lines()}
    assert rows.items() <= registered.items()
