"""restore_identity: active again, once its old tokens are dead."""

import asyncio

import pytest

from identity_service.errors import (
    AcsUnavailable,
    IdentityBusy,
    IdentityNotFound,
    RegistryUnavailable,
    ServiceError,
)
from identity_service.model import Identity
from identity_service.rows import IdentityRow, State
from tests.operations.virtual_time import START
from tests.operations.world import (
    ACS_IS_DOWN,
    CONFLICT,
    TABLE_IS_DOWN,
    UNKNOWN,
    World,
    refusal,
)


async def test_restored_identity_is_told_as_before(world: World) -> None:
    """As get_identity tells it."""
    identity_id = await world.deleted("alice")

    restored = await world.restore(identity_id)

    assert restored == Identity(id=identity_id, user_id="alice", created_on=START)


async def test_restored_row_is_as_before_the_deletion(world: World) -> None:
    """No dates, no attempts, no revocation, and nothing due."""
    identity_id = await world.active("alice")
    before = world.row(identity_id)
    await world.delete(identity_id)
    world.registry.overtake(identity_id, attempts=3, last_error="acs_unavailable")

    await world.restore(identity_id)

    assert world.row(identity_id) == before
    assert world.agenda() == []


async def test_tokens_of_before_stay_dead(world: World) -> None:
    """Restoring is for the future."""
    created = await world.create_with_token()
    await world.delete(created.id)

    await world.restore(created.id)

    assert not world.acs.is_alive(created.token)


async def test_revoked_identity_is_restored_without_acs(world: World) -> None:
    """Everything was done when it was deleted."""
    identity_id = await world.deleted()
    before = len(world.acs.calls)

    await world.restore(identity_id)

    assert world.acs.calls[before:] == []


async def test_active_identity_is_left_as_it_is(world: World) -> None:
    """200, and nothing is written."""
    identity_id = await world.active()
    etag = world.registry.rows[identity_id].etag

    restored = await world.restore(identity_id)

    assert restored.id == identity_id
    assert world.registry.rows[identity_id].etag == etag


async def test_unknown_identity_is_not_found(world: World) -> None:
    """There is nothing to restore."""
    assert await refusal(world.restore(UNKNOWN)) is IdentityNotFound


@pytest.mark.parametrize("state", [State.CREATING, State.PURGING])
async def test_identity_that_is_not_there_for_callers_is_not_found(
    world: World, state: State
) -> None:
    """Not yet, or no more."""
    identity_id = await (world.creating() if state is State.CREATING else world.purging())

    assert await refusal(world.restore(identity_id)) is IdentityNotFound

    assert world.row(identity_id).state is state


async def test_purged_identity_is_not_found(world: World) -> None:
    """A purge is for ever."""
    identity_id = await world.deleted()
    await world.purge(identity_id)

    assert await refusal(world.restore(identity_id)) is IdentityNotFound


async def test_unrevoked_identity_is_revoked_first(world: World) -> None:
    """No token of before comes back to life with it."""
    created = await world.create_with_token()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    await refusal(world.delete(created.id))

    await world.restore(created.id)

    assert not world.acs.is_alive(created.token)
    assert world.row(created.id).state is State.ACTIVE


@pytest.mark.parametrize("happens", ["fails", "loses"])
async def test_unrevoked_identity_stays_deleted_while_acs_is_down(
    world: World, happens: str
) -> None:
    """503, and nothing is written."""
    identity_id = await world.unrevoked()
    before = world.row(identity_id)
    getattr(world.acs, happens)("revoke_tokens", ACS_IS_DOWN)

    assert await refusal(world.restore(identity_id)) is AcsUnavailable

    assert world.row(identity_id) == before


async def test_phantom_is_not_found_and_its_row_goes_out(world: World) -> None:
    """Its first revocation shows that there never was one."""
    await world.phantom()

    assert await refusal(world.restore(UNKNOWN)) is IdentityNotFound

    assert world.is_gone(UNKNOWN)


async def test_identity_made_elsewhere_can_be_restored(world: World) -> None:
    """It stays in the registry as an active one."""
    identity_id = world.acs.add()
    await world.delete(identity_id)

    await world.restore(identity_id)

    assert world.row(identity_id) == IdentityRow(id=identity_id, state=State.ACTIVE, adopted=True)


@pytest.mark.parametrize("happens", ["fails", "loses"])
async def test_unknown_outcome_is_told(world: World, happens: str) -> None:
    """Nothing is assumed, and nothing undone."""
    identity_id = await world.deleted()
    getattr(world.registry, happens)("update", TABLE_IS_DOWN)

    assert await refusal(world.restore(identity_id)) is RegistryUnavailable


async def test_restore_that_meets_a_purge_finds_nothing(world: World) -> None:
    """The claim came first: its ETag decides."""
    identity_id = await world.deleted()
    world.registry.meets("update", lambda: world.purge(identity_id))

    assert await refusal(world.restore(identity_id)) is IdentityNotFound

    assert world.is_gone(identity_id)


async def test_restore_that_meets_another_restore_succeeds(world: World) -> None:
    """Somebody else has done it."""
    identity_id = await world.deleted()
    world.registry.meets("update", lambda: world.restore(identity_id))

    restored = await world.restore(identity_id)

    assert restored.id == identity_id


async def test_restore_that_meets_the_end_of_a_deletion_decides_anew(world: World) -> None:
    """The deletion's record came between the read and the write."""
    identity_id = await world.unrevoked()
    world.registry.meets("update", lambda: world.delete(identity_id))

    await world.restore(identity_id)

    assert world.row(identity_id).state is State.ACTIVE


async def test_restore_that_meets_a_new_deletion_revokes_for_it_too(world: World) -> None:
    """A token of the life in between is dead when the second restore answers."""
    identity_id = await world.unrevoked()
    tokens = []

    async def live_again() -> None:
        await world.restore(identity_id)
        tokens.append((await world.issue(identity_id)).token)
        world.acs.fails("revoke_tokens", ACS_IS_DOWN)
        await refusal(world.delete(identity_id))

    world.registry.meets("update", live_again)

    await world.restore(identity_id)

    assert [world.acs.is_alive(token) for token in tokens] == [False]


async def test_restore_gives_up_after_four_rounds(world: World) -> None:
    """The row changes before each attempt: the caller asks again."""
    identity_id = await world.deleted()
    world.registry.fails("update", CONFLICT, times=4)
    before = len(world.registry.calls)

    assert await refusal(world.restore(identity_id)) is IdentityBusy

    assert world.registry.calls[before:].count("update") == 4


async def test_of_restore_and_purge_at_once_one_wins(world: World) -> None:
    """Either it is active and whole, or it is gone."""
    identity_id = await world.deleted("alice")

    restored, purged = await asyncio.gather(
        world.restore(identity_id), world.purge(identity_id), return_exceptions=True
    )

    assert isinstance(restored, ServiceError) != isinstance(purged, ServiceError)
    assert world.is_gone(identity_id) == (purged is None)
