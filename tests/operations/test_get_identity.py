"""get_identity: returns active identities only."""

import pytest

from identity_service.errors import DeletedIdentityHidden
from identity_service.identity import State
from identity_service.operations.identities import get_identity
from identity_service.schemas import IdentityResponse
from tests.support.virtual_time import START
from tests.support.world import World


async def test_active_identity(world: World) -> None:
    """An active identity is returned with its user and the time of its creation."""
    identity_id = await world.active("alice")
    identity = await get_identity(identity_id, world.registry)

    assert identity == IdentityResponse(
        id=identity_id, state=State.ACTIVE, user_id="alice", created_on=START
    )


async def test_deleted_identity(world: World) -> None:
    """A deleted identity is hidden. The error says where it is found."""
    identity_id = await world.deleted()

    with pytest.raises(DeletedIdentityHidden, match=f"deleted-identities/{identity_id}"):
        await get_identity(identity_id, world.registry)
