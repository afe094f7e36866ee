"""get_deleted_identity: returns deleted identities only, and why their purge fails."""

import pytest

from identity_service.identity import Actor, State
from identity_service.operations.deleted_identities import get_deleted_identity
from identity_service.schemas import DeletedIdentityResponse
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, HOUR, RETENTION, SECOND, World


@pytest.mark.parametrize("state", [State.DELETED, State.PURGING])
async def test_deleted_identity(world: World, state: State) -> None:
    """A deleted identity is returned with its user and its dates until it is purged."""
    identity_id = await world.in_state(state, "alice")
    deleted = await get_deleted_identity(identity_id, world.registry)

    assert deleted == DeletedIdentityResponse(
        id=identity_id,
        state=state,
        user_id="alice",
        created_on=START,
        deleted_on=START,
        scheduled_purge_on=START + RETENTION,
        deleted_by=Actor.SERVICE,
        attempts=0,
    )


async def test_identity_that_was_suspended(world: World) -> None:
    """The response has the date of its suspension, because a restore leads back to it."""
    identity_id = await world.suspended()
    world.clock.advance(HOUR)
    await world.delete(identity_id)
    deleted = await get_deleted_identity(identity_id, world.registry)

    assert deleted.suspended_on == START


async def test_interrupted_creation(world: World) -> None:
    """A creation that is being purged was deleted by nobody."""
    identity_id = await world.creating()
    world.pass_lease()
    world.acs.fails("delete", ACS_IS_DOWN)
    await world.sweep()
    purging = await get_deleted_identity(identity_id, world.registry)

    assert (purging.state, purging.deleted_by) == (State.PURGING, None)


async def test_failed_purge(world: World) -> None:
    """The response has the number of failed attempts and the code of the last error."""
    identity_id = await world.deleted()
    world.clock.advance(SECOND)
    await world.deleted()
    world.clock.advance(RETENTION)
    world.acs.fails("delete", ACS_IS_DOWN)
    await world.sweep()
    deleted = await get_deleted_identity(identity_id, world.registry)

    assert (deleted.attempts, deleted.last_error) == (1, "acs_unavailable")
