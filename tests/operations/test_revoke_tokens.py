"""revoke_tokens: revokes all tokens issued so far."""

from tests.support.world import World


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
