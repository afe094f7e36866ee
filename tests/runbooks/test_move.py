"""Moving to another ACS resource: a new app beside the old one, which is drained."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from azure.communication.identity.aio import CommunicationIdentityClient

from tests.end_to_end.client import CHAT, Api, Control, until
from tests.end_to_end.stack import Azure, running_azure
from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section

# It has no command but for the deployment; so its steps are done here.
RUNBOOK = section("Move to another ACS resource")

Settings = dict[str, str]


@pytest.fixture(scope="module")
def old_azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The resource of old, with its registry."""
    with running_azure(tmp_path_factory.mktemp("old")) as running:
        yield running


@pytest.fixture
def old_control(session: aiohttp.ClientSession, old_azure: Azure) -> Control:
    """What stands behind the old app."""
    return Control(session, old_azure)


@pytest.fixture
def operator(operate: Operate, old_azure: Azure) -> Operator:
    """Somebody who looks after the app of old; what is deleted there is due at once."""
    return operate(azure=old_azure, settings={"DELETED_IDENTITY_RETENTION_DAYS": "0"})


@pytest.fixture
def old(operator: Operator) -> Api:
    """The operations of the app of old."""
    return operator.api


@pytest.fixture
async def user(old: Api) -> tuple[str, str]:
    """A user of old, and the identity that they have there."""
    user_id = f"user-{uuid4()}"
    made = await old.post("identities", {"userId": user_id})
    return user_id, str(made.assert_success(201)["id"])


async def test_a_user_of_old_is_new_in_the_new_app(
    api: Api, control: Control, user: tuple[str, str]
) -> None:
    """Under the same user id they get an identity that belongs to the new resource."""
    user_id, old_id = user

    made = (await api.post("identities", {"userId": user_id})).assert_success(201)

    resource = (await control.ask("GET", "identities"))["resourceId"]
    assert made["id"].startswith(f"8:acs:{resource}_")
    assert not old_id.startswith(f"8:acs:{resource}_")


async def test_the_new_app_knows_no_id_of_old(api: Api, user: tuple[str, str]) -> None:
    """Whoever has not been handed the new one yet is told so."""
    _, old_id = user

    replies = [
        await api.get(f"identities/{old_id}"),
        await api.post(f"identities/{old_id}/tokens", CHAT),
        await api.delete(f"identities/{old_id}"),
    ]

    for reply in replies:
        reply.assert_problem(404, "identity_not_found")


async def test_the_old_app_is_drained_in_the_end(
    old: Api, old_control: Control, user: tuple[str, str]
) -> None:
    """When all are deleted and the retention is over, its lists and its resource are empty."""
    for identity_id in await old.all_ids("identities"):
        (await old.delete(f"identities/{identity_id}")).assert_success(202)

    await old.sweep()

    async def is_drained() -> bool:
        return not await old.all_ids("deleted-identities")

    await until(is_drained)
    assert await old.all_ids("identities") == []
    assert set((await old_control.identities()).values()) == {"deleted"}


@pytest.fixture
async def old_id(old: Api, old_azure: Azure) -> str:
    """An identity of the old resource, made elsewhere, and due to be deleted there."""
    client = CommunicationIdentityClient.from_connection_string(
        old_azure.env["ACS_CONNECTION_STRING"], connection_verify=old_azure.env["SSL_CERT_FILE"]
    )
    async with client:
        identity_id = str((await client.create_user()).properties["id"])
    (await old.delete(f"identities/{identity_id}")).assert_success(202)
    return identity_id


@pytest.fixture
def both(azure: Azure, old_azure: Azure, tmp_path: Path) -> str:
    """The certificate authorities of both."""
    bundle = tmp_path / "bundle.pem"
    authorities = [Path(each.env["SSL_CERT_FILE"]).read_text() for each in (azure, old_azure)]
    bundle.write_text("".join(authorities))
    return str(bundle)


@pytest.fixture
async def settings_of_new(azure: Azure, control: Control, both: str) -> Settings:
    """What points the old app at the new resource."""
    return {
        "COMMUNICATION_SERVICES_ENDPOINT": azure.env["ACS_ENDPOINT"],
        "COMMUNICATION_SERVICES_ACCESSKEY": (await control.ask("GET", "keys"))["primary"],
        "SSL_CERT_FILE": both,
    }


async def test_an_app_pointed_at_another_resource_forgets_what_the_old_one_still_has(
    operator: Operator, old_control: Control, old_id: str, settings_of_new: Settings
) -> None:
    """Its sweep takes the identity for gone: that is why one must never do it."""
    await operator.sets(**settings_of_new)

    await operator.api.sweep()

    await until(lambda: operator.api.is_gone(old_id))
    assert await old_control.state(old_id) == "active"
