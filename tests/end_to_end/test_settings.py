"""What the settings choose, and what becomes of an app whose settings are at fault."""

from collections.abc import Mapping

import pytest

from tests.end_to_end.client import CHAT, Api, Control
from tests.end_to_end.conftest import StartApp
from tests.end_to_end.stack import Azure

ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
ACCESS_KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"
ACS, STORAGE = "https://communication.azure.com", "https://storage.azure.com"

# Secret by the looks of it: no log may hold it.
VALUE = "very-secret-value"
# Of each fault: the settings, those left out, and what the log names.
FAULTS: dict[str, tuple[Mapping[str, str], list[str], list[str]]] = {
    "none at all": ({}, [ENDPOINT], [ENDPOINT, CONNECTION_STRING]),
    "two ways at once": (
        {
            CONNECTION_STRING: "endpoint=https://very-secret-value;accesskey=a2V5",
            ACCESS_KEY: "a2V5",
        },
        [],
        [f"{CONNECTION_STRING} and {ENDPOINT}", f"{CONNECTION_STRING} and {ACCESS_KEY}"],
    ),
    "a key without endpoint": ({ACCESS_KEY: "a2V5"}, [ENDPOINT], [ENDPOINT]),
    "an endpoint without TLS": ({ENDPOINT: f"http://{VALUE}"}, [], [f"{ENDPOINT}: "]),
    "a key that is no base64": ({ACCESS_KEY: VALUE}, [], [f"{ACCESS_KEY}: "]),
    "no schedule": ({}, ["CLEANUP_SCHEDULE"], ["CLEANUP_SCHEDULE"]),
    "everything": (
        {
            CONNECTION_STRING: VALUE,
            "AzureWebJobsStorage": VALUE,
            "DELETED_IDENTITY_RETENTION_DAYS": VALUE,
            "PURGE_PROTECTION": VALUE,
            # The host itself tells of it in the log, where it is no schedule.
            "CLEANUP_SCHEDULE": "never",
            "CLEANUP_DELETES_PER_30S": VALUE,
            "CLEANUP_TIME_BUDGET_SECONDS": VALUE,
            "CLEANUP_MAX_ATTEMPTS": VALUE,
        },
        [],
        [
            f"{CONNECTION_STRING} and {ENDPOINT}",
            f"{CONNECTION_STRING} is not",
            "AzureWebJobsStorage is not",
            "DELETED_IDENTITY_RETENTION_DAYS must",
            "PURGE_PROTECTION must",
            "CLEANUP_SCHEDULE is",
            "CLEANUP_DELETES_PER_30S must",
            "CLEANUP_TIME_BUDGET_SECONDS must",
            "CLEANUP_MAX_ATTEMPTS must",
        ],
    ),
}


def credentials(azure: Azure) -> dict[str, dict[str, str]]:
    """The settings of the three ways of Microsoft's quickstart."""
    connection_string = azure.env["ACS_CONNECTION_STRING"]
    return {
        "managed identity": {},
        "key": {ACCESS_KEY: connection_string.partition("accesskey=")[2]},
        "connection string": {ENDPOINT: "", CONNECTION_STRING: connection_string},
    }


@pytest.mark.parametrize(
    ("way", "asked_for"),
    [
        ("managed identity", {ACS: 1, STORAGE: 1}),
        ("key", {ACS: 0, STORAGE: 1}),
        ("connection string", {ACS: 0, STORAGE: 1}),
    ],
    ids=["managed identity", "key", "connection string"],
)
async def test_acs_takes_each_credential(
    start_app: StartApp, azure: Azure, control: Control, way: str, asked_for: dict[str, int]
) -> None:
    """And the managed identity is asked for tokens of what needs it, once."""
    before = await control.identity_requests()

    new = start_app(**credentials(azure)[way])
    made = await new.post("identities/with-token", CHAT)

    assert await control.fate(made.assert_success(201)["token"]) == "works"
    after = await control.identity_requests()
    assert {name: after.get(name, 0) - before.get(name, 0) for name in asked_for} == asked_for
    assert new.app.leaks() == []


async def test_a_wrong_key_is_a_502(start_app: StartApp, control: Control) -> None:
    """The caller has done nothing wrong; the log says what to do."""
    new = start_app(**{ACCESS_KEY: "a2V5"})

    reply = await new.post("identities")

    problem = reply.assert_problem(502, "acs_refused_us")
    assert problem["upstreamRequestId"]
    assert "Communication and Email Service Owner" in new.app.log
    assert "a2V5" not in new.app.log


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_app_with_faulty_settings_is_indexed_and_says_so(
    start_app: StartApp, api: Api, fault: str
) -> None:
    """503 and no more than that; the log names every fault in one message, and never a value."""
    changes, without, named = FAULTS[fault]
    new = start_app(without, **changes)

    replies = [
        await new.post("identities"),
        await new.post("identities/with-token", CHAT),
        await new.get("identities"),
        await new.get("ready"),
    ]

    for reply in replies:
        reply.assert_problem(503, "not_configured")
    health = await new.call("GET", "health", headers={})
    assert health.assert_success(503) == {"status": "not_configured"}
    assert await functions(new) == await functions(api)
    line = next(line for line in new.app.log.splitlines() if "not_configured faults=" in line)
    assert [name for name in named if name not in line] == []
    assert "a2V5" not in line
    assert not any(VALUE in text for text in (new.app.log, replies[0].body.decode()))


async def functions(api: Api) -> list[str]:
    """The names of the functions that the host has indexed and that serve requests."""
    headers = {"x-functions-key": api.app.master_key}
    reply = await api.call("GET", "functions", headers=headers, prefix="/admin/")
    return [each["name"] for each in reply.json() if each["trigger"] == "http"]
