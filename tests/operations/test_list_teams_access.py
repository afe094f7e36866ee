"""list_teams_access: who has access, in pages."""

from typing import get_args
from uuid import uuid4

import msgspec
import pytest

from identity_service.identity import Page
from identity_service.operations.teams_access import (
    assign_teams_access,
    get_teams_access,
    list_teams_access,
)
from identity_service.schemas import (
    AccessStateFilter,
    AssignTeamsAccessRequest,
    GetTeamsAccessQuery,
    ListTeamsAccessQuery,
    TeamsAccessResponse,
)
from identity_service.teams_access import AccessState
from tests.http.edge import content, memory_services, request, serve
from tests.support.world import CLIENT_ID, OBJECT_ID, TENANT_ID, World

OTHER_TENANT = TENANT_ID.replace("9", "a")


async def listed(world: World, **query: object) -> Page[TeamsAccessResponse]:
    """A page of the list."""
    return await list_teams_access(
        msgspec.convert(query, ListTeamsAccessQuery), world.access_registry
    )


async def test_item(world: World) -> None:
    """Access is listed as get_teams_access returns it."""
    await world.assign_access()
    [item] = (await listed(world)).items

    assert item == await get_teams_access(
        TENANT_ID, OBJECT_ID, GetTeamsAccessQuery(), world.teams_access
    )


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ({}, {"assigning", "assigned"}),
        ({"state": "any"}, {"assigning", "assigned", "removing", "removed"}),
        *(
            ({"state": state}, {state})
            for state in ("assigning", "assigned", "removing", "removed")
        ),
        ({"state": "unknown"}, set()),
    ],
)
async def test_states(world: World, query: dict[str, str], states: set[str]) -> None:
    """The list has what is in the state. Without one, what is assigned or being assigned."""
    ids = await world.access_in_every_state()
    page = await listed(world, **query)

    assert {one.object_id: one.state for one in page.items} == {
        ids[AccessState(state)]: state for state in states
    }


async def test_tenant(world: World) -> None:
    """The list of a tenant has its users only. The case of its id does not matter."""
    await world.assign_access()
    body = AssignTeamsAccessRequest(principal_type="user", client_ids=[CLIENT_ID])
    await assign_teams_access(OTHER_TENANT, OBJECT_ID, body, world.teams_access, world.clock)

    page = await listed(world, tenantId=OTHER_TENANT.upper())

    assert [one.tenant_id for one in page.items] == [OTHER_TENANT]


async def test_pages(world: World) -> None:
    """The pages have everyone once. The link to the next page keeps the filters."""
    users = {str(uuid4()) for _ in range(5)}
    for user in users:
        await world.assign_access(user)
    url = f"https://app.example/api/teams/access?tenantId={TENANT_ID}&maxPageSize=2&code=key"
    pages = []
    while url:
        response = await serve(
            request(url), list_teams_access, memory_services(world), route="teams/access"
        )
        body = content(response)
        pages.append([one["objectId"] for one in body["value"]])
        link = body.get("nextLink", "")
        assert not link or f"tenantId={TENANT_ID}" in link
        assert "key" not in link
        url = f"https://app.example{link}" if link else ""

    assert [len(page) for page in pages] == [2, 2, 1]
    assert {one for page in pages for one in page} == users


@pytest.mark.parametrize("query", ["tenantId=contoso.com", "state=deleted", "maxPageSize=1001"])
async def test_invalid_query(world: World, query: str) -> None:
    """It is 400, and names the parameter."""
    req = request(f"https://app.example/api/teams/access?{query}")

    problem = content(await serve(req, list_teams_access, memory_services(world)))

    assert (problem["code"], problem["field"]) == ("invalid_query", query.partition("=")[0])


def test_every_state_can_be_listed() -> None:
    """The filter accepts each state."""
    assert set(get_args(AccessStateFilter)) == {*AccessState, "any"}
