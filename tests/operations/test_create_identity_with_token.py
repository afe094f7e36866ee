"""create_identity_with_token: the token is returned only if the identity is active."""

import pytest

from identity_service.errors import IdentityDeleted, IdentityGone, NotAllowed
from identity_service.identity import State
from identity_service.policies import TokenGrant, TokenPolicy
from identity_service.schemas import IdentityWithTokenCreatedResponse, IssuedTokenResponse
from tests.support.world import HOUR, World, refusal


async def test_new_identity_with_token(world: World) -> None:
    """One call to ACS creates an active identity and its token."""
    created = await world.create_with_token("alice")

    assert (type(created), [created.id]) == (IdentityWithTokenCreatedResponse, world.acs.identities)
    assert (world.acs.is_valid(created.token), world.acs.calls) == (True, ["create_with_token"])
    assert world.acs.grants == [TokenGrant(("chat",), 1440)]
    assert (world.row(created.id).state, world.user_rows()) == (State.ACTIVE, {"alice": created.id})


async def test_policy_of_services(world: World) -> None:
    """A token that the policy for services does not allow creates nothing."""
    world.service_tokens = TokenPolicy(("voip",), default_minutes=60, max_minutes=60)

    assert await refusal(world.create_with_token()) is NotAllowed

    assert (world.acs.calls, world.registry.calls) == ([], [])


async def test_existing_identity_gets_a_new_token(world: World) -> None:
    """A user's existing identity gets a new token."""
    identity_id = await world.active("alice")
    issued = await world.create_with_token("alice")

    assert (type(issued), issued.id) == (IssuedTokenResponse, identity_id)
    assert (world.acs.is_valid(issued.token), world.acs.identities) == (True, [identity_id])


async def test_deleted_identity_of_the_user(world: World) -> None:
    """For a user whose identity is deleted, no token is requested."""
    await world.deleted("alice")

    assert await refusal(world.create_with_token("alice")) is IdentityDeleted

    assert world.acs.issued_for == []


@pytest.mark.parametrize("is_registered", [False, True])
async def test_user_of_an_identity_that_acs_has_lost(world: World, is_registered: bool) -> None:
    """The problem names the identity. After its deletion and purge, the user gets another one."""
    if is_registered:
        gone = (await world.register(world.acs.add(), "alice")).id
    else:
        gone = await world.active("alice")
    world.clock.advance(HOUR)
    world.acs.identities.remove(gone)
    with pytest.raises(IdentityGone) as refused:
        await world.create_with_token("alice")

    assert refused.value.identity_id == gone
    await world.delete(gone)
    await world.purge(gone)
    issued = await world.create_with_token("alice")
    assert issued.id != gone
    assert world.acs.is_valid(issued.token)
