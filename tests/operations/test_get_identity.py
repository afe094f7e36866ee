"""get_identity: returns active identities only."""

import pytest

from identity_service.errors import DeletedIdentityHidden, IdentityNotFound, RegistryUnavailable
from identity_service.identity import State
from identity_service.operations.identities import get_identity
from identity_service.schemas import IdentityResponse
from tests.support.memory import UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import TABLE_IS_DOWN, World, refusal


async def test_active_identity(world: World) -> None:
    """An active identity is returned with its user and the time of its creation."""
    identity_id = await world.active("alice")

    identity = await get_identity(identity_id, world.registry)

    assert identity == IdentityResponse(id=identity_id, user_id="alice", created_on=START)


async def test_deleted_identity(world: World) -> None:
    """A deleted identity is hidden. The error says where it is found."""
    identity_id = await world.deleted()

    with pytest.raises(DeletedIdentityHidden, match=f"deleted-identities/{identity_id}"):
        await get_identity(identity_id, world.registry)


@pytest.mark.parametrize("state", [State.CREATING, State.PURGING])
async def test_other_states(world: World, state: State) -> None:
    """An identity that is being created or purged is not found."""
    identity_id = await world.in_state(state)

    assert await refusal(get_identity(identity_id, world.registry)) is IdentityNotFound


async def test_identity_without_a_row(world: World) -> None:
    """An identity that the registry does not know is not found, even if ACS knows it."""
    for identity_id in (UNKNOWN, world.acs.add()):
        assert await refusal(get_identity(identity_id, world.registry)) is IdentityNotFound


async def test_unreadable_registry(world: World) -> None:
    """If the row cannot be read, the call does not fail as not found."""
    world.registry.fails("read", TABLE_IS_DOWN)

    assert await refusal(get_identity(UNKNOWN, world.registry)) is RegistryUnavailable
