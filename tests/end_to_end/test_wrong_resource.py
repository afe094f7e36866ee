"""A staging slot that shares the table with production but uses another ACS resource."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.support.client import CHAT, Client, Control, until
from tests.support.fixtures import StartApp
from tests.support.stack import HOST_URL, Azure, running

RESOURCE_ID = "COMMUNICATION_SERVICES_RESOURCE_ID"


@dataclass(frozen=True)
class OtherResource:
    """Another ACS resource.

    Attributes:
        settings: Settings that connect an app to it. The id of the resource is not one of them.
    """

    control: Control
    settings: dict[str, str]


@pytest.fixture(scope="module")
def other_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of another ACS resource."""
    if HOST_URL:
        pytest.skip("starts an app of its own")
    with running(tmp_path_factory.mktemp("other"), "acs") as env:
        yield env


@pytest.fixture
def other(
    azure: Azure, other_env: dict[str, str], session: aiohttp.ClientSession, tmp_path: Path
) -> OtherResource:
    """Another ACS resource, whose certificate the app trusts too."""
    bundle = tmp_path / "bundle.pem"
    authorities = [each["SSL_CERT_FILE"] for each in (azure.env, other_env)]
    bundle.write_text("".join(Path(each).read_text() for each in authorities))
    endpoint, _, key = other_env["ACS_CONNECTION_STRING"].partition(";accesskey=")
    settings = {
        "COMMUNICATION_SERVICES_ENDPOINT": endpoint.removeprefix("endpoint="),
        "COMMUNICATION_SERVICES_ACCESSKEY": key,
        "SSL_CERT_FILE": str(bundle),
    }
    return OtherResource(Control(session, other_env), settings)


@pytest.fixture
async def identity_id(api: Client) -> str:
    """The id of an identity of production."""
    return await api.new_identity()


@pytest.mark.parametrize("without", [(), (RESOURCE_ID,)], ids=["old setting", "no setting"])
async def test_slot_changes_nothing(
    start_app: StartApp, api: Client, other: OtherResource, identity_id: str, without: tuple[str]
) -> None:
    """Even if only the endpoint was changed, every call gets 503, and no identity changes."""
    deleted = await api.deleted_identity()
    slot = start_app(without, **other.settings)
    slot.app.secrets.add(other.settings["COMMUNICATION_SERVICES_ACCESSKEY"])

    replies = await asyncio.gather(
        slot.post("identities"),
        slot.post("identities/with-token", CHAT),
        slot.post("identities", {"userId": "a user of the slot"}),
        slot.call("PUT", f"identities/{identity_id}", {}),
        slot.post("identities/import", {"identities": [{"id": identity_id}]}),
        slot.delete(f"identities/{identity_id}/registration"),
        slot.post(f"identities/{identity_id}/suspend"),
        slot.post(f"identities/{identity_id}/resume"),
        slot.delete(f"identities/{identity_id}"),
        slot.post(f"identities/{identity_id}/tokens", CHAT),
        slot.delete(f"identities/{identity_id}/tokens"),
        slot.post(f"deleted-identities/{deleted}/restore"),
        slot.delete(f"deleted-identities/{deleted}"),
    )

    for reply in replies:
        reply.assert_problem(503, "wrong_resource")
    assert await other.control.identities() == {}
    assert await api.is_active(identity_id)
    assert not await api.is_gone(deleted)
    assert await api.new_token(identity_id)


async def test_ready_and_the_sweep(
    start_app: StartApp, api: Client, other: OtherResource, identity_id: str
) -> None:
    """`ready` is 503. The sweep fails before it does anything, and its log says why."""
    slot = start_app(**other.settings)
    slot.app.secrets.add(other.settings["COMMUNICATION_SERVICES_ACCESSKEY"])

    not_ready = await slot.get("ready")
    await slot.sweep()

    async def has_failed() -> bool:
        return "sweep_failed code=wrong_resource " in slot.app.log

    await until(has_failed)
    assert (not_ready.status, not_ready.json()["acs"]["status"]) == (503, "wrong_resource")
    resource = identity_id.removeprefix("8:acs:").partition("_")[0]
    assert f"wrong_resource recorded={resource} setting={resource} acs=another" in slot.app.log
    assert resource not in not_ready.body.decode()
    assert await api.is_active(identity_id)


async def test_setting_names_the_other_resource(
    start_app: StartApp, api: Client, other: OtherResource, identity_id: str
) -> None:
    """With its own resource in the settings, the first call of a slot is refused too."""
    listed = await other.control.ask("GET", "identities")
    settings = {**other.settings, RESOURCE_ID: listed["resourceId"]}
    slot = start_app(**settings)
    slot.app.secrets.add(other.settings["COMMUNICATION_SERVICES_ACCESSKEY"])

    (await slot.delete(f"identities/{identity_id}")).assert_problem(503, "wrong_resource")

    assert f" setting={listed['resourceId']} " in slot.app.log
    assert await api.is_active(identity_id)
