"""list_identities: active ones only, page by page, or a user's."""

from identity_service.errors import InvalidQuery, RegistryUnavailable
from identity_service.model import Identity, Listing
from identity_service.operations import list_identities
from identity_service.operations.list_identities import ListIdentities
from tests.operations.virtual_time import START
from tests.operations.world import TABLE_IS_DOWN, UNKNOWN, World, refusal


async def test_active_identities_are_listed(world: World) -> None:
    """As get_identity tells of each."""
    identity_id = await world.active("alice")

    listing = await list_identities(ListIdentities(), world.registry)

    assert listing == Listing(value=[Identity(id=identity_id, user_id="alice", created_on=START)])


async def test_others_are_not_listed(world: World) -> None:
    """Neither deleted ones nor those in creation or purge."""
    await world.deleted()
    await world.creating()
    await world.purging()

    listing = await list_identities(ListIdentities(), world.registry)

    assert listing.value == []


async def test_pages_lead_to_the_end(world: World) -> None:
    """Every identity once; the last page has no continuation."""
    expected = [await world.active() for _ in range(5)]
    listing = await list_identities(ListIdentities(max_page_size=2), world.registry)
    listed = listing.value

    while listing.continuation:
        query = ListIdentities(max_page_size=2, continuation=listing.continuation)
        listing = await list_identities(query, world.registry)
        listed = listed + listing.value

    assert sorted(identity.id for identity in listed) == sorted(expected)


async def test_invented_continuation_is_refused(world: World) -> None:
    """400, not an empty page."""
    query = ListIdentities(continuation="invented")

    assert await refusal(list_identities(query, world.registry)) is InvalidQuery


async def test_identity_of_a_user_is_found(world: World) -> None:
    """It alone, on one page."""
    identity_id = await world.active("alice")
    await world.active("bob")

    listing = await list_identities(ListIdentities(user_id="alice"), world.registry)

    assert ([one.id for one in listing.value], listing.continuation) == ([identity_id], None)


async def test_user_without_an_identity_has_none(world: World) -> None:
    """An empty list is no error."""
    listing = await list_identities(ListIdentities(user_id="alice"), world.registry)

    assert listing == Listing(value=[])


async def test_user_whose_identity_is_deleted_has_none(world: World) -> None:
    """It is among the deleted ones."""
    await world.deleted("alice")

    listing = await list_identities(ListIdentities(user_id="alice"), world.registry)

    assert listing.value == []


async def test_user_whose_claim_dangles_has_none(world: World) -> None:
    """A claim is not the truth."""
    await world.registry.insert_user("alice", UNKNOWN)

    listing = await list_identities(ListIdentities(user_id="alice"), world.registry)

    assert listing.value == []


async def test_unreadable_registry_is_told(world: World) -> None:
    """An empty page would be a lie."""
    world.registry.fails("active", TABLE_IS_DOWN)

    assert await refusal(list_identities(ListIdentities(), world.registry)) is RegistryUnavailable
