"""revoke_tokens: revokes all tokens issued so far."""

import pytest

from identity_service.errors import AcsUnavailable, IdentityNotFound
from identity_service.identity import State
from tests.support.memory import UNKNOWN
from tests.support.world import ACS_IS_DOWN, World, refusal


async def test_existing_tokens_are_revoked(world: World) -> None:
    """All existing tokens of the identity are revoked, and no others."""
    created, other = await world.create_with_token(), await world.create_with_token()
    second = await world.issue(created.id)

    await world.revoke(created.id)

    assert not any(map(world.acs.is_valid, [created.token, second.token]))
    assert world.acs.is_valid(other.token)


async def test_new_tokens_are_valid(world: World) -> None:
    """A token issued after the revocation is valid."""
    identity_id = await world.active()
    await world.revoke(identity_id)

    issued = await world.issue(identity_id)

    assert world.acs.is_valid(issued.token)


async def test_lost_response(world: World) -> None:
    """If the response of ACS is lost, the call fails, so the caller repeats it."""
    identity_id = await world.active()
    world.acs.loses("revoke_tokens", ACS_IS_DOWN)

    assert await refusal(world.revoke(identity_id)) is AcsUnavailable


async def test_unknown_identity(world: World) -> None:
    """An identity that ACS does not know is not found."""
    assert await refusal(world.revoke(UNKNOWN)) is IdentityNotFound


@pytest.mark.parametrize("state", State)
async def test_every_state(world: World, state: State) -> None:
    """Tokens can be revoked in every state."""
    identity_id = await world.in_state(state)
    world.acs.revocations.clear()

    await world.revoke(identity_id)

    assert world.acs.revocations == [identity_id]


@pytest.mark.parametrize("registered_only", [False, True])
async def test_only_registered_identities(world: World, registered_only: bool) -> None:
    """If only registered identities are allowed, other identities are not found."""
    registered, other = await world.active(), world.acs.add()
    world.registered_only = registered_only

    await world.revoke(registered)
    if registered_only:
        assert await refusal(world.revoke(other)) is IdentityNotFound
    else:
        await world.revoke(other)

    assert world.acs.revocations == ([registered] if registered_only else [registered, other])
