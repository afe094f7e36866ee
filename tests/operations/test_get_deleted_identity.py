"""get_deleted_identity: what is on its way out, and what hinders it."""

import pytest

from identity_service.errors import IdentityNotFound
from identity_service.operations import get_deleted_identity
from identity_service.operations.get_deleted_identity import DeletedIdentity
from identity_service.rows import State
from tests.operations.virtual_time import START
from tests.operations.world import ACS_IS_DOWN, RETENTION, UNKNOWN, World, refusal


async def test_deleted_identity_is_told(world: World) -> None:
    """Whose it was, and when it was made, deleted and is to be purged."""
    identity_id = await world.deleted("alice")

    deleted = await get_deleted_identity(identity_id, world.registry)

    assert deleted == DeletedIdentity(
        id=identity_id,
        state=State.DELETED,
        user_id="alice",
        created_on=START,
        deleted_on=START,
        scheduled_purge_on=START + RETENTION,
        attempts=0,
    )


async def test_identity_being_purged_is_told(world: World) -> None:
    """Until it is gone."""
    identity_id = await world.purging()

    deleted = await get_deleted_identity(identity_id, world.registry)

    assert deleted.state is State.PURGING


async def test_failed_attempts_are_told(world: World) -> None:
    """How many, and what the last one failed for."""
    identity_id = await world.deleted()
    world.clock.forward(RETENTION)
    world.acs.fails("delete", ACS_IS_DOWN)
    await world.sweep()

    deleted = await get_deleted_identity(identity_id, world.registry)

    assert (deleted.attempts, deleted.last_error) == (1, "acs_unavailable")


@pytest.mark.parametrize("state", [State.ACTIVE, State.CREATING])
async def test_identity_that_is_not_deleted_is_not_found(world: World, state: State) -> None:
    """It is among the others, or not yet there."""
    identity_id = await (world.active() if state is State.ACTIVE else world.creating())

    call = get_deleted_identity(identity_id, world.registry)

    assert await refusal(call) is IdentityNotFound


async def test_unknown_identity_is_not_found(world: World) -> None:
    """Nor one that is purged."""
    assert await refusal(get_deleted_identity(UNKNOWN, world.registry)) is IdentityNotFound
