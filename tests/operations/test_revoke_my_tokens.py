"""revoke_my_tokens: signs the user out of every client."""

import pytest

from identity_service.errors import IdentityGone
from identity_service.operations.me import revoke_my_tokens
from tests.support.world import ALICE, BOB, HOUR, World


async def test_tokens_of_the_user_only(world: World) -> None:
    """The tokens of the signed-in user are revoked, and no others."""
    bobs = await world.create_with_token(BOB.user_id)
    alices = await world.create_with_token(ALICE.user_id)
    await revoke_my_tokens(ALICE, world.registry, world.lifecycle)

    assert not world.acs.is_valid(alices.token)
    assert world.acs.is_valid(bobs.token)


async def test_identity_that_acs_has_lost(world: World) -> None:
    """The user learns how to get another one."""
    gone = await world.active(ALICE.user_id)
    world.clock.advance(HOUR)
    world.acs.identities.remove(gone)

    with pytest.raises(IdentityGone, match="DELETE me"):
        await revoke_my_tokens(ALICE, world.registry, world.lifecycle)
