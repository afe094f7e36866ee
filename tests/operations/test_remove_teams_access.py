"""remove_teams_access: ends somebody's access."""

from identity_service.errors import AcsUnavailable
from identity_service.operations.teams_access import remove_teams_access
from identity_service.teams_access import AccessState
from tests.http.edge import memory_services, request, serve
from tests.support.world import ACS_IS_DOWN, ASSIGNMENT, OBJECT_ID, TENANT_ID, World, refusal


async def test_assigned_access(world: World) -> None:
    """ACS has no assignment any more. The response is 204, without content."""
    await world.assign_access()
    req = request(tenantId=TENANT_ID.upper(), objectId=OBJECT_ID.upper())

    response = await serve(req, remove_teams_access, memory_services(world))

    assert (response.status_code, response.get_body()) == (204, b"")
    assert world.assignments.assignments == {}
    assert world.access_registry.rows[TENANT_ID, OBJECT_ID].state is AccessState.REMOVED


async def test_repeated(world: World) -> None:
    """Repeating it is safe, and asks ACS again."""
    await world.assign_access()
    await world.remove_access()
    await world.remove_access()

    assert world.assignments.calls == ["put", "delete", "delete"]


async def test_access_that_was_assigned_elsewhere(world: World) -> None:
    """It is removed, although the registry has never heard of it."""
    world.assignments.assignments[TENANT_ID, OBJECT_ID] = ASSIGNMENT

    await world.remove_access()

    assert world.assignments.assignments == {}


async def test_acs_does_not_respond(world: World) -> None:
    """It is 503, and the registry has recorded that the access is to end."""
    await world.assign_access()
    world.assignments.fails("delete", ACS_IS_DOWN)

    assert await refusal(world.remove_access()) is AcsUnavailable
    assert world.access_registry.rows[TENANT_ID, OBJECT_ID].state is AccessState.REMOVING
