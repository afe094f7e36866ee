"""revoke_tokens: what was issued before is dead, what is asked for afterwards lives."""

from identity_service.errors import AcsUnavailable, IdentityNotFound
from tests.operations.world import ACS_IS_DOWN, UNKNOWN, World, refusal


async def test_tokens_issued_before_are_dead(world: World) -> None:
    """All of them."""
    created = await world.create_with_token()
    second = await world.issue(created.id)

    await world.revoke(created.id)

    assert not any(map(world.acs.is_alive, [created.token, second.token]))


async def test_tokens_issued_afterwards_live(world: World) -> None:
    """A revocation is no deletion."""
    identity_id = await world.active()
    await world.revoke(identity_id)

    issued = await world.issue(identity_id)

    assert world.acs.is_alive(issued.token)


async def test_tokens_of_others_live_on(world: World) -> None:
    """One identity is revoked, not the resource."""
    identity_id = await world.active()
    other = await world.create_with_token()

    await world.revoke(identity_id)

    assert world.acs.is_alive(other.token)


async def test_unanswered_revocation_is_told(world: World) -> None:
    """The caller repeats it."""
    identity_id = await world.active()
    world.acs.loses("revoke_tokens", ACS_IS_DOWN)

    assert await refusal(world.revoke(identity_id)) is AcsUnavailable


async def test_unknown_identity_is_not_found(world: World) -> None:
    """ACS says so."""
    assert await refusal(world.revoke(UNKNOWN)) is IdentityNotFound


async def test_unregistered_identity_is_refused_where_only_registered_ones_count(
    world: World,
) -> None:
    """Its tokens are somebody else's business."""
    world.registered_only = True

    assert await refusal(world.revoke(world.acs.add())) is IdentityNotFound
