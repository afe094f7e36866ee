"""restore_me: restores the signed-in user's deleted identity."""

from identity_service.errors import AcsUnavailable
from identity_service.identity import State
from identity_service.operations.me import get_me, restore_me
from identity_service.schemas import IdentityResponse
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, ALICE, BOB, World, refusal


async def restore(world: World) -> IdentityResponse:
    """Restore Alice's identity."""
    return await restore_me(ALICE, world.registry, world.lifecycle)


async def test_restored_identity(world: World) -> None:
    """The user gets the same identity back. Repeating the call returns the same response."""
    others = await world.deleted(BOB.user_id)
    identity_id = await world.deleted(ALICE.user_id)
    first, second = await restore(world), await restore(world)

    expected = IdentityResponse(
        id=identity_id, state=State.ACTIVE, user_id=ALICE.user_id, created_on=START
    )
    assert first == second == expected == await get_me(ALICE, world.registry)
    assert world.row(others).state is State.DELETED


async def test_acs_is_down(world: World) -> None:
    """If the tokens are not revoked yet and ACS fails, the identity stays deleted."""
    identity_id = await world.unrevoked(ALICE.user_id)
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)

    assert await refusal(restore(world)) is AcsUnavailable

    assert world.row(identity_id).state is State.DELETED
