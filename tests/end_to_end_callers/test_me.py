"""A signed-in user's life, from the first token to the deletion and back."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

from local.quickstart import claims
from tests.end_to_end_callers.client import Client, Control, Me
from tests.end_to_end_callers.stack import Azure


def user_id_of(me: Me) -> str:
    """The documented user id: a service may act on the same user through it."""
    said = claims(me.bearer["Authorization"])
    return f"aad/{said['tid']}/{said['oid']}"


async def test_one_call_from_sign_in_to_token(me: Me, control: Control, client: Client) -> None:
    """It makes the identity; the token works, may what the policy says, and lives an hour."""
    (await me.get()).problem(404, "identity_not_found")

    issued = (await me.token()).success()

    assert await control.fate(issued["token"]) == "works"
    assert claims(issued["token"])["acsScope"] == "chat,voip"
    lifetime = datetime.fromisoformat(issued["expiresOn"]) - datetime.now(UTC)
    assert abs(lifetime - timedelta(minutes=60)) < timedelta(minutes=1)
    held = (await me.get()).success()
    assert held.keys() == {"id", "userId", "createdOn"}
    assert (held["id"], held["userId"]) == (issued["id"], user_id_of(me))


async def test_later_tokens_are_of_the_same_identity(me: Me, control: Control) -> None:
    """With scopes and a lifetime of the user's own choice, within the policy."""
    first = (await me.token()).success()
    second = (await me.token(scopes=["voip"], expiresInMinutes=240)).success()

    assert first["id"] == second["id"]
    assert claims(second["token"])["acsScope"] == "voip"
    assert [await control.fate(each["token"]) for each in (first, second)] == ["works"] * 2


async def test_two_users_are_two(me: Me, client: Client, control: Control, name: str) -> None:
    """Neither finds the other's."""
    other = Me(client, await control.sign_in(f"other-{name}"))

    mine, theirs = [(await each.token()).success()["id"] for each in (me, other)]

    assert mine != theirs
    assert (await other.get()).success()["id"] == theirs


async def test_eight_calls_at_once_make_one_identity(me: Me, control: Control) -> None:
    """All eight get tokens of it; the losers' identities are gone from ACS."""
    before = await control.active()

    replies = await asyncio.gather(*(me.token() for _ in range(8)))

    issued = [reply.success() for reply in replies]
    [identity_id] = {each["id"] for each in issued}
    assert await control.active() - before == {identity_id}
    assert {await control.fate(each["token"]) for each in issued} == {"works"}


async def test_signing_out_everywhere_kills_every_token(me: Me, control: Control) -> None:
    """New ones can be had."""
    old = [(await me.token()).success()["token"] for _ in range(2)]

    reply = await me.revoke()

    assert (reply.status, reply.body) == (204, b"")
    assert [await control.fate(token) for token in old] == ["revoked"] * 2
    assert await control.fate((await me.token()).success()["token"]) == "works"


async def test_delete_me_and_restore_me(me: Me, control: Control) -> None:
    """Softly: with the date of the purge; until then everything comes back but the old tokens."""
    issued = (await me.token()).success()

    deletion = (await me.delete()).success(202)

    assert deletion["id"] == issued["id"]
    deleted_on, purge_on = (
        datetime.fromisoformat(deletion[each]) for each in ("deletedOn", "scheduledPurgeOn")
    )
    assert purge_on - deleted_on == timedelta(days=7)
    assert await control.fate(issued["token"]) == "revoked"
    assert "me/restore" in (await me.get()).problem(404, "identity_deleted")["detail"]
    assert "me/restore" in (await me.token()).problem(409, "identity_deleted")["detail"]
    assert (await me.delete()).success(202) == deletion

    restored = (await me.restore()).success()

    assert restored == (await me.get()).success()
    assert restored["id"] == issued["id"]
    assert await control.fate(issued["token"]) == "revoked"
    assert (await me.token()).success()["id"] == issued["id"]


async def test_a_service_finds_the_same_user_by_the_documented_id(me: Me, client: Client) -> None:
    """Both ways: what it makes for them is theirs, and what it deletes is deleted."""
    body = {"userId": user_id_of(me)}
    made = (await client.call("POST", "/api/identities", client.key, body)).success(201)

    assert (await me.token()).success()["id"] == made["id"]
    path = f"/api/identities/{made['id']}"
    (await client.call("DELETE", path, client.key)).success(202)
    (await me.token()).problem(409, "identity_deleted")


async def test_a_teams_user_exchanges_their_own_token(me: Me, control: Control, oid: str) -> None:
    """For the app in the settings."""
    exchanged = (await me.exchange(await control.teams_token(oid))).success()

    assert exchanged.keys() == {"token", "expiresOn", "refreshAfter"}
    assert await control.fate(exchanged["token"]) == "works"
    assert claims(exchanged["token"])["skypeid"] == f"orgid:{oid}"


async def test_nobody_exchanges_anybody_elses(me: Me, azure: Azure, oid: str) -> None:
    """The made-up Teams user's token is good, and of no use to alice, whatever she says."""
    token, app_id = azure.env["ACS_TEAMS_USER_TOKEN"], azure.env["ACS_TEAMS_APP_ID"]

    refused = await me.exchange(token)
    said = [await me.exchange(token, userId=oid), await me.exchange(token, appId=app_id)]

    assert refused.problem(400, "teams_token_refused")["field"] == "userId"
    assert [reply.problem(400, "invalid_body")["field"] for reply in said] == ["userId", "appId"]


async def test_the_sign_ins_own_token_is_no_teams_token(me: Me) -> None:
    """It is for another audience."""
    sign_in = me.bearer["Authorization"].split()[1]

    (await me.exchange(sign_in)).problem(400, "teams_token_refused")


async def test_a_principal_sent_along_changes_nothing(me: Me, oid: str) -> None:
    """Whoever it names."""
    (await me.token()).success()
    said = {"oid": "11111111-2222-3333-4444-555555555555", "tid": "another"}
    forged = {"auth_typ": "aad", "claims": [{"typ": n, "val": v} for n, v in said.items()]}
    header = base64.b64encode(json.dumps(forged).encode()).decode()

    held = await me.get(**{"X-MS-CLIENT-PRINCIPAL": header, "x-ms-client-principal": header})

    assert held.success()["userId"] == user_id_of(me)
