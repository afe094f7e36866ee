"""list_identities: the active identities in pages, or the identity of one user."""

from typing import get_args

import pytest

from identity_service.errors import InvalidQuery
from identity_service.identity import Page, State
from identity_service.operations.identities import list_identities
from identity_service.schemas import (
    ANY_STATE,
    IdentityResponse,
    ListIdentitiesQuery,
    StateFilter,
)
from tests.support.memory import UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import World, refusal


async def listed(world: World, query: ListIdentitiesQuery) -> Page[IdentityResponse]:
    """A page of the list."""
    return await list_identities(query, world.registry)


async def test_active_identities(world: World) -> None:
    """An active identity is listed as get_identity returns it."""
    identity_id = await world.active("alice")
    page = await listed(world, ListIdentitiesQuery())

    assert page == Page([IdentityResponse(id=identity_id, user_id="alice", created_on=START)])


async def test_other_states(world: World) -> None:
    """Identities that are deleted, or being created or purged, are not listed."""
    for state in (State.CREATING, State.DELETED, State.PURGING):
        await world.in_state(state)

    assert await listed(world, ListIdentitiesQuery()) == Page([])


async def test_pages(world: World) -> None:
    """The pages contain every identity once, and the last page has no continuation."""
    expected = [await world.active() for _ in range(5)]
    page = await listed(world, ListIdentitiesQuery(max_page_size=2))
    pages = [page.items]
    while page.continuation:
        query = ListIdentitiesQuery(max_page_size=2, continuation=page.continuation)
        page = await listed(world, query)
        pages.append(page.items)

    assert [len(items) for items in pages] == [2, 2, 1]
    assert sorted(identity.id for items in pages for identity in items) == sorted(expected)


async def test_invented_continuation(world: World) -> None:
    """A continuation that no page has returned is refused."""
    query = ListIdentitiesQuery(continuation="invented")

    assert await refusal(listed(world, query)) is InvalidQuery


async def test_identity_of_a_user(world: World) -> None:
    """The list of a user contains the user's identity only."""
    identity_id = await world.active("alice")
    await world.active("bob")
    page = await listed(world, ListIdentitiesQuery(user_id="alice"))

    assert page == Page([IdentityResponse(id=identity_id, user_id="alice", created_on=START)])


@pytest.mark.parametrize("state", [State.CREATING, State.DELETED, State.PURGING])
async def test_user_whose_identity_is_not_active(world: World, state: State) -> None:
    """The list of a user whose identity is not active is empty."""
    await world.in_state(state, "alice")

    assert await listed(world, ListIdentitiesQuery(user_id="alice")) == Page([])


@pytest.mark.parametrize("row", [{}, {"alice": UNKNOWN}], ids=["no row", "row without identity"])
async def test_user_without_an_identity(world: World, row: dict[str, str]) -> None:
    """The list of a user without an identity is empty, which is not an error."""
    for user_id, identity_id in row.items():
        await world.registry.insert_user(user_id, identity_id)

    assert await listed(world, ListIdentitiesQuery(user_id="alice")) == Page([])


async def test_identities_in_any_state(world: World) -> None:
    """With `state=any`, the list has every identity once."""
    states = (State.ACTIVE, State.CREATING, State.DELETED, State.PURGING)
    expected = {await world.in_state(state): state for state in states}
    page = await listed(world, ListIdentitiesQuery(state=ANY_STATE))

    assert {item.id: item.state for item in page.items} == expected
    assert len(page.items) == len(expected)


def test_every_state_can_be_asked_for() -> None:
    """The states of the query are those of the domain, and `any`."""
    assert set(get_args(StateFilter)) == {*State, ANY_STATE}
