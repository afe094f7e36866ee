"""restore_me: undoes what the signed-in user did, and nothing that a service did."""

import pytest

from identity_service.errors import AcsUnavailable, DeletedByService, IdentityBusy
from identity_service.identity import Identity, State
from identity_service.operations.me import get_me
from identity_service.schemas import IdentityResponse
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, ALICE, BOB, HOUR, World, refusal


async def test_restored_identity(world: World) -> None:
    """The user gets the same identity back. Repeating the call returns the same response."""
    others = await world.deleted(BOB.user_id)
    identity_id = await world.active(ALICE.user_id)
    await world.delete_me()
    first, second = await world.restore_me(), await world.restore_me()

    expected = IdentityResponse(
        id=identity_id, state=State.ACTIVE, user_id=ALICE.user_id, created_on=START
    )
    assert first == second == expected == await get_me(ALICE, world.registry)
    assert world.row(others).state is State.DELETED


async def test_acs_is_down(world: World) -> None:
    """If the tokens are not revoked yet and ACS fails, the identity stays deleted."""
    identity_id = await world.active(ALICE.user_id)
    world.acs.fails("revoke_tokens", ACS_IS_DOWN, times=2)
    assert await refusal(world.delete_me()) is AcsUnavailable

    assert await refusal(world.restore_me()) is AcsUnavailable

    assert world.row(identity_id).state is State.DELETED


@pytest.mark.parametrize("start", ["deleted", "unrevoked"])
async def test_deleted_by_a_service(world: World, start: str) -> None:
    """Only a service can restore it, even while its tokens are not revoked yet."""
    identity_id = await getattr(world, start)(ALICE.user_id)

    assert await refusal(world.restore_me()) is DeletedByService
    assert (await world.restore(identity_id)).state is State.ACTIVE


async def test_deletion_that_a_service_repeated(world: World) -> None:
    """After a service has repeated the user's deletion, the user cannot undo it."""
    identity_id = await world.active(ALICE.user_id)
    await world.delete_me()
    await world.delete(identity_id)

    assert await refusal(world.restore_me()) is DeletedByService


async def test_deletion_that_the_user_repeated(world: World) -> None:
    """A user who repeats a service's deletion cannot undo it."""
    await world.deleted(ALICE.user_id)
    await world.delete_me()

    assert await refusal(world.restore_me()) is DeletedByService


async def test_deletion_by_an_earlier_release(world: World) -> None:
    """Earlier releases did not record who deleted it: the user can restore it."""
    identity_id = await world.deleted(ALICE.user_id)
    world.registry.change(identity_id, deleted_by=None)

    assert (await world.restore_me()).state is State.ACTIVE


async def test_suspended_before(world: World) -> None:
    """A detour through a deletion does not lift a suspension."""
    identity_id = await world.active(ALICE.user_id)
    await world.delete_me()
    world.registry.change(identity_id, suspended_on=START)
    world.clock.advance(HOUR)
    restored = await world.restore_me()

    assert (restored.state, restored.suspended_on) == (State.SUSPENDED, START)
    assert world.row(identity_id) == Identity(
        id=identity_id,
        state=State.SUSPENDED,
        user_id=ALICE.user_id,
        created_on=START,
        suspended_on=START,
        revoked=True,
    )


async def test_suspension_that_is_not_finished(world: World) -> None:
    """A suspended identity whose tokens may still work is not reported as restored."""
    identity_id = await world.active(ALICE.user_id)
    await world.suspend_unrevoked(identity_id)

    assert await refusal(world.restore_me()) is IdentityBusy
