"""assign_teams_access: gives a Teams user or a resource account access to the ACS resource."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from identity_service.errors import AcsUnavailable, AssignmentRefused
from identity_service.operations.teams_access import assign_teams_access
from identity_service.schemas import TeamsAccessAssignedResponse, TeamsAccessResponse
from identity_service.teams_access import AccessState, Assignment
from tests.http.edge import content, memory_services, request, serve
from tests.support.virtual_time import START
from tests.support.world import (
    ACS_IS_DOWN,
    ASSIGNMENT,
    CLIENT_ID,
    HOUR,
    OBJECT_ID,
    SECOND,
    TENANT_ID,
    World,
    refusal,
)

ROUTE = "teams/access/{tenantId}/{objectId}"
# A tenant and a user whose ids have letters.
LETTERS = "aaaaaaaa-2222-3333-4444-555555555555", "bbbbbbbb-2222-3333-4444-555555555555"
USER = {"principalType": "user", "clientIds": [CLIENT_ID]}


async def sent(world: World, body: object, tenant: str = TENANT_ID, user: str = OBJECT_ID) -> Any:
    """The status, the body and the address of the response to a request."""
    req = request(body=msgspec.json.encode(body), tenantId=tenant, objectId=user)
    services = memory_services(world)
    response = await serve(req, assign_teams_access, services, route=ROUTE)
    return response.status_code, content(response), response.headers.get("Location")


async def test_new_access(world: World) -> None:
    """ACS has the assignment. The response is 201 and says what was assigned."""
    expires_on = START + HOUR

    response = await world.assign_access(expires_on=expires_on)

    assert type(response) is TeamsAccessAssignedResponse
    assert world.assignments.assignments == {(TENANT_ID, OBJECT_ID): ASSIGNMENT}
    assert response == TeamsAccessAssignedResponse(
        tenant_id=TENANT_ID,
        object_id=OBJECT_ID,
        state=AccessState.ASSIGNED,
        principal_type="user",
        client_ids=[CLIENT_ID],
        expires_on=expires_on,
        created_on=START,
        changed_on=START,
        attempts=0,
    )


async def test_address_of_new_access(world: World) -> None:
    """A 201 has the address at which the access is found, with both ids in lower case."""
    status, body, location = await sent(world, USER, LETTERS[0].upper(), LETTERS[1].upper())

    assert (status, body["tenantId"], body["objectId"]) == (201, *LETTERS)
    assert location == f"/api/teams/access/{LETTERS[0]}/{LETTERS[1]}"


async def test_repeated(world: World) -> None:
    """The same call again is 200, and ACS has the same assignment."""
    await world.assign_access()

    response = await world.assign_access()

    assert type(response) is TeamsAccessResponse
    assert world.assignments.assignments == {(TENANT_ID, OBJECT_ID): ASSIGNMENT}


async def test_replaced(world: World) -> None:
    """Other values replace all earlier ones. An absent expiresOn removes an earlier one."""
    await world.assign_access(expires_on=START + HOUR)
    world.clock.advance(timedelta(minutes=1))

    response = await world.assign_access(principal_type="teamsResourceAccount", client_ids=None)

    assert type(response) is TeamsAccessResponse
    assert (response.expires_on, response.client_ids) == (None, [])
    assert (response.created_on, response.changed_on) == (START, START + timedelta(minutes=1))
    assert [*world.assignments.assignments.values()] == [Assignment("teamsResourceAccount", ())]


async def test_removed_before(world: World) -> None:
    """Access that was removed is new: 201."""
    await world.assign_access()
    await world.remove_access()

    assert type(await world.assign_access()) is TeamsAccessAssignedResponse


@pytest.mark.parametrize("kind", ["resourceAccount", "teamsResourceAccount"])
async def test_resource_account(world: World, kind: str) -> None:
    """A resource account needs no client ids. Both names for it reach ACS unchanged."""
    status, body, _ = await sent(world, {"principalType": kind})

    assert (status, body["clientIds"]) == (201, [])
    assert [one.principal_type for one in world.assignments.assignments.values()] == [kind]


async def test_acs_does_not_respond(world: World) -> None:
    """It is 503. The registry has what is wanted, so repeating the call finishes it."""
    world.assignments.fails("put", ACS_IS_DOWN)

    assert await refusal(world.assign_access()) is AcsUnavailable
    assert world.access_registry.rows[TENANT_ID, OBJECT_ID].state is AccessState.ASSIGNING
    assert (await world.assign_access()).state is AccessState.ASSIGNED


async def test_acs_refuses_it(world: World) -> None:
    """ACS's refusal is passed on."""
    world.assignments.fails("put", AssignmentRefused("No."))

    assert await refusal(world.assign_access()) is AssignmentRefused


GUIDS = [f"{number:08x}-0000-0000-0000-000000000000" for number in range(21)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "principalType"),
        ({**USER, "principalType": "group"}, "principalType"),
        ({"principalType": "user"}, "clientIds"),
        ({**USER, "clientIds": []}, "clientIds"),
        ({**USER, "clientIds": None}, "clientIds"),
        ({**USER, "clientIds": ["app"]}, "clientIds"),
        ({**USER, "clientIds": [f"{CLIENT_ID}\n"]}, "clientIds"),
        ({**USER, "clientIds": GUIDS}, "clientIds"),
        ({**USER, "clientIds": [GUIDS[10], GUIDS[10].upper()]}, "clientIds"),
        ({**USER, "expiresOn": "tomorrow"}, "expiresOn"),
        ({**USER, "expiresOn": "2099-01-01T00:00:00"}, "expiresOn"),
        ({**USER, "expiresOn": START.isoformat()}, "expiresOn"),
        ({**USER, "expiresOn": "0001-01-01T00:00:00+14:00"}, "expiresOn"),
        ({**USER, "expiresOn": "9999-12-31T23:59:59-12:00"}, "expiresOn"),
        ({**USER, "expiresOn": "9998-12-31T23:59:59-12:00"}, "expiresOn"),
        ({**USER, "objectId": OBJECT_ID}, "objectId"),
    ],
)
async def test_invalid_body(world: World, body: object, field: str) -> None:
    """It is 400 and names the field. Neither ACS nor the registry is asked."""
    status, problem, _ = await sent(world, body)

    assert (status, problem["code"], problem["field"]) == (400, "invalid_body", field)
    assert world.assignments.calls == world.access_registry.calls == []


async def test_number_of_clients(world: World) -> None:
    """Twenty clients are accepted."""
    status, body, _ = await sent(world, {**USER, "clientIds": GUIDS[:20]})

    assert (status, body["clientIds"]) == (201, GUIDS[:20])


@pytest.mark.parametrize(("name", "field"), [("tenant", "tenantId"), ("user", "objectId")])
@pytest.mark.parametrize("text", ["", "me", "../..", f"{OBJECT_ID}\n", f"{{{OBJECT_ID}}}"])
async def test_no_guid_in_the_url(world: World, name: str, field: str, text: str) -> None:
    """It is 400 and names the part of the URL. Such text never reaches ACS."""
    status, problem, _ = await sent(world, USER, **{name: text})

    assert (status, problem["code"], problem["field"]) == (400, "invalid_guid", field)
    assert world.assignments.calls == world.access_registry.calls == []


async def test_ids_are_in_lower_case(world: World) -> None:
    """An id in upper case names the same tenant, the same user and the same application."""
    body = {"principalType": "user", "clientIds": [GUIDS[10].upper()]}
    await sent(world, body, LETTERS[0].upper(), LETTERS[1].upper())

    assert world.assignments.assignments == {LETTERS: Assignment("user", (GUIDS[10],))}


async def test_end_in_another_time_zone(world: World) -> None:
    """The end is in UTC and in whole seconds."""
    moment = (START + SECOND).replace(microsecond=5)
    east = f"{moment + 2 * HOUR:%Y-%m-%dT%H:%M:%S.%f}+02:00"
    _, body, _ = await sent(world, {**USER, "expiresOn": east})

    assert datetime.fromisoformat(body["expiresOn"]) == START + SECOND
    assert body["expiresOn"].endswith("Z")
    assert world.access_registry.rows[TENANT_ID, OBJECT_ID].expires_on == (START + SECOND)
    assert START.tzinfo is UTC
