"""list_deleted_identities: in pages, in the order of the purge."""

import asyncio
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import InvalidQuery
from identity_service.identity import Page, State
from identity_service.operations.deleted_identities import (
    LONGEST,
    READS,
    get_deleted_identity,
    list_deleted_identities,
)
from identity_service.policies import CleanupPolicy
from identity_service.schemas import DeletedIdentityResponse, ListDeletedIdentitiesQuery
from tests.support.memory import UNKNOWN
from tests.support.world import ALICE, HOUR, World, refusal

FIRST_PAGE = ListDeletedIdentitiesQuery()
STUCK = ListDeletedIdentitiesQuery(stuck=True)


async def listed(
    world: World, query: ListDeletedIdentitiesQuery = FIRST_PAGE
) -> Page[DeletedIdentityResponse]:
    """A page of the list."""
    return await list_deleted_identities(query, world.registry, world.cleanup)


def ids(page: Page[DeletedIdentityResponse]) -> list[str]:
    """The ids on the page."""
    return [identity.id for identity in page.items]


async def test_order(world: World) -> None:
    """Deleted identities are listed in the order of their purge, not of their ids."""
    first, second, third = [await world.active() for _ in range(3)]
    order = [second, third, first]
    for identity_id in order:
        await world.delete(identity_id)
        world.clock.advance(HOUR)

    page = await listed(world)

    assert (ids(page), page.continuation) == (order, None)
    assert page.items[0] == await get_deleted_identity(second, world.registry)


@pytest.mark.parametrize("state", State)
async def test_states(world: World, state: State) -> None:
    """Identities that are deleted or being purged are listed, and no others."""
    identity_id = await world.in_state(state)

    is_listed = state in (State.DELETED, State.PURGING)
    assert ids(await listed(world)) == ([identity_id] if is_listed else [])


async def test_pages(world: World) -> None:
    """The pages contain every identity once, in order, and the last one has no continuation."""
    expected = [await world.deleted() for _ in range(5)]
    page = await listed(world, ListDeletedIdentitiesQuery(max_page_size=2))
    pages = [ids(page)]
    while page.continuation:
        query = ListDeletedIdentitiesQuery(max_page_size=2, continuation=page.continuation)
        page = await listed(world, query)
        pages.append(ids(page))

    assert pages == [expected[:2], expected[2:4], expected[4:]]


async def test_empty_page_before_the_last(world: World) -> None:
    """A page whose due entries belong to no deleted identity is empty but has a continuation."""
    await world.creating()
    identity_id = await world.deleted()
    first = await listed(world, ListDeletedIdentitiesQuery(max_page_size=1))

    assert first.continuation
    query = ListDeletedIdentitiesQuery(max_page_size=1, continuation=first.continuation)
    second = await listed(world, query)

    assert (ids(first), ids(second)) == ([], [identity_id])


async def test_slow_reads(world: World) -> None:
    """If rows are read slowly, a page ends before its size, and the next one continues there."""
    expected = [await world.deleted() for _ in range(READS + 1)]
    world.registry.precede("read", lambda: asyncio.sleep(LONGEST), times=READS)
    first = await listed(world, ListDeletedIdentitiesQuery(max_page_size=1000))
    assert first.continuation
    query = ListDeletedIdentitiesQuery(max_page_size=1000, continuation=first.continuation)
    second = await listed(world, query)

    assert (ids(first) + ids(second), len(first.items)) == (sorted(expected), READS)
    assert second.continuation is None


async def test_stuck_identities(world: World) -> None:
    """`stuck` lists those whose purge has failed as often as the settings allow."""
    world.cleanup = CleanupPolicy(max_attempts=2)
    once, twice, thrice = [await world.deleted() for _ in range(3)]
    for attempts, identity_id in enumerate([once, twice, thrice], 1):
        world.registry.change(identity_id, attempts=attempts)

    assert ids(await listed(world, STUCK)) == [twice, thrice]
    assert ids(await listed(world)) == [once, twice, thrice]


async def test_stuck_identities_in_pages(world: World) -> None:
    """The stuck identities are in pages, too, and nothing else is read for them."""
    stuck = [await world.deleted() for _ in range(3)]
    for identity_id in stuck:
        world.registry.change(identity_id, attempts=10)
    await world.deleted()
    world.registry.calls.clear()
    first = await listed(world, ListDeletedIdentitiesQuery(stuck=True, max_page_size=2))
    query = ListDeletedIdentitiesQuery(
        stuck=True, max_page_size=2, continuation=first.continuation or ""
    )
    second = await listed(world, query)

    assert sorted(ids(first) + ids(second)) == sorted(stuck)
    assert world.registry.calls == ["list_identities"] * 2


@pytest.mark.parametrize("state", State)
async def test_identity_of_a_user(world: World, state: State) -> None:
    """The list of a user has the user's identity if it is deleted or being purged."""
    identity_id = await world.in_state(state, "alice")
    await world.deleted("bob")

    is_listed = state in (State.DELETED, State.PURGING)
    found = await listed(world, ListDeletedIdentitiesQuery(user_id="alice"))
    assert ids(found) == ([identity_id] if is_listed else [])


async def test_stuck_identity_of_a_user(world: World) -> None:
    """With both parameters, the user's identity is listed only if it is stuck."""
    identity_id = await world.deleted("alice")
    query = ListDeletedIdentitiesQuery(user_id="alice", stuck=True)
    before = ids(await listed(world, query))
    world.registry.change(identity_id, attempts=10)

    assert (before, ids(await listed(world, query))) == ([], [identity_id])


@pytest.mark.parametrize("other", [{}, {"stuck": True}, {"user_id": ALICE.user_id}])
@pytest.mark.parametrize("deleted_by", ["user", "service"])
async def test_deleted_by(
    world: World, deleted_by: Literal["user", "service"], other: dict[str, Any]
) -> None:
    """Only what a user, or a service, has deleted is listed, also with other parameters."""
    await world.active(ALICE.user_id)
    expected = {"user": (await world.delete_me()).id, "service": await world.deleted()}
    for identity_id in expected.values():
        world.registry.change(identity_id, attempts=10)
    found = await listed(world, ListDeletedIdentitiesQuery(deleted_by=deleted_by, **other))

    is_there = not (other.get("user_id") and deleted_by == "service")
    assert ids(found) == ([expected[deleted_by]] if is_there else [])


async def test_identity_purged_during_the_call(world: World) -> None:
    """An identity that is purged while the page is read is left out."""
    gone, kept = [await world.deleted() for _ in range(2)]
    world.registry.precede("read", lambda: world.purge(gone))

    assert ids(await listed(world)) == [kept]


async def test_identity_postponed_during_the_call(world: World) -> None:
    """An identity that is postponed while the page is read is left for its new place."""
    later, kept = [await world.deleted() for _ in range(2)]
    due = world.due_entries()[0].due + HOUR
    world.registry.precede("read", world.change(later, due=due))

    assert ids(await listed(world)) == [kept]
    assert ids(await listed(world)) == [kept, later]


@pytest.mark.parametrize(
    "continuation",
    [
        *("x", "|", "%", "é👍", "\x00", "x" * 3000, "WzAsbnVsbF0"),
        "2030-01-01T12:00:00.000000Z",
        "2030-01-01T12:00:00.000000Z|",
        "2030-01-01T12:00:00.000000Z|someone",
        f"2030-01-01T12:00:00.000000Z|{UNKNOWN}{'0' * 3000}",
        f"2030-1-1T12:0:0.0Z|{UNKNOWN}",
        f"p|2030-01-01T12:00:00.000000Z|{UNKNOWN}",
    ],
)
@pytest.mark.parametrize("stuck", [False, True])
async def test_invented_continuation(world: World, continuation: str, stuck: bool) -> None:
    """A continuation that no page has returned is refused."""
    query = ListDeletedIdentitiesQuery(continuation=continuation, stuck=stuck)

    assert await refusal(listed(world, query)) is InvalidQuery


@given(st.text(max_size=60))
async def test_any_continuation(text: str) -> None:
    """Any other text is a continuation, or the error names the field."""
    query = ListDeletedIdentitiesQuery(continuation=text)
    try:
        page = await listed(World(), query)
    except InvalidQuery as error:
        page, field = Page([]), error.field
    else:
        field = "continuation"

    assert (page, field) == (Page([]), "continuation")
