"""issue_token: minted first, handed out only when the row that is read afterwards allows it."""

from datetime import timedelta

import pytest

from identity_service.errors import (
    AcsUnavailable,
    IdentityDeleted,
    IdentityNotFound,
    IdentityUnfinished,
    RegistryUnavailable,
    Throttled,
)
from tests.operations.virtual_time import START
from tests.operations.world import ACS_IS_DOWN, TABLE_IS_DOWN, UNKNOWN, World, refusal


async def test_token_of_an_active_identity_is_alive(world: World) -> None:
    """It is handed out with the identity's id."""
    identity_id = await world.active()

    issued = await world.issue(identity_id)

    assert issued.id == identity_id
    assert world.acs.is_alive(issued.token)


async def test_token_lives_as_long_as_asked(world: World) -> None:
    """ACS is told how many minutes."""
    identity_id = await world.active()

    issued = await world.issue(identity_id, minutes=90)

    assert issued.expires_on == START + timedelta(minutes=90)


async def test_issuing_costs_one_call_and_one_read(world: World) -> None:
    """Nothing else that one could measure."""
    identity_id = world.acs.add()

    await world.issue(identity_id)

    assert (world.acs.calls, world.registry.calls) == (["issue_token"], ["read"])


async def test_old_tokens_go_on_counting(world: World) -> None:
    """Refreshing is no revocation."""
    identity_id = await world.active()
    first = await world.issue(identity_id)

    await world.issue(identity_id)

    assert world.acs.is_alive(first.token)


async def test_identity_made_elsewhere_is_issued_tokens(world: World) -> None:
    """ACS knows it, the registry does not."""
    identity_id = world.acs.add()

    issued = await world.issue(identity_id)

    assert world.acs.is_alive(issued.token)


async def test_unknown_identity_is_not_found(world: World) -> None:
    """ACS says so, and the registry is not asked."""
    assert await refusal(world.issue(UNKNOWN)) is IdentityNotFound

    assert world.registry.calls == []


@pytest.mark.parametrize("fault", [ACS_IS_DOWN, Throttled("as the test wants it", retry_after=7)])
async def test_fault_of_acs_is_told(world: World, fault: AcsUnavailable | Throttled) -> None:
    """As it is."""
    identity_id = await world.active()
    world.acs.fails("issue_token", fault)

    assert await refusal(world.issue(identity_id)) is type(fault)


async def test_token_is_dropped_when_the_mark_cannot_be_read(world: World) -> None:
    """It may be there."""
    identity_id = await world.active()
    world.registry.fails("read", TABLE_IS_DOWN)

    assert await refusal(world.issue(identity_id)) is RegistryUnavailable


async def test_deleted_identity_is_issued_none(world: World) -> None:
    """The caller is told how to get it back."""
    identity_id = await world.deleted()

    with pytest.raises(IdentityDeleted, match=f"deleted-identities/{identity_id}/restore"):
        await world.issue(identity_id)


async def test_identity_deleted_and_not_revoked_is_issued_none(world: World) -> None:
    """The mark alone forbids it."""
    identity_id = await world.unrevoked()

    assert await refusal(world.issue(identity_id)) is IdentityDeleted


async def test_identity_being_purged_is_issued_none(world: World) -> None:
    """Although ACS still knows it."""
    identity_id = await world.purging()

    assert await refusal(world.issue(identity_id)) is IdentityDeleted


async def test_identity_in_creation_is_issued_none(world: World) -> None:
    """Its creator has not come to the end: it may yet be purged."""
    identity_id = await world.creating()

    assert await refusal(world.issue(identity_id)) is IdentityUnfinished


async def test_token_minted_before_the_mark_dies_with_the_deletion(world: World) -> None:
    """Deleted between the mint and the read: it is dropped, and dead besides."""
    identity_id = await world.active()
    world.registry.meets("read", lambda: world.delete(identity_id))

    assert await refusal(world.issue(identity_id)) is IdentityDeleted


async def test_token_handed_out_is_dead_once_delete_has_answered(world: World) -> None:
    """Issued just before the mark is written: the revocation that follows kills it."""
    identity_id = await world.active()
    tokens = []

    async def issue() -> None:
        tokens.append((await world.issue(identity_id)).token)

    world.registry.meets("update", issue)

    await world.delete(identity_id)

    assert [world.acs.is_alive(token) for token in tokens] == [False]


async def test_token_minted_after_the_revocation_finds_the_mark(world: World) -> None:
    """A call that meets a deletion halfway through gets nothing."""
    identity_id = await world.active()
    outcomes = []

    async def issue() -> None:
        outcomes.append(await refusal(world.issue(identity_id)))

    world.registry.passes("update")
    world.registry.meets("update", issue)

    await world.delete(identity_id)

    assert outcomes == [IdentityDeleted]


async def test_restored_identity_is_issued_tokens(world: World) -> None:
    """It is active like any other."""
    identity_id = await world.deleted()
    await world.restore(identity_id)

    issued = await world.issue(identity_id)

    assert world.acs.is_alive(issued.token)


async def test_unregistered_identity_gets_no_token_where_only_registered_ones_count(
    world: World,
) -> None:
    """The token that ACS minted goes no further."""
    world.registered_only = True

    assert await refusal(world.issue(world.acs.add())) is IdentityNotFound
