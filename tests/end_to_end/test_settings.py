"""The credentials for ACS, and an app with invalid settings."""

from collections.abc import Mapping

import pytest

from tests.support.client import CHAT, Client, Control
from tests.support.fixtures import StartApp
from tests.support.stack import Azure

ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
ACCESS_KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"
ACS, STORAGE = "https://communication.azure.com", "https://storage.azure.com"

# A value that the log must not contain.
VALUE = "very-secret-value"
# Per case: changed settings, settings left out, and what the log must name.
INVALID: dict[str, tuple[Mapping[str, str], list[str], list[str]]] = {
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
    "an endpoint without TLS": ({ENDPOINT: f"http://{VALUE}"}, [], [f"{ENDPOINT} must"]),
    "a key that is no base64": ({ACCESS_KEY: VALUE}, [], [f"{ACCESS_KEY} must"]),
    "no schedule": ({}, ["CLEANUP_SCHEDULE"], ["CLEANUP_SCHEDULE"]),
    "everything": (
        {
            CONNECTION_STRING: VALUE,
            "AzureWebJobsStorage": VALUE,
            "DELETED_IDENTITY_RETENTION_DAYS": VALUE,
            "PURGE_PROTECTION": VALUE,
            # Not VALUE, because the host logs an invalid schedule.
            "CLEANUP_SCHEDULE": "never",
            "CLEANUP_DELETES_PER_30S": VALUE,
            "CLEANUP_TIME_BUDGET_SECONDS": VALUE,
            "CLEANUP_MAX_ATTEMPTS": VALUE,
        },
        [],
        [
            f"{CONNECTION_STRING} and {ENDPOINT}",
            f"{CONNECTION_STRING} must",
            "AzureWebJobsStorage must",
            "DELETED_IDENTITY_RETENTION_DAYS must",
            "PURGE_PROTECTION must",
            "CLEANUP_SCHEDULE must",
            "CLEANUP_DELETES_PER_30S must",
            "CLEANUP_TIME_BUDGET_SECONDS must",
            "CLEANUP_MAX_ATTEMPTS must",
        ],
    ),
}


def credentials(azure: Azure) -> dict[str, dict[str, str]]:
    """Returns the settings for each credential of Microsoft's quickstart."""
    connection_string = azure.env["ACS_CONNECTION_STRING"]
    return {
        "managed identity": {},
        "key": {ACCESS_KEY: connection_string.partition("accesskey=")[2]},
        "connection string": {ENDPOINT: "", CONNECTION_STRING: connection_string},
    }


@pytest.mark.parametrize(
    ("credential", "requests"),
    [
        ("managed identity", {ACS: 1, STORAGE: 1}),
        ("key", {ACS: 0, STORAGE: 1}),
        ("connection string", {ACS: 0, STORAGE: 1}),
    ],
    ids=["managed identity", "key", "connection string"],
)
async def test_each_credential_works(
    start_app: StartApp, azure: Azure, control: Control, credential: str, requests: dict[str, int]
) -> None:
    """The managed identity is asked once for each token that the credential needs."""
    before = await control.token_requests()

    new = start_app(**credentials(azure)[credential])
    created = await new.post("identities/with-token", CHAT)

    assert await control.token_state(created.assert_success(201)["token"]) == "valid"
    after = await control.token_requests()
    assert {name: after.get(name, 0) - before.get(name, 0) for name in requests} == requests


async def test_a_wrong_key_is_502(start_app: StartApp, control: Control) -> None:
    """The caller can do nothing about it; the log says what to do."""
    new = start_app(**{ACCESS_KEY: "a2V5"})

    reply = await new.post("identities")

    problem = reply.assert_problem(502, "acs_refused_us")
    assert problem["upstreamRequestId"]
    assert "Communication and Email Service Owner" in new.app.log
    assert "a2V5" not in new.app.log


@pytest.mark.parametrize("case", INVALID)
async def test_an_app_with_invalid_settings_responds_with_503(
    start_app: StartApp, api: Client, case: str
) -> None:
    """It is loaded, and one line of the log names every invalid setting and never a value."""
    changes, without, named = INVALID[case]
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
    assert await new.http_functions() == await api.http_functions()
    line = next(line for line in new.app.log.splitlines() if "not_configured " in line)
    assert [name for name in named if name not in line] == []
    assert "a2V5" not in line
    assert not any(VALUE in text for text in (new.app.log, replies[0].body.decode()))
