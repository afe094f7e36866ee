"""The runbook for another ACS resource: a new app, and an old app that is drained."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from identity_service.identity import resource_of
from tests.runbooks.conftest import Operate, created_elsewhere
from tests.runbooks.operator import TABLES, Operator
from tests.runbooks.page import section
from tests.support.client import Client, Control, until
from tests.support.stack import Azure, running_azure
from tests.survival.records import Records, due, made_up_id

# Its only commands deploy an app, so the tests follow its steps.
RUNBOOK = section("move-to-another-acs-resource")
SAME_APP = section("use-the-same-app-with-another-acs-resource")
EXPORT = SAME_APP.command("acsid export")
DELETE = SAME_APP.command("acsid delete")
PURGE = SAME_APP.command("acsid purge")
UNREGISTER = SAME_APP.command("acsid unregister")
EXPORT_ACCESS = SAME_APP.command("acsid teams export")
END_ACCESS = SAME_APP.command("acsid teams remove")
GIVE_ACCESS = SAME_APP.command("acsid teams assign")
CLEAR = SAME_APP.command("entity delete")
STRAYS = section("remove-identities-of-another-acs-resource")
REMOVE = STRAYS.command("entity delete")


@pytest.fixture
def old_azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The old resource and its registry."""
    with running_azure(tmp_path_factory.mktemp("old")) as started:
        yield started


@pytest.fixture
def old_control(session: aiohttp.ClientSession, old_azure: Azure) -> Control:
    """The control endpoint of the old resource."""
    return Control(session, old_azure.env)


@pytest.fixture
def operator(operate: Operate, old_azure: Azure) -> Operator:
    """The operator of the old app, in which deleted identities are due at once."""
    return operate(azure=old_azure, settings={"DELETED_IDENTITY_RETENTION_DAYS": "0"})


@pytest.fixture
def old(operator: Operator) -> Client:
    """A service that calls the old app."""
    return operator.api


async def test_the_old_app_is_drained(old: Client, old_control: Control) -> None:
    """After all deletions and the retention, its lists and its resource are empty."""
    await old.new_identity()
    for identity_id in await old.all_ids("identities"):
        (await old.delete(f"identities/{identity_id}")).assert_success(202)

    await old.sweep()

    async def is_drained() -> bool:
        return not await old.all_ids("deleted-identities")

    await until(is_drained)
    assert await old.all_ids("identities") == []
    assert set((await old_control.identities()).values()) == {"deleted"}


@pytest.fixture
async def old_id(old: Client, old_azure: Azure, old_control: Control) -> str:
    """The id of an identity of the old resource that is due to be deleted.

    It is older than an hour: before that, the sweep does not believe that it is missing.
    """
    identity_id = await created_elsewhere(old_azure)
    (await old.get("identities")).assert_success(200)  # creates the table
    trust = ssl.create_default_context(cafile=old_azure.env["SSL_CERT_FILE"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        records = Records(old_azure, session, old_control, old_azure.settings[TABLES])
        await records.write("registry", [due(identity_id)])
    return identity_id


@pytest.fixture
def bundle(azure: Azure, old_azure: Azure, tmp_path: Path) -> Path:
    """The certificate authorities of both."""
    file = tmp_path / "bundle.pem"
    authorities = [Path(each.env["SSL_CERT_FILE"]).read_text() for each in (azure, old_azure)]
    file.write_text("".join(authorities))
    return file


@pytest.fixture
async def new_settings(azure: Azure, control: Control, bundle: Path) -> dict[str, str]:
    """Settings that connect the old app to the new resource."""
    return {
        "COMMUNICATION_SERVICES_ENDPOINT": azure.env["ACS_ENDPOINT"],
        "COMMUNICATION_SERVICES_ACCESSKEY": (await control.ask("GET", "keys"))["primary"],
        "SSL_CERT_FILE": str(bundle),
    }


@pytest.fixture
async def new_guid(control: Control) -> str:
    """The GUID of the new resource."""
    return str((await control.ask("GET", "identities"))["resourceId"])


async def test_an_app_at_another_resource_changes_nothing(
    operator: Operator, old_control: Control, old_id: str, new_settings: dict[str, str]
) -> None:
    """Its sweep fails, and what was due stays due."""
    await operator.change_settings(**new_settings)

    await operator.api.sweep()

    await until(lambda: has_failed(operator.api))
    assert not await operator.api.is_gone(old_id)
    assert await old_control.state(old_id) == "active"


async def has_failed(api: Client) -> bool:
    """Whether a sweep has failed because of the resource."""
    return "sweep_failed code=wrong_resource " in api.app.log


async def is_ready(api: Client) -> bool:
    """Whether the app uses the registry's resource."""
    return (await api.get("ready")).status == 200


async def test_the_same_app_with_another_resource(
    operator: Operator,
    control: Control,
    old_control: Control,
    new_settings: dict[str, str],
    new_guid: str,
) -> None:
    """Without identities and without the record, the new resource becomes the registry's.

    Who had Teams Phone access in the old one has it in the new one.
    """
    api = operator.api
    user = await old_control.teams_user()
    (await api.call("PUT", user.path, user.body())).assert_success(201)
    await operator.run(EXPORT, FILE="identities.csv")
    await operator.run(EXPORT_ACCESS)
    await operator.run(END_ACCESS)
    left = await old_control.assigned_users()
    ended, kept = await api.new_identity(), await api.new_identity()
    for identity_id in {*await api.all_ids("identities")} - {kept}:
        await operator.run(DELETE, ID=identity_id)
    for identity_id in await api.all_ids("deleted-identities"):
        await operator.run(PURGE, ID=identity_id)
    await operator.run(UNREGISTER, ID=kept)
    assert await api.is_gone(ended)
    await operator.change_settings(**new_settings, COMMUNICATION_SERVICES_RESOURCE_ID=new_guid)
    refused = await operator.api.post("identities")

    await operator.run(CLEAR)

    refused.assert_problem(503, "wrong_resource")
    await until(lambda: is_ready(operator.api))
    assert await control.state(await operator.api.new_identity()) == "active"
    await operator.run(GIVE_ACCESS)
    assert (left, user.user_id in await control.assigned_users()) == (set(), True)


async def test_identities_of_another_resource_are_removed(
    operator: Operator, old_azure: Azure, old_control: Control, session: aiohttp.ClientSession
) -> None:
    """Their rows and due entries are gone, and all others are still there."""
    kept = await operator.api.deleted_identity()
    stray = made_up_id()
    trust = ssl.create_default_context(cafile=old_azure.env["SSL_CERT_FILE"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as trusting:
        records = Records(old_azure, trusting, old_control, old_azure.settings[TABLES])
        await records.write("registry", [due(stray)])
    assert stray in await operator.api.all_ids("deleted-identities")

    await operator.run(REMOVE, OTHER=resource_of(stray))

    assert await operator.api.all_ids("deleted-identities") == [kept]
    assert await operator.api.is_gone(stray)
