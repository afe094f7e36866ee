"""Rotating the key of ACS where the app was given one."""

import pytest

from tests.end_to_end.client import CHAT, Control, Reply
from tests.end_to_end.stack import Azure
from tests.runbooks.conftest import Operate
from tests.runbooks.operator import Operator
from tests.runbooks.page import section

RUNBOOK = section("Rotate keys")
SET = RUNBOOK.command("list-key")
ANEW = RUNBOOK.command("regenerate-key")
ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"

each_way = pytest.mark.parametrize("way", [KEY, CONNECTION_STRING])


class Rotation:
    """The four steps, each with the calls that are made after it."""

    def __init__(self, operator: Operator, way: str) -> None:
        self._operator = operator
        self._set = SET
        if way == CONNECTION_STRING:
            self._set = SET.replace(KEY, way).replace("secondaryKey", "secondaryConnectionString")
        self.replies: list[Reply] = []
        self.identity_id = ""

    async def goes(self) -> None:
        """From the old primary key to the new one."""
        self.identity_id = await self._operator.api.new_identity()
        for command in (self._set, ANEW):
            await self.step(command)
        await self.step(self._set.replace("secondary", "primary"))
        await self.step(ANEW.replace("Primary", "Secondary"))

    async def step(self, command: str) -> None:
        """One of them; then the app is asked whether it is ready, and for a token."""
        await self._operator.runs(command)
        api = self._operator.api
        self.replies.append(await api.get("ready"))
        self.replies.append(await api.post(f"identities/{self.identity_id}/tokens", CHAT))


async def settings(way: str, azure: Azure, control: Control) -> dict[str, str]:
    """Those of an app that has the primary key."""
    primary = (await control.ask("GET", "keys"))["primary"]
    endpoint = azure.env["ACS_ENDPOINT"]
    if way == KEY:
        return {KEY: primary}
    return {ENDPOINT: "", CONNECTION_STRING: f"endpoint={endpoint}/;accesskey={primary}"}


@each_way
async def test_no_call_fails_while_keys_are_rotated(
    operate: Operate, azure: Azure, control: Control, way: str
) -> None:
    """Whichever key it is, the identity stays the same; in the end both keys are other ones."""
    before = await control.ask("GET", "keys")
    rotation = Rotation(operate(settings=await settings(way, azure, control)), way)

    await rotation.goes()

    assert [reply.status for reply in rotation.replies] == [200] * 8
    after = await control.ask("GET", "keys")
    assert not set(before.values()) & set(after.values())


@each_way
async def test_with_a_key_that_is_no_more_callers_get_502(
    operate: Operate, azure: Azure, control: Control, way: str
) -> None:
    """That is what comes of the second step without the first."""
    operator = operate(settings=await settings(way, azure, control))
    (await operator.api.get("ready")).assert_success()

    await operator.runs(ANEW)

    (await operator.api.post("identities")).assert_problem(502, "acs_refused_us")
