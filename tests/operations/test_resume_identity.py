"""resume_identity: makes a suspended identity active again after its tokens are revoked."""

import pytest

from identity_service.errors import AcsUnavailable, IdentityDeleted, IdentityNotKnownYet
from identity_service.identity import Identity, State
from identity_service.schemas import IdentityResponse
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, HOUR, World, refusal


async def test_resumed_identity(world: World) -> None:
    """It is as before its suspension. Repeating the call returns the same response."""
    identity_id = await world.active("alice")
    before = world.row(identity_id)
    await world.suspend(identity_id)
    first, second = await world.resume(identity_id), await world.resume(identity_id)

    assert (
        first
        == second
        == IdentityResponse(id=identity_id, state=State.ACTIVE, user_id="alice", created_on=START)
    )
    assert (world.row(identity_id), world.due_entries()) == (before, [])


async def test_tokens(world: World) -> None:
    """Old tokens stay revoked, new ones are issued. The call makes no call to ACS."""
    created = await world.create_with_token()
    await world.suspend(created.id)
    world.acs.calls.clear()
    await world.resume(created.id)

    assert (world.acs.is_valid(created.token), world.acs.calls) == (False, [])
    assert world.acs.is_valid((await world.issue(created.id)).token)


async def test_interrupted_suspension(world: World) -> None:
    """If the tokens are not revoked yet, they are revoked before the identity is resumed."""
    created = await world.create_with_token()
    await world.suspend_unrevoked(created.id)
    await world.resume(created.id)

    assert not world.acs.is_valid(created.token)
    assert (world.row(created.id).state, world.due_entries()) == (State.ACTIVE, [])


async def test_acs_is_down(world: World) -> None:
    """If the tokens are not revoked yet and ACS fails, the identity stays suspended."""
    identity_id = await world.active()
    await world.suspend_unrevoked(identity_id)
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)

    assert await refusal(world.resume(identity_id)) is AcsUnavailable

    assert world.row(identity_id).state is State.SUSPENDED


async def test_young_identity_that_acs_does_not_know_yet(world: World) -> None:
    """That is no proof that it has no tokens: the identity stays suspended."""
    identity_id = await world.active()
    await world.suspend_unrevoked(identity_id)
    world.acs.identities.remove(identity_id)

    assert await refusal(world.resume(identity_id)) is IdentityNotKnownYet

    assert world.row(identity_id).state is State.SUSPENDED


async def test_identity_created_elsewhere(world: World) -> None:
    """It stays in the registry as an active one."""
    identity_id = world.acs.add()
    await world.suspend(identity_id)
    await world.resume(identity_id)

    assert world.row(identity_id) == Identity(id=identity_id, state=State.ACTIVE, known_on=START)


async def test_deleted_and_restored(world: World) -> None:
    """A deleted identity is restored first. It is suspended then, and can be resumed."""
    identity_id = await world.suspended()
    world.clock.advance(HOUR)
    await world.delete(identity_id)
    with pytest.raises(IdentityDeleted, match="restore"):
        await world.resume(identity_id)
    restored = await world.restore(identity_id)

    assert (restored.state, restored.suspended_on) == (State.SUSPENDED, START)
    assert (await world.resume(identity_id)).state is State.ACTIVE
