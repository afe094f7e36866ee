"""get_identity: active ones only."""

import pytest

from identity_service.errors import DeletedIdentityHidden, IdentityNotFound, RegistryUnavailable
from identity_service.model import Identity
from identity_service.operations import get_identity
from tests.operations.virtual_time import START
from tests.operations.world import TABLE_IS_DOWN, UNKNOWN, World, refusal


async def test_active_identity_is_told(world: World) -> None:
    """Whose it is, and when it was made."""
    identity_id = await world.active("alice")

    identity = await get_identity(identity_id, world.registry)

    assert identity == Identity(id=identity_id, user_id="alice", created_on=START)


async def test_deleted_identity_is_hidden(world: World) -> None:
    """The answer says where it is found."""
    identity_id = await world.deleted()

    with pytest.raises(DeletedIdentityHidden, match=f"deleted-identities/{identity_id}"):
        await get_identity(identity_id, world.registry)


async def test_identity_being_purged_is_not_found(world: World) -> None:
    """No way leads back."""
    identity_id = await world.purging()

    assert await refusal(get_identity(identity_id, world.registry)) is IdentityNotFound


async def test_identity_in_creation_is_not_found(world: World) -> None:
    """Nobody was told of it."""
    identity_id = await world.creating()

    assert await refusal(get_identity(identity_id, world.registry)) is IdentityNotFound


async def test_unknown_identity_is_not_found(world: World) -> None:
    """Nor one that was made elsewhere."""
    assert await refusal(get_identity(UNKNOWN, world.registry)) is IdentityNotFound


async def test_unreadable_row_is_told(world: World) -> None:
    """Not found would be a lie."""
    world.registry.fails("read", TABLE_IS_DOWN)

    assert await refusal(get_identity(UNKNOWN, world.registry)) is RegistryUnavailable
