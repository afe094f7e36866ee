"""list_identities: active and suspended identities in pages, or the identity of one user."""

from typing import get_args
from urllib.parse import urlencode

import msgspec
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
from tests.http.edge import URL, content, memory_services, request, serve
from tests.support.memory import UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import World, refusal


def of_state(state: str, **other: str) -> ListIdentitiesQuery:
    """The query for identities in this state."""
    return msgspec.convert({"state": state, **other}, ListIdentitiesQuery)


async def listed(world: World, query: ListIdentitiesQuery) -> Page[IdentityResponse]:
    """A page of the list."""
    return await list_identities(query, world.registry)


async def test_active_identities(world: World) -> None:
    """An active identity is listed as get_identity returns it."""
    identity_id = await world.active("alice")
    page = await listed(world, ListIdentitiesQuery())

    assert page == Page(
        [IdentityResponse(id=identity_id, state=State.ACTIVE, user_id="alice", created_on=START)]
    )


@pytest.mark.parametrize("state", State)
async def test_state(world: World, state: State) -> None:
    """The list of a state has the identities in this state, each with its state."""
    ids = {each: await world.in_state(each) for each in State}
    page = await listed(world, of_state(state))

    assert [(one.id, one.state) for one in page.items] == [(ids[state], state)]


async def test_default_state(world: World) -> None:
    """Without a state, active and suspended identities are listed."""
    ids = {state: await world.in_state(state) for state in State}
    page = await listed(world, ListIdentitiesQuery())

    assert {one.id for one in page.items} == {ids[State.ACTIVE], ids[State.SUSPENDED]}


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

    assert page == Page(
        [IdentityResponse(id=identity_id, state=State.ACTIVE, user_id="alice", created_on=START)]
    )


@pytest.mark.parametrize("state", State)
async def test_identity_of_a_user_in_any_state(world: World, state: State) -> None:
    """The list of a user has the user's identity in any state."""
    identity_id = await world.in_state(state, "alice")
    page = await listed(world, ListIdentitiesQuery(user_id="alice"))

    assert [(one.id, one.state) for one in page.items] == [(identity_id, state)]


async def test_identity_of_a_user_in_one_state(world: World) -> None:
    """With a state, the list of a user has the user's identity only in that state."""
    identity_id = await world.deleted("alice")
    deleted = await listed(world, of_state(State.DELETED, userId="alice"))
    active = await listed(world, of_state(State.ACTIVE, userId="alice"))

    assert ([one.id for one in deleted.items], active.items) == ([identity_id], [])


async def test_identity_of_another_user(world: World) -> None:
    """A user row that names an identity of another user does not count."""
    await world.registry.insert_user("bob", await world.active("alice"))

    assert await listed(world, ListIdentitiesQuery(user_id="bob")) == Page([])


@pytest.mark.parametrize("row", [{}, {"alice": UNKNOWN}], ids=["no row", "row without identity"])
async def test_user_without_an_identity(world: World, row: dict[str, str]) -> None:
    """The list of a user without an identity is empty, which is not an error."""
    for user_id, identity_id in row.items():
        await world.registry.insert_user(user_id, identity_id)

    assert await listed(world, ListIdentitiesQuery(user_id="alice")) == Page([])


async def test_identities_in_any_state(world: World) -> None:
    """With `state=any`, the list has every identity once."""
    expected = {await world.in_state(state): state for state in State}
    page = await listed(world, of_state(ANY_STATE))

    assert {item.id: item.state for item in page.items} == expected
    assert len(page.items) == len(expected)


def test_every_state_can_be_asked_for() -> None:
    """The states of the query are those of the domain, and `any`."""
    assert set(get_args(StateFilter)) == {*State, ANY_STATE}


@pytest.mark.parametrize(
    "user_id",
    [" alice", "alice ", "\u00a0", "a\0b", "alice\n", UNKNOWN, "alice\u200e", "a+b%&=#"],
    ids=ascii,
)
async def test_identity_of_an_older_user_id(world: World, user_id: str) -> None:
    """A request finds the identity of a user id that can no longer be written."""
    services = memory_services(world)
    older = await world.lifecycle.create(user_id)
    await world.active("alice")
    response = await serve(
        request(f"{URL}?{urlencode({'userId': user_id})}"), list_identities, services
    )

    assert [(each["id"], each["userId"]) for each in content(response)["value"]] == [
        (older.identity_id, user_id)
    ]
