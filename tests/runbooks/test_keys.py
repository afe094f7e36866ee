"""The runbook that rotates an ACS key, for an app that uses one."""

from collections.abc import Iterator

import pytest

from tests.runbooks.conftest import Operate
from tests.runbooks.page import section
from tests.support.client import CHAT, Control
from tests.support.stack import Azure, running_azure

RUNBOOK = section("rotate-keys")
SET = RUNBOOK.command("list-key")
REGENERATE = RUNBOOK.command("regenerate-key")
ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A local Azure whose keys no other test needs."""
    with running_azure(tmp_path_factory.mktemp("azure")) as started:
        yield started


@pytest.mark.parametrize("setting", [KEY, CONNECTION_STRING])
async def test_no_call_fails_while_keys_are_rotated(
    operate: Operate, azure: Azure, control: Control, setting: str
) -> None:
    """After the four steps both keys have been replaced, and the identity is the same."""
    before = await control.ask("GET", "keys")
    settings, set_key = {KEY: before["primary"]}, SET
    if setting == CONNECTION_STRING:
        text = f"endpoint={azure.env['ACS_ENDPOINT']}/;accesskey={before['primary']}"
        settings = {ENDPOINT: "", CONNECTION_STRING: text}
        set_key = SET.replace(KEY, setting).replace("secondaryKey", "secondaryConnectionString")
    operator = operate(settings=settings)
    identity_id = await operator.api.new_identity()
    statuses: list[int] = []

    for command in (
        set_key,
        REGENERATE,
        set_key.replace("secondary", "primary"),
        REGENERATE.replace("Primary", "Secondary"),
    ):
        await operator.run(command)
        ready = await operator.api.get("ready")
        issued = await operator.api.post(f"identities/{identity_id}/tokens", CHAT)
        statuses += [ready.status, issued.status]

    assert statuses == [200] * 8
    after = await control.ask("GET", "keys")
    assert not set(before.values()) & set(after.values())
