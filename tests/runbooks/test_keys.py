"""The runbook that rotates an ACS key, for an app that uses one."""

from collections.abc import Iterator

import pytest

from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section
from tests.support.client import CHAT, Control, Reply
from tests.support.stack import Azure, running_azure

RUNBOOK = section("rotate-keys")
SET = RUNBOOK.command("list-key")
REGENERATE = RUNBOOK.command("regenerate-key")
ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"

each_setting = pytest.mark.parametrize("setting", [KEY, CONNECTION_STRING])


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """A local Azure whose keys no other test needs."""
    with running_azure(tmp_path_factory.mktemp("azure")) as started:
        yield started


class Rotation:
    """Runs the four steps, and calls the app after each."""

    def __init__(self, operator: Operator, setting: str) -> None:
        self._operator = operator
        self._set = SET
        if setting == CONNECTION_STRING:
            self._set = SET.replace(KEY, setting).replace(
                "secondaryKey", "secondaryConnectionString"
            )
        self.replies: list[Reply] = []

    async def run(self) -> None:
        """Replaces both keys, one after the other."""
        identity_id = await self._operator.api.new_identity()
        for command in (
            self._set,
            REGENERATE,
            self._set.replace("secondary", "primary"),
            REGENERATE.replace("Primary", "Secondary"),
        ):
            await self._operator.run(command)
            api = self._operator.api
            self.replies.append(await api.get("ready"))
            self.replies.append(await api.post(f"identities/{identity_id}/tokens", CHAT))


async def settings(setting: str, azure: Azure, control: Control) -> dict[str, str]:
    """Returns the settings of an app that uses the primary key."""
    primary = (await control.ask("GET", "keys"))["primary"]
    if setting == KEY:
        return {KEY: primary}
    endpoint = azure.env["ACS_ENDPOINT"]
    return {ENDPOINT: "", CONNECTION_STRING: f"endpoint={endpoint}/;accesskey={primary}"}


@each_setting
async def test_no_call_fails_while_keys_are_rotated(
    operate: Operate, azure: Azure, control: Control, setting: str
) -> None:
    """At the end both keys have been replaced, and the identity is the same."""
    before = await control.ask("GET", "keys")
    rotation = Rotation(operate(settings=await settings(setting, azure, control)), setting)

    await rotation.run()

    assert [reply.status for reply in rotation.replies] == [200] * 8
    after = await control.ask("GET", "keys")
    assert not set(before.values()) & set(after.values())


@each_setting
async def test_with_a_replaced_key_calls_are_502(
    operate: Operate, azure: Azure, control: Control, setting: str
) -> None:
    """This happens when the second step is taken without the first."""
    operator = operate(settings=await settings(setting, azure, control))
    (await operator.api.get("ready")).assert_success()

    await operator.run(REGENERATE)

    (await operator.api.post("identities")).assert_problem(502, "acs_refused_us")
