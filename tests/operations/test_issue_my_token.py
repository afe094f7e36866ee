"""issue_my_token: from sign-in to token in one call."""

from datetime import timedelta

import pytest

from identity_service.errors import IdentityDeleted, IdentityGone, NotAllowed
from identity_service.identity import State
from identity_service.operations.me import issue_my_token
from identity_service.policies import TokenGrant
from identity_service.schemas import IssuedTokenResponse, IssueMyTokenRequest
from tests.support.virtual_time import START
from tests.support.world import ALICE, BOB, HOUR, World, refusal

EMPTY = IssueMyTokenRequest()


async def issue(world: World, body: IssueMyTokenRequest = EMPTY) -> IssuedTokenResponse:
    """Issue a token to Alice."""
    return await issue_my_token(ALICE, body, world.lifecycle, world.user_tokens)


async def test_first_call(world: World) -> None:
    """The first call creates the identity. The policy decides what the request omits."""
    issued = await issue(world)

    assert (world.acs.calls, world.acs.grants) == (
        ["create_with_token"],
        [TokenGrant(("chat", "voip"), 60)],
    )
    assert (world.user_rows(), world.row(issued.id).state) == (
        {ALICE.user_id: issued.id},
        State.ACTIVE,
    )
    assert world.acs.is_valid(issued.token)
    assert issued.expires_on == START + timedelta(minutes=60)
    assert issued.refresh_after == START + timedelta(minutes=50)
    assert type(issued) is IssuedTokenResponse  # 200: the user does not see a creation


async def test_later_call(world: World) -> None:
    """A later call issues the requested token for the user's identity."""
    await world.active(BOB.user_id)
    identity_id = await world.active(ALICE.user_id)
    world.acs.calls.clear()
    issued = await issue(world, IssueMyTokenRequest(scopes=["voip"], expires_in_minutes=240.0))

    assert (issued.id, world.acs.issued_for) == (identity_id, [identity_id])
    assert (world.acs.calls, world.acs.grants) == (["issue_token"], [TokenGrant(("voip",), 240)])


async def test_policy_of_users(world: World) -> None:
    """A token that the policy for users does not allow creates nothing."""
    assert await refusal(issue(world, IssueMyTokenRequest(scopes=["chat.join"]))) is NotAllowed

    assert (world.acs.calls, world.registry.calls) == ([], [])


async def test_deleted_identity(world: World) -> None:
    """A user who has deleted the identity gets no token and learns how to restore it.

    The error has the id of the identity.
    """
    identity_id = await world.active(ALICE.user_id)
    await world.delete_me()
    with pytest.raises(IdentityDeleted, match="POST me/restore") as caught:
        await issue(world)

    assert caught.value.identity_id == identity_id
    assert (world.acs.issued_for, len(world.acs.identities)) == ([], 1)


async def test_identity_that_acs_has_lost(world: World) -> None:
    """The user deletes it, and after the purge the next call creates another one."""
    gone = await world.active(ALICE.user_id)
    world.clock.advance(HOUR)
    world.acs.identities.remove(gone)
    with pytest.raises(IdentityGone, match="DELETE me"):
        await issue(world)

    await world.delete_me(ALICE)
    await world.purge(gone)

    assert (await issue(world)).id != gone
