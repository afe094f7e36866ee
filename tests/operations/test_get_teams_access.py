"""get_teams_access: what the registry says about somebody's access, and whether ACS agrees."""

from typing import Any

import pytest

from identity_service.errors import AcsUnavailable, TeamsAccessNotFound
from identity_service.operations.teams_access import get_teams_access
from identity_service.schemas import GetTeamsAccessQuery, TeamsAccessResponse
from identity_service.teams_access import AccessState, Assignment
from tests.http.edge import content, memory_services, request, serve
from tests.support.virtual_time import START
from tests.support.world import (
    ACS_IS_DOWN,
    CLIENT_ID,
    HOUR,
    OBJECT_ID,
    TENANT_ID,
    World,
    refusal,
)

OTHER = CLIENT_ID.replace("2", "3")


async def got(
    world: World, object_id: str = OBJECT_ID, *, verify: bool = False
) -> TeamsAccessResponse:
    """The response."""
    query = GetTeamsAccessQuery(verify=verify)
    return await get_teams_access(TENANT_ID, object_id, query, world.teams_access)


async def test_assigned_access(world: World) -> None:
    """It has what was assigned, when it ends, and when it was changed. ACS is not asked."""
    await world.assign_access(expires_on=START + HOUR)
    world.assignments.calls.clear()

    response = await got(world)

    assert response == TeamsAccessResponse(
        tenant_id=TENANT_ID,
        object_id=OBJECT_ID,
        state=AccessState.ASSIGNED,
        principal_type="user",
        client_ids=[CLIENT_ID],
        expires_on=START + HOUR,
        created_on=START,
        changed_on=START,
        attempts=0,
    )
    assert world.assignments.calls == []


async def test_states(world: World) -> None:
    """Access that is being assigned is found. What is removed or being removed is not."""
    ids = await world.access_in_every_state()

    assert (await got(world, ids[AccessState.ASSIGNING])).state is AccessState.ASSIGNING
    for state in (AccessState.REMOVING, AccessState.REMOVED):
        assert await refusal(got(world, ids[state])) is TeamsAccessNotFound
        assert await refusal(got(world, ids[state], verify=True)) is TeamsAccessNotFound


@pytest.mark.parametrize("verify", [False, True])
async def test_no_access(world: World, verify: bool) -> None:
    """Somebody without access is not found, also if ACS has an assignment."""
    world.assignments.assignments[TENANT_ID, OBJECT_ID] = Assignment("user", (CLIENT_ID,))

    assert await refusal(got(world, verify=verify)) is TeamsAccessNotFound


async def served(world: World, query: str) -> tuple[int, Any]:
    """The status and the body of a response."""
    req = request(f"https://app.example/api/x?{query}", tenantId=TENANT_ID, objectId=OBJECT_ID)
    response = await serve(req, get_teams_access, memory_services(world))
    return response.status_code, content(response)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (
            Assignment("user", (CLIENT_ID.upper(),)),
            {"matches": True, "principalType": "user", "clientIds": [CLIENT_ID.upper()]},
        ),
        (
            Assignment("user", (CLIENT_ID, OTHER)),
            {"matches": False, "principalType": "user", "clientIds": [CLIENT_ID, OTHER]},
        ),
        (
            Assignment("resourceAccount", ()),
            {"matches": False, "principalType": "resourceAccount", "clientIds": []},
        ),
        (None, {"matches": False}),
    ],
    ids=["the same", "other clients", "another kind", "nothing"],
)
async def test_verified(world: World, held: Assignment | None, expected: object) -> None:
    """The response says whether ACS has the same, and what it has instead. Nothing is changed."""
    await world.assign_access()
    world.assignments.assignments.clear()
    if held:
        world.assignments.assignments[TENANT_ID, OBJECT_ID] = held
    before = dict(world.access_registry.rows)

    status, body = await served(world, "verify=true")

    assert (status, body["acs"]) == (200, expected)
    assert body["clientIds"] == [CLIENT_ID]
    assert world.access_registry.rows == before


async def test_not_verified(world: World) -> None:
    """Without `verify` the response does not say what ACS has."""
    await world.assign_access()

    for query in ("", "verify=false"):
        assert "acs" not in (await served(world, query))[1]


async def test_acs_does_not_respond(world: World) -> None:
    """Then nothing is said about what ACS has: 503."""
    await world.assign_access()
    world.assignments.fails("get", ACS_IS_DOWN)

    assert await refusal(got(world, verify=True)) is AcsUnavailable


async def test_invalid_query(world: World) -> None:
    """`verify` is true or false."""
    status, body = await served(world, "verify=1")

    assert (status, body["code"], body["field"]) == (400, "invalid_query", "verify")
