"""What the operator lets callers have."""

import pytest

from local.quickstart import claims
from tests.end_to_end_callers.client import Client, Control, Me
from tests.end_to_end_callers.conftest import StartApp

ALL_SCOPES = "chat, chat.join, chat.join.limited, voip, voip.join"


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ({"scopes": ["voip.join"]}, "scopes", "chat, voip"),
        ({"scopes": ["chat", "chat.join"]}, "scopes", "chat, voip"),
        ({"expiresInMinutes": 241}, "expiresInMinutes", "60 to 240"),
    ],
)
async def test_a_user_who_asks_for_more_is_told_what_is_given(
    me: Me, body: dict[str, object], field: str, allowed: str
) -> None:
    """And nothing is made."""
    problem = (await me.token(**body)).problem(403, "not_allowed")

    assert (problem["field"], problem["allowed"]) == (field, allowed)
    (await me.get()).problem(404, "identity_not_found")


async def test_a_services_defaults_are_those_of_acs(client: Client) -> None:
    """Every scope, for a day."""
    body = {"scopes": ALL_SCOPES.split(", "), "expiresInMinutes": 1440}

    made = await client.call("POST", "/api/identities/with-token", client.key, body)

    assert claims(made.success(201)["token"])["acsScope"]


async def test_every_kind_of_caller_has_a_policy(
    start_app: StartApp, control: Control, name: str
) -> None:
    """Each its own, at every operation that gives tokens."""
    client = start_app(
        USER_TOKEN_SCOPES="voip.join",
        USER_TOKEN_DEFAULT_MINUTES="90",
        USER_TOKEN_MAX_MINUTES="100",
        SERVICE_TOKEN_SCOPES="chat",
        SERVICE_TOKEN_DEFAULT_MINUTES="60",
        SERVICE_TOKEN_MAX_MINUTES="70",
    )
    me = Me(client, await control.sign_in(name))

    issued = (await me.token()).success()
    assert lifetime(issued["token"]) == 90 * 60
    assert claims(issued["token"])["acsScope"] == "voip.join"
    assert (await me.token(scopes=["chat"])).problem(403, "not_allowed")["allowed"] == "voip.join"
    for path in ("/api/identities/with-token", f"/api/identities/{issued['id']}/tokens"):
        wide = await client.call("POST", path, client.key, {"scopes": ["voip.join"]})
        long = await client.call(
            "POST", path, client.key, {"scopes": ["chat"], "expiresInMinutes": 71}
        )
        right = await client.call("POST", path, client.key, {"scopes": ["chat"]})
        assert wide.problem(403, "not_allowed")["allowed"] == "chat"
        assert long.problem(403, "not_allowed")["allowed"] == "60 to 70"
        assert right.status in (200, 201)
        assert lifetime(right.json()["token"]) == 60 * 60


def lifetime(token: str) -> int:
    """How many seconds the token lives from its issue on."""
    said = claims(token)
    return int(said["exp"]) - int(said["iat"])


async def test_strangers_identities_are_served_or_refused(
    start_app: StartApp, client: Client, identity_made_elsewhere: str, me: Me
) -> None:
    """Those that somebody else made in the same resource: served by default, 404 where told so."""
    strict = start_app(REGISTERED_IDENTITIES_ONLY="true")
    calls: list[tuple[str, str, object]] = [
        ("POST", "/tokens", {"scopes": ["chat"]}),
        ("DELETE", "/tokens", None),
        ("DELETE", "", None),
    ]

    refused = [
        await strict.call(
            method, f"/api/identities/{identity_made_elsewhere}{path}", strict.key, body
        )
        for method, path, body in calls
    ]
    served = [
        await client.call(
            method, f"/api/identities/{identity_made_elsewhere}{path}", client.key, body
        )
        for method, path, body in calls
    ]

    assert [(reply.status, reply.code) for reply in refused] == [(404, "identity_not_found")] * 3
    assert [reply.status for reply in served] == [200, 204, 202]


async def test_registered_identities_go_on_being_served(
    start_app: StartApp, control: Control, name: str
) -> None:
    """Users' own among them."""
    strict = start_app(REGISTERED_IDENTITIES_ONLY="true")
    me = Me(strict, await control.sign_in(name))
    issued = (await me.token()).success()

    path = f"/api/identities/{issued['id']}/tokens"
    reply = await strict.call("POST", path, strict.key, {"scopes": ["chat"]})

    assert reply.success()["id"] == issued["id"]
    assert (await me.revoke()).status == 204
    assert (await me.delete()).status == 202


async def test_without_an_app_for_teams_nothing_is_exchanged(
    start_app: StartApp, control: Control, name: str, oid: str
) -> None:
    """The answer names the setting."""
    me = Me(start_app(TEAMS_APP_ID=""), await control.sign_in(name))

    problem = (await me.exchange(await control.teams_token(oid))).problem(403, "not_allowed")

    assert "TEAMS_APP_ID" in problem["detail"]


async def test_an_app_for_teams_that_is_another_exchanges_nothing(
    start_app: StartApp, control: Control, name: str, oid: str
) -> None:
    """ACS refuses it, and names the app as what is wrong."""
    other = start_app(TEAMS_APP_ID="00000000-0000-4000-8000-000000000000")
    me = Me(other, await control.sign_in(name))

    problem = (await me.exchange(await control.teams_token(oid))).problem(
        400, "teams_token_refused"
    )

    assert problem["field"] == "appId"
