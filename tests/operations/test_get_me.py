"""get_me: returns the signed-in user's identity."""

import pytest

from identity_service.errors import DeletedIdentityHidden
from identity_service.identity import Actor, State
from identity_service.operations.me import get_me
from identity_service.schemas import IdentityResponse
from tests.support.virtual_time import START
from tests.support.world import ALICE, BOB, World


async def test_my_identity(world: World) -> None:
    """The response has everything that the registry holds about the user."""
    await world.active(BOB.user_id)
    identity_id = await world.active(ALICE.user_id)
    found = await get_me(ALICE, world.registry)

    assert found == IdentityResponse(
        id=identity_id, state=State.ACTIVE, user_id=ALICE.user_id, created_on=START
    )


async def test_deleted_identity(world: World) -> None:
    """A user who has deleted the identity learns how to restore it."""
    await world.active(ALICE.user_id)
    await world.delete_me()

    with pytest.raises(DeletedIdentityHidden, match="POST me/restore") as caught:
        await get_me(ALICE, world.registry)

    assert caught.value.deleted_by == Actor.USER


async def test_deleted_by_a_service(world: World) -> None:
    """A user whose identity a service has deleted learns that no user can restore it."""
    await world.deleted(ALICE.user_id)

    with pytest.raises(DeletedIdentityHidden, match="Only a service") as caught:
        await get_me(ALICE, world.registry)

    assert caught.value.deleted_by == Actor.SERVICE
