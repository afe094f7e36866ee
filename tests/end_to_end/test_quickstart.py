"""The calls of Microsoft's quickstart, and the status operations."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.client import CHAT, Client, Control, Reply, claims, teams_body
from tests.support.stack import Azure


async def test_an_identity_is_created(api: Client, control: Control) -> None:
    """ACS has it, Location leads to it, and the response contains only its id."""
    reply = await api.post("identities")

    identity = reply.assert_success(201)
    assert identity.keys() == {"id"}
    assert await control.state(identity["id"]) == "active"
    assert reply.headers["Location"] == f"/api/identities/{identity['id']}"
    found = (await api.call("GET", reply.headers["Location"], prefix="")).assert_success()
    assert found["id"] == identity["id"]
    assert found.keys() == {"id", "state", "createdOn"}


@pytest.mark.parametrize(
    ("scopes", "minutes"),
    [
        (["chat", "voip"], 60),
        (["chat", "chat.join", "chat.join.limited", "voip", "voip.join"], 1440),
    ],
    ids=["some scopes", "all scopes"],
)
async def test_an_identity_is_created_with_its_first_token(
    api: Client, control: Control, scopes: list[str], minutes: int
) -> None:
    """ACS gets one call; the token is valid for the requested scopes and lifetime."""
    before = await control.attempts("issue")

    reply = await api.post("identities/with-token", {"scopes": scopes, "expiresInMinutes": minutes})

    created = reply.assert_success(201)
    assert created.keys() == {"id", "token", "expiresOn", "refreshAfter"}
    assert await control.token_state(created["token"]) == "valid"
    assert set(claims(created["token"])["acsScope"].split(",")) == set(scopes)
    assert reply.headers["Location"] == f"/api/identities/{created['id']}"
    assert await control.attempts("issue") == before
    assert_expires_in(created, timedelta(minutes=minutes))


async def test_a_token_is_issued_and_refreshed_by_the_same_call(
    api: Client, control: Control
) -> None:
    """The second call returns another token, and the first token stays valid."""
    identity_id = await api.new_identity()

    first, second = [
        (await api.post(f"identities/{identity_id}/tokens", CHAT)).assert_success()
        for _ in range(2)
    ]

    assert first["id"] == second["id"] == identity_id
    assert first["token"] != second["token"]
    assert [await control.token_state(each["token"]) for each in (first, second)] == ["valid"] * 2
    assert_expires_in(first, timedelta(hours=24))


async def test_tokens_are_revoked(api: Client, control: Control) -> None:
    """Existing tokens become invalid, and new ones can be issued."""
    identity_id = await api.new_identity()
    old = await api.new_token(identity_id)

    reply = await api.delete(f"identities/{identity_id}/tokens")

    assert reply.assert_success(204) is None
    assert await control.token_state(old) == "revoked"
    assert await control.token_state(await api.new_token(identity_id)) == "valid"


async def test_an_identity_is_deleted(api: Client) -> None:
    """The purge is scheduled seven days after the deletion."""
    identity_id = await api.new_identity()

    reply = await api.delete(f"identities/{identity_id}")

    deletion = reply.assert_success(202)
    assert deletion.keys() == {"id", "deletedOn", "scheduledPurgeOn", "deletedBy"}
    deleted_on, purge_on = moment(deletion["deletedOn"]), moment(deletion["scheduledPurgeOn"])
    assert abs(datetime.now(UTC) - deleted_on) < timedelta(minutes=1)
    assert purge_on - deleted_on == timedelta(days=7)


async def test_a_teams_token_is_exchanged(api: Client, azure: Azure, control: Control) -> None:
    """The response contains a valid access token."""
    reply = await api.post("teams/token", teams_body(azure))

    exchanged = reply.assert_success()
    assert exchanged.keys() == {"token", "expiresOn", "refreshAfter"}
    assert await control.token_state(exchanged["token"]) == "valid"


async def test_health_is_public_and_says_only_ok(api: Client) -> None:
    """It needs no key, so it reveals nothing else."""
    reply = await api.call("GET", "health", headers={})

    assert reply.assert_success() == {"status": "ok"}


async def test_ready_reports_the_upstreams(api: Client, control: Control) -> None:
    """It creates nothing, and calls within ten seconds of each other share one check."""
    (await api.get("ready")).assert_success()
    identities, attempts = await control.identities(), await control.attempts("issue")

    replies: list[Reply] = [await api.get("ready") for _ in range(5)]

    report = replies[-1].assert_success()
    assert report["acs"]["status"] == report["registry"]["status"] == "ok"
    assert report["acs"]["latencyMs"] >= 0
    assert report["registry"]["oldestOverdueSeconds"] >= 0
    assert await control.identities() == identities
    assert await control.attempts("issue") - attempts <= 1


def assert_expires_in(issued: dict[str, str], lifetime: timedelta) -> None:
    """Asserts the token's lifetime, and that it is refreshed ten minutes before it expires."""
    expires_on, refresh_after = moment(issued["expiresOn"]), moment(issued["refreshAfter"])
    assert abs(expires_on - lifetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert expires_on - refresh_after == timedelta(minutes=10)


def moment(text: str) -> datetime:
    """Parses an RFC 3339 date in UTC."""
    assert text.endswith("Z")
    return datetime.fromisoformat(text)
