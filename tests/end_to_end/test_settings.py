"""The credentials for ACS, the token policies, and an app with invalid settings."""

import pytest

from tests.support.client import CHAT, Client, Control, claims
from tests.support.fixtures import StartApp
from tests.support.stack import Azure

ENDPOINT = "COMMUNICATION_SERVICES_ENDPOINT"
ACCESS_KEY = "COMMUNICATION_SERVICES_ACCESSKEY"
CONNECTION_STRING = "COMMUNICATION_SERVICES_CONNECTION_STRING"
ACS, STORAGE = "https://communication.azure.com", "https://storage.azure.com"

# A value that the log must not contain.
VALUE = "very-secret-value"
# Per case: changed settings, settings left out, and what the log must name.
INVALID: dict[str, tuple[dict[str, str], list[str], list[str]]] = {
    # The host reads this setting before the app does.
    "no schedule": ({}, ["CLEANUP_SCHEDULE"], ["CLEANUP_SCHEDULE"]),
    "several": (
        # The schedule is another value, because the host logs it.
        {CONNECTION_STRING: VALUE, "PURGE_PROTECTION": VALUE, "CLEANUP_SCHEDULE": "never"},
        [],
        [
            f"{CONNECTION_STRING} and {ENDPOINT}",
            f"{CONNECTION_STRING} must",
            "PURGE_PROTECTION must",
            "CLEANUP_SCHEDULE must",
        ],
    ),
}


@pytest.mark.parametrize(
    ("credential", "tokens_for_acs"),
    [("managed identity", 1), ("key", 0), ("connection string", 0)],
)
async def test_each_credential_works(
    start_app: StartApp, azure: Azure, control: Control, credential: str, tokens_for_acs: int
) -> None:
    """The managed identity is asked once for each token that the credential needs."""
    connection_string = azure.env["ACS_CONNECTION_STRING"]
    settings = {
        "managed identity": {},
        "key": {ACCESS_KEY: connection_string.partition("accesskey=")[2]},
        "connection string": {ENDPOINT: "", CONNECTION_STRING: connection_string},
    }[credential]
    before = await control.token_requests()

    app = start_app(**settings)
    created = (await app.post("identities/with-token", CHAT)).assert_success(201)
    issued = await app.new_token(created["id"])  # here the path has an id, which a key signs

    assert [await control.token_state(each) for each in (created["token"], issued)] == ["valid"] * 2
    after = await control.token_requests()
    requests = [after.get(name, 0) - before.get(name, 0) for name in (ACS, STORAGE)]
    assert requests == [tokens_for_acs, 1]


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
    assert not any(VALUE in text for text in (new.app.log, replies[0].body.decode()))


async def test_each_kind_of_caller_has_its_policy(
    start_app: StartApp, control: Control, user: str
) -> None:
    """It holds for every operation that issues tokens."""
    service = start_app(
        USER_TOKEN_SCOPES="voip.join",
        USER_TOKEN_DEFAULT_MINUTES="90",
        USER_TOKEN_MAX_MINUTES="100",
        SERVICE_TOKEN_SCOPES="chat",
        SERVICE_TOKEN_DEFAULT_MINUTES="60",
        SERVICE_TOKEN_MAX_MINUTES="70",
    )
    me = service.signed_in(await control.sign_in(user))

    issued = (await me.issue()).assert_success()
    refused = (await me.issue(**CHAT)).assert_problem(403, "not_allowed")
    assert (lifetime(issued["token"]), refused["allowed"]) == (90 * 60, "voip.join")
    assert claims(issued["token"])["acsScope"] == "voip.join"
    for path in ("identities/with-token", f"identities/{issued['id']}/tokens"):
        wide = await service.post(path, {"scopes": ["voip.join"]})
        long = await service.post(path, {**CHAT, "expiresInMinutes": 71})
        allowed = await service.post(path, CHAT)
        assert wide.assert_problem(403, "not_allowed")["allowed"] == "chat"
        assert long.assert_problem(403, "not_allowed")["allowed"] == "60 to 70"
        assert allowed.status in (200, 201)
        assert lifetime(allowed.json()["token"]) == 60 * 60


def lifetime(token: str) -> int:
    """Returns how many seconds the token is valid."""
    issued = claims(token)
    return int(issued["exp"]) - int(issued["iat"])
