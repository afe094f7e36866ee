"""delete_me: deletes the signed-in user's identity, which can be restored."""

from identity_service.errors import IdentityNotFound
from identity_service.identity import Actor, State
from identity_service.operations.me import delete_me
from identity_service.schemas import DeletionResponse
from tests.support.virtual_time import START
from tests.support.world import ALICE, BOB, RETENTION, World, refusal


async def delete(world: World) -> DeletionResponse:
    """Delete Alice's identity."""
    return await delete_me(ALICE, world.registry, world.lifecycle, world.deletion)


async def test_identity_of_the_user_only(world: World) -> None:
    """The user's identity is deleted, its tokens are revoked, and no other identity changes."""
    other = await world.active(BOB.user_id)
    created = await world.create_with_token(ALICE.user_id)
    deletion = await delete(world)

    assert deletion == DeletionResponse(
        id=created.id, deleted_on=START, scheduled_purge_on=START + RETENTION, deleted_by=Actor.USER
    )
    assert (world.acs.is_valid(created.token), world.acs.revocations) == (False, [created.id])
    assert (world.row(created.id).state, world.row(other).state) == (State.DELETED, State.ACTIVE)


async def test_repeated_call(world: World) -> None:
    """Repeating the call returns the same dates."""
    await world.active(ALICE.user_id)
    first = await delete(world)
    world.pass_lease()

    assert await delete(world) == first


async def test_user_row_without_an_identity(world: World) -> None:
    """An identity without a row is not adopted, even if ACS knows it."""
    await world.registry.insert_user(ALICE.user_id, world.acs.add())

    assert await refusal(delete(world)) is IdentityNotFound

    assert (world.registry.rows, world.acs.calls) == ({}, [])
