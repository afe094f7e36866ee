"""revoke_my_tokens: signs the user out of every client."""

from identity_service.operations.me import revoke_my_tokens
from tests.support.world import ALICE, BOB, World


async def test_tokens_of_the_user_only(world: World) -> None:
    """The tokens of the signed-in user are revoked, and no others."""
    bobs = await world.create_with_token(BOB.user_id)
    alices = await world.create_with_token(ALICE.user_id)
    await revoke_my_tokens(ALICE, world.registry, world.lifecycle)

    assert not world.acs.is_valid(alices.token)
    assert world.acs.is_valid(bobs.token)
