"""A signed-in user, from the first token to the deletion and back."""

from datetime import UTC, datetime, timedelta

from local.entra import object_id
from tests.support.client import Client, Control, Me, claims


async def test_one_call_leads_from_sign_in_to_a_token(me: Me, control: Control) -> None:
    """It creates the identity; the token has the scopes of the policy and is valid for an hour."""
    (await me.read()).assert_problem(404, "identity_not_found")

    issued = (await me.issue()).assert_success()

    assert await control.token_state(issued["token"]) == "valid"
    assert claims(issued["token"])["acsScope"] == "chat,voip"
    lifetime = datetime.fromisoformat(issued["expiresOn"]) - datetime.now(UTC)
    assert abs(lifetime - timedelta(minutes=60)) < timedelta(minutes=1)
    found = (await me.read()).assert_success()
    assert found.keys() == {"id", "state", "userId", "createdOn"}
    assert (found["id"], found["userId"]) == (issued["id"], me.user_id)


async def test_revoke_my_tokens(me: Me, control: Control) -> None:
    """All tokens become invalid, and new ones can be issued."""
    old = [(await me.issue()).assert_success()["token"] for _ in range(2)]

    (await me.revoke()).assert_success(204)

    assert [await control.token_state(token) for token in old] == ["revoked"] * 2
    new = (await me.issue()).assert_success()
    assert await control.token_state(new["token"]) == "valid"


async def test_delete_me_and_restore_me(me: Me, control: Control) -> None:
    """Until the purge everything can be restored, except for the old tokens."""
    issued = (await me.issue()).assert_success()

    deletion = (await me.remove()).assert_success(202)

    assert deletion["id"] == issued["id"]
    deleted_on, purge_on = (
        datetime.fromisoformat(deletion[each]) for each in ("deletedOn", "scheduledPurgeOn")
    )
    assert purge_on - deleted_on == timedelta(days=7)
    assert await control.token_state(issued["token"]) == "revoked"
    assert "me/restore" in (await me.read()).assert_problem(404, "identity_deleted")["detail"]
    assert "me/restore" in (await me.issue()).assert_problem(409, "identity_deleted")["detail"]
    assert (await me.remove()).assert_success(202) == deletion

    restored = (await me.restore()).assert_success()

    assert restored == (await me.read()).assert_success()
    assert restored["id"] == issued["id"]
    assert await control.token_state(issued["token"]) == "revoked"
    assert (await me.issue()).assert_success()["id"] == issued["id"]


async def test_a_service_reaches_the_same_user_by_the_documented_id(me: Me, api: Client) -> None:
    """What it creates for the user is the user's, and what it deletes is deleted for the user."""
    created = (await api.post("identities", {"userId": me.user_id})).assert_success(201)

    assert (await me.issue()).assert_success()["id"] == created["id"]
    (await api.delete(f"identities/{created['id']}")).assert_success(202)
    (await me.issue()).assert_problem(409, "identity_deleted")


async def test_a_teams_user_exchanges_their_own_token(me: Me, control: Control, user: str) -> None:
    """The app id is the one in the settings."""
    token = await control.teams_token(object_id(user))

    exchanged = (await me.exchange(token)).assert_success()

    assert exchanged.keys() == {"token", "expiresOn", "refreshAfter"}
    assert await control.token_state(exchanged["token"]) == "valid"
    assert claims(exchanged["token"])["skypeid"] == f"orgid:{object_id(user)}"
