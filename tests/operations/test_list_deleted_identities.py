"""list_deleted_identities: in the order of their purge, page by page."""

import pytest

from identity_service.errors import InvalidQuery, RegistryUnavailable
from identity_service.model import CleanupPolicy, Listing
from identity_service.operations import list_deleted_identities
from identity_service.operations.get_deleted_identity import DeletedIdentity
from identity_service.operations.list_deleted_identities import ListDeletedIdentities
from tests.operations.world import (
    ACS_IS_DOWN,
    HOUR,
    RETENTION,
    TABLE_IS_DOWN,
    World,
    refusal,
)


async def listed(world: World, query: ListDeletedIdentities) -> Listing[DeletedIdentity]:
    """A page of the list."""
    return await list_deleted_identities(query, world.registry, world.cleanup)


async def test_deleted_identities_are_listed_in_the_order_of_their_purge(world: World) -> None:
    """Whatever their ids."""
    ids = [await world.active() for _ in range(3)]
    order = [ids[1], ids[2], ids[0]]
    for identity_id in order:
        await world.delete(identity_id)
        world.clock.forward(HOUR)

    page = await listed(world, ListDeletedIdentities())

    assert [identity.id for identity in page.value] == order


async def test_others_are_not_listed(world: World) -> None:
    """Neither active ones nor those in creation, although these are on the agenda."""
    await world.active()
    await world.creating()

    page = await listed(world, ListDeletedIdentities())

    assert page == Listing(value=[])


async def test_identities_being_purged_are_listed(world: World) -> None:
    """Until they are gone."""
    identity_id = await world.purging()

    page = await listed(world, ListDeletedIdentities())

    assert [identity.id for identity in page.value] == [identity_id]


async def test_pages_lead_to_the_end(world: World) -> None:
    """Every identity once, in order; the last page has no continuation."""
    expected = [await world.deleted() for _ in range(5)]
    page = await listed(world, ListDeletedIdentities(max_page_size=2))
    found = page.value

    while page.continuation:
        query = ListDeletedIdentities(max_page_size=2, continuation=page.continuation)
        page = await listed(world, query)
        found = found + page.value

    assert [identity.id for identity in found] == expected


async def test_page_may_be_empty_and_not_the_last(world: World) -> None:
    """One that holds nothing but identities in creation leads on all the same."""
    await world.creating()
    identity_id = await world.deleted()

    first = await listed(world, ListDeletedIdentities(max_page_size=1))
    assert first.continuation
    second = await listed(
        world, ListDeletedIdentities(max_page_size=1, continuation=first.continuation)
    )

    assert (first.value, [identity.id for identity in second.value]) == ([], [identity_id])


async def test_only_stuck_ones_are_listed_when_asked_for(world: World) -> None:
    """Those that have failed as often as the settings allow."""
    world.cleanup = CleanupPolicy(max_attempts=2)
    once, twice, thrice = [await world.deleted() for _ in range(3)]
    for attempts, identity_id in enumerate([once, twice, thrice], 1):
        world.registry.overtake(identity_id, attempts=attempts)

    page = await listed(world, ListDeletedIdentities(stuck=True))

    assert [identity.id for identity in page.value] == [twice, thrice]


async def test_stuck_one_tells_its_last_error(world: World) -> None:
    """An operator sees why."""
    world.cleanup = CleanupPolicy(max_attempts=1)
    await world.deleted()
    world.clock.forward(RETENTION)
    world.acs.fails("delete", ACS_IS_DOWN)
    await world.sweep()

    page = await listed(world, ListDeletedIdentities(stuck=True))

    assert [identity.last_error for identity in page.value] == ["acs_unavailable"]


async def test_identity_purged_while_the_page_is_read_is_left_out(world: World) -> None:
    """The agenda told of it, its row is gone."""
    gone, kept = [await world.deleted() for _ in range(2)]
    world.registry.meets("read", lambda: world.purge(gone))

    page = await listed(world, ListDeletedIdentities())

    assert [identity.id for identity in page.value] == [kept]


@pytest.mark.parametrize(
    "continuation", ["x", "|", "2030-01-01T12:00:00.000000Z", "2030-01-01T12:00:00.000000Z|", "%"]
)
async def test_invented_continuation_is_refused(world: World, continuation: str) -> None:
    """400, not an empty page."""
    call = listed(world, ListDeletedIdentities(continuation=continuation))

    assert await refusal(call) is InvalidQuery


@pytest.mark.parametrize("call", ["agenda", "read"])
async def test_unreadable_registry_is_told(world: World, call: str) -> None:
    """A shorter page would be a lie."""
    await world.deleted()
    world.registry.fails(call, TABLE_IS_DOWN)

    assert await refusal(listed(world, ListDeletedIdentities())) is RegistryUnavailable
