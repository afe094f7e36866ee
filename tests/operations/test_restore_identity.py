"""restore_identity: makes a deleted identity active again after its tokens are revoked."""

import asyncio

from identity_service.errors import ServiceError
from identity_service.identity import Identity, State
from identity_service.schemas import IdentityResponse
from tests.support.virtual_time import START
from tests.support.world import World


async def test_restored_identity(world: World) -> None:
    """A restored identity is as before its deletion: no dates, no attempts, nothing due."""
    identity_id = await world.active("alice")
    before = world.row(identity_id)
    await world.delete(identity_id)
    world.registry.change(identity_id, attempts=3, last_error="acs_unavailable")
    restored = await world.restore(identity_id)

    assert restored == IdentityResponse(
        id=identity_id, state=State.ACTIVE, user_id="alice", created_on=START
    )
    assert (world.row(identity_id), world.due_entries()) == (before, [])


async def test_old_tokens_stay_revoked(world: World) -> None:
    """Tokens issued before the deletion stay revoked. The restore makes no call to ACS."""
    created = await world.create_with_token()
    await world.delete(created.id)
    world.acs.calls.clear()
    await world.restore(created.id)

    assert (world.acs.is_valid(created.token), world.acs.calls) == (False, [])


async def test_unrevoked_identity(world: World) -> None:
    """If the tokens are not revoked yet, they are revoked before the identity is restored."""
    created = await world.create_with_token()
    await world.delete_unrevoked(created.id)
    await world.restore(created.id)

    assert not world.acs.is_valid(created.token)
    assert world.row(created.id).state is State.ACTIVE


async def test_identity_created_elsewhere(world: World) -> None:
    """An identity that was created elsewhere stays in the registry as an active one."""
    identity_id = world.acs.add()
    await world.delete(identity_id)
    await world.restore(identity_id)

    assert world.row(identity_id) == Identity(id=identity_id, state=State.ACTIVE, known_on=START)


# Other calls change the row


async def test_restored_and_deleted_by_other_calls(world: World) -> None:
    """If other calls restore and delete it first, the tokens issued in between are revoked."""
    identity_id = await world.unrevoked()
    tokens = []

    async def restore_issue_delete() -> None:
        await world.restore(identity_id)
        tokens.append((await world.issue(identity_id)).token)
        await world.delete_unrevoked(identity_id)

    world.registry.precede("update", restore_issue_delete)
    await world.restore(identity_id)

    assert [world.acs.is_valid(token) for token in tokens] == [False]


async def test_concurrent_purge(world: World) -> None:
    """Of a concurrent restore and purge exactly one succeeds."""
    identity_id = await world.deleted("alice")
    restored, purged = await asyncio.gather(
        world.restore(identity_id), world.purge(identity_id), return_exceptions=True
    )

    assert isinstance(restored, ServiceError) != isinstance(purged, ServiceError)
    assert world.is_gone(identity_id) == (purged is None)
