"""The runbooks of docs/retirement.md: take in, map, hold, switch, erase."""

import csv
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest

from tests.runbooks.conftest import Operate, created_elsewhere
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import CHAT, Client, Control, until
from tests.support.stack import App, Azure, running_azure

TAKE_IN = section("take-identities-in")
DRY_RUN = TAKE_IN.command("users.csv --dry-run")
IMPORT = TAKE_IN.command("users.csv --yes")
IMPORT_ENTRA = TAKE_IN.command("--entra-tenant")
FIND = TAKE_IN.command("acsid find")
MAP = section("write-the-inventory-and-the-map").command("graph-map")
HOLD = section("hold-purges-until-the-data-is-archived")
SET_HOLD = HOLD.command("PURGE_HOLD")
READY = HOLD.command("acsid ready")
DELETED = HOLD.command("acsid deleted")
CALLING = section("switch-to-calling-only")
SWITCH = CALLING.command("USER_TOKEN_SCOPES")
REVOKE = CALLING.command("acsid revoke")
ERASE = section("erase-everything-and-prove-it")
AT_ONCE = ERASE.command("RETENTION_DAYS")
EXPORT = ERASE.command("export everything.csv")
DELETE = ERASE.command("delete --file")
END_ACCESS = ERASE.command("acsid teams export")
SWEEP = ERASE.command("acsid sweep")
PURGE = ERASE.command("acsid purge")
PROVE = ERASE.command("entity query")
ROLL_BACK = section("roll-back").command("acsid list")

TENANT = "11111111-2222-3333-4444-555555555555"
VOIP = {"scopes": ["voip"]}


def write_users(operator: Operator, users: dict[str, str]) -> None:
    """Writes the table of a team: for each user the id of the identity."""
    rows = "".join(f"{identity_id},{user}\n" for user, identity_id in users.items())
    (operator.folder / "users.csv").write_text(f"CommunicationServicesId,userId\n{rows}")


def read_rows(file: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file."""
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture
async def users(azure: Azure, operator: Operator) -> dict[str, str]:
    """The identity of each user of a team, created without the app and written to its table."""
    found = {f"user-{uuid4()}": await created_elsewhere(azure) for _ in range(2)}
    write_users(operator, found)
    return found


async def registered(api: Client, user: str) -> list[str]:
    """Returns the ids that the registry has for a user."""
    found = (await api.get(f"identities?userId={user}")).assert_success()
    return [each["id"] for each in found["value"]]


async def test_a_dry_run_registers_nothing(
    api: Client, operator: Operator, users: dict[str, str]
) -> None:
    """The command succeeds, and the registry does not know the users."""
    await operator.run(DRY_RUN)

    assert [await registered(api, user) for user in users] == [[], []]


async def test_an_import_registers_each_user(
    api: Client, operator: Operator, users: dict[str, str]
) -> None:
    """Each user has the identity that the table says."""
    await operator.run(IMPORT)

    assert {user: await registered(api, user) for user in users} == {
        user: [identity_id] for user, identity_id in users.items()
    }


async def test_find_shows_an_imported_user(operator: Operator, users: dict[str, str]) -> None:
    """The output has the identity."""
    await operator.run(IMPORT)
    [user, *_] = users

    output = (await operator.run(FIND, USER=user)).output

    assert users[user] in output


async def test_an_imported_entra_user_keeps_the_identity(
    azure: Azure, api: Client, operator: Operator
) -> None:
    """Imported by object id, the user is the one whose identity a sign-in finds."""
    object_id, identity_id = str(uuid4()), await created_elsewhere(azure)
    write_users(operator, {object_id: identity_id})

    await operator.run(IMPORT_ENTRA, TENANT=TENANT)

    user = f"aad/{TENANT}/{object_id}"
    found = (await api.post("identities", {"userId": user})).assert_success(200)
    assert found["id"] == identity_id


async def test_the_inventory_has_every_state(api: Client, operator: Operator) -> None:
    """Active and deleted identities are in it."""
    active, deleted = await api.new_identity(), await api.deleted_identity()

    await operator.run(MAP)

    states = {row["id"]: row["state"] for row in read_rows(operator.folder / "inventory.csv")}
    assert (states[active], states[deleted]) == ("active", "deleted")


async def test_the_map_names_the_entra_users(api: Client, operator: Operator) -> None:
    """Users of Entra are mapped, all others are unresolved."""
    object_id = str(uuid4())
    user = {"userId": f"aad/{TENANT}/{object_id}"}
    mapped = (await api.post("identities", user)).assert_success(201)["id"]
    other = await api.new_identity()

    await operator.run(MAP)

    rows = {row["acs_user_id"]: row for row in read_rows(operator.folder / "map.csv")}
    assert rows[mapped] == {
        "acs_user_id": mapped,
        "entra_object_id": object_id,
        "target_tenant_id": TENANT,
        "status": "mapped",
        "decision_owner": "",
    }
    assert rows[other]["status"] == "unresolved"


@pytest.fixture
async def holding(operate: Operate) -> Operator:
    """The operator of an app that holds purges. Deleted identities are due at once."""
    operator = operate(settings={"DELETED_IDENTITY_RETENTION_DAYS": "0"})
    await operator.run(SET_HOLD)
    return operator


async def swept(operator: Operator) -> None:
    """Runs a sweep to its end."""
    before = operator.api.app.log.count("sweep_finished ")
    await operator.api.sweep()

    async def has_finished() -> bool:
        return operator.api.app.log.count("sweep_finished ") > before

    await until(has_finished)


async def test_a_held_purge_waits(holding: Operator, control: Control) -> None:
    """The sweep leaves the identity in ACS, and ready counts it."""
    identity_id = await holding.api.deleted_identity()

    await swept(holding)

    assert await control.state(identity_id) == "active"
    assert (await holding.run(READY)).json()["registry"]["heldPurges"] > 0


async def test_a_held_identity_is_listed(holding: Operator) -> None:
    """The operator finds what is still to be archived."""
    identity_id = await holding.api.deleted_identity()

    assert identity_id in (await holding.run(DELETED)).output


async def test_the_end_of_the_hold_purges(holding: Operator, control: Control) -> None:
    """The next sweep purges what has waited."""
    identity_id = await holding.api.deleted_identity()
    await swept(holding)

    await holding.run(SET_HOLD.replace("PURGE_HOLD=true", "PURGE_HOLD=false"))
    await holding.api.sweep()

    await until(partial(holding.api.is_gone, identity_id))
    assert await control.state(identity_id) == "deleted"


async def test_only_calling_is_left(operate: Operate) -> None:
    """A service gets `voip`, and is refused `chat`."""
    operator = operate(settings={})
    await operator.run(SWITCH)
    path = f"identities/{await operator.api.new_identity()}/tokens"

    (await operator.api.post(path, VOIP)).assert_success(200)
    (await operator.api.post(path, CHAT)).assert_problem(403, "not_allowed")


async def test_earlier_chat_tokens_can_be_revoked(
    api: Client, operator: Operator, control: Control
) -> None:
    """The command ends a token that was issued before the switch."""
    identity_id = await api.new_identity()
    token = await api.new_token(identity_id)

    await operator.run(REVOKE, ID=identity_id)

    assert await control.token_state(token) != "valid"


@pytest.fixture(scope="module")
def last_azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A resource and a registry of which nothing stays."""
    with running_azure(tmp_path_factory.mktemp("last")) as started:
        yield started


@pytest.fixture
def last_control(session: aiohttp.ClientSession, last_azure: Azure) -> Control:
    """The control endpoint of that resource."""
    return Control(session, last_azure.env)


@pytest.fixture
async def last(operate: Operate, last_azure: Azure) -> Operator:
    """The operator of an app at its end: it has active identities, and some deleted earlier."""
    operator = operate(azure=last_azure, settings={"PURGE_HOLD": "true"})
    (await operator.api.post("identities", {"userId": f"user-{uuid4()}"})).assert_success(201)
    await operator.api.new_identity()
    await operator.api.deleted_identity()
    return operator


async def test_everything_is_erased_and_proven(last: Operator, last_control: Control) -> None:
    """After the steps ACS has no identity, the export is empty, and no row is about one."""
    earlier = await last.api.all_ids("deleted-identities")
    await last.run(AT_ONCE)
    await last.run(EXPORT)
    await last.run(DELETE)
    await last.run(SWEEP)
    for identity_id in earlier:
        await last.run(PURGE, ID=identity_id)
    await until(partial(is_empty, last.api))

    proof = (await last.run(PROVE)).output

    assert len(read_rows(last.folder / "everything.csv")) == len(await last_control.identities())
    assert set((await last_control.identities()).values()) == {"deleted"}
    assert read_rows(last.folder / "left.csv") == []
    rows = json.loads(proof[proof.index('{"items"') :])["items"]
    assert {row["RowKey"] for row in rows} == {"r|resource", "s|sweep"}


async def is_empty(api: Client) -> bool:
    """Whether no deleted identity is left."""
    return not await api.all_ids("deleted-identities")


async def test_the_proof_fails_if_something_is_left(last: Operator) -> None:
    """Without the deletions, the export and the table have the identities."""
    proof = (await last.run(PROVE)).output

    assert read_rows(last.folder / "left.csv") != []
    rows = json.loads(proof[proof.index('{"items"') :])["items"]
    assert any(row["RowKey"].startswith("i|") for row in rows)


async def test_everybodys_teams_access_ends(
    api: Client, operator: Operator, control: Control
) -> None:
    """ACS has no assignment any more, and the file has who had one."""
    user = await control.teams_user()
    (await api.call("PUT", user.path, user.body())).assert_success(201)

    await operator.run(END_ACCESS)

    assert user.user_id not in await control.assigned_users()
    rows = {row["objectId"]: row["state"] for row in read_rows(operator.folder / "access.csv")}
    assert rows[user.user_id] == "assigned"


async def test_what_a_roll_back_must_not_find_is_listed(app: App, operator: Operator) -> None:
    """The deleted identities are listed; none is being registered."""
    identity_id = await operator.api.deleted_identity()

    output = (await operator.run(ROLL_BACK)).output

    assert identity_id in output
    assert '"registering"' not in output
