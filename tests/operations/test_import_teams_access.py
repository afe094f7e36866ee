"""import_teams_access: takes over up to 100 assignments, each with its own result."""

import asyncio
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from identity_service.limits import DEADLINE, Verifications
from identity_service.operations.imports import START_NONE
from identity_service.operations.teams_access import import_teams_access
from identity_service.schemas import (
    ImportTeamsAccessRecordRequest,
    ImportTeamsAccessRequest,
    TeamsAccessImportResult,
)
from identity_service.teams_access import AccessState, Assignment
from tests.http.edge import content, memory_services, request, serve
from tests.support.virtual_time import START
from tests.support.world import (
    ACS_IS_DOWN,
    ASSIGNMENT,
    CLIENT_ID,
    HOUR,
    TENANT_ID,
    World,
)

END = (START + HOUR).isoformat()


def record(
    object_id: str, tenant_id: str = TENANT_ID, expires_on: str | None = None
) -> ImportTeamsAccessRecordRequest:
    """A record about a user, of Alice's tenant unless the test says otherwise."""
    return ImportTeamsAccessRecordRequest(
        tenant_id=tenant_id, object_id=object_id, expires_on=expires_on
    )


def held(world: World, assignment: Assignment = ASSIGNMENT) -> str:
    """The object id of a user for whom ACS has an assignment."""
    object_id = str(uuid4())
    world.assignments.assignments[TENANT_ID, object_id] = assignment
    return object_id


async def imported(
    world: World, *records: ImportTeamsAccessRecordRequest
) -> list[TeamsAccessImportResult]:
    """The results of an import."""
    body = ImportTeamsAccessRequest(access=list(records))
    response = await import_teams_access(body, world.teams_access, world.verifications, world.clock)
    return response.results


async def test_what_acs_has_is_taken_over(world: World) -> None:
    """The registry has the assignments as ACS has them. ACS is changed by nothing."""
    account = Assignment("teamsResourceAccount", ())
    user, other = held(world), held(world, account)
    before = dict(world.assignments.assignments)

    results = await imported(world, record(user, expires_on=END), record(other))

    assert [one.result for one in results] == ["imported", "imported"]
    rows = world.access_registry.rows
    assert rows[TENANT_ID, user].client_ids == (CLIENT_ID,)
    assert rows[TENANT_ID, user].expires_on == START + HOUR
    assert rows[TENANT_ID, other].principal_type == "teamsResourceAccount"
    assert {row.state for row in rows.values()} == {AccessState.ASSIGNED}
    assert (world.assignments.assignments, {*world.assignments.calls}) == (before, {"get"})


async def test_hundred_records(world: World) -> None:
    """The results are in the order of the records. Repeating the import changes nothing."""
    records = [record(held(world)) for _ in range(100)]
    first, second = await imported(world, *records), await imported(world, *records)

    assert [one.object_id for one in first] == [one.object_id for one in records]
    assert {one.result for one in first} == {"imported"}
    assert {one.result for one in second} == {"unchanged"}


async def test_partial_success(world: World) -> None:
    """A record that is refused has its problem code, and the others are taken over."""
    ids = await world.access_in_every_state()
    removed, removing = ids[AccessState.REMOVED], ids[AccessState.REMOVING]
    world.assignments.assignments[TENANT_ID, removed] = ASSIGNMENT
    changed = held(world)
    await world.assign_access(changed)
    world.assignments.assignments[TENANT_ID, changed] = Assignment("resourceAccount", ())
    results = await imported(
        world,
        record(held(world)),
        record(str(uuid4())),
        record(removed),
        record(removing),
        record(changed),
        record("alice"),
        record(held(world), tenant_id="contoso.com"),
        record(held(world), expires_on="tomorrow"),
        record(held(world), expires_on=START.isoformat()),
        record(held(world)),
    )

    assert [one.result for one in results] == [
        "imported",
        "teams_access_not_found",
        "teams_access_being_removed",
        "teams_access_being_removed",
        "teams_access_changed",
        "invalid_guid",
        "invalid_guid",
        "invalid_body",
        "invalid_body",
        "imported",
    ]
    assert [one.field for one in results[5:9]] == ["objectId", "tenantId", "expiresOn", "expiresOn"]


async def test_refused_record_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A refused record is one line with its ids and the code. Text that is no id is not logged."""
    caplog.set_level("INFO")
    unknown = str(uuid4())
    await imported(world, record(unknown.upper()), record("alice"))

    ids = f"tenant_id={TENANT_ID} object_id={unknown}"
    assert f"teams_access_import_refused {ids} code=teams_access_not_found" in caplog.text
    assert "alice" not in caplog.text


async def test_invalid_records_do_not_reach_acs(world: World) -> None:
    """They are refused before ACS is asked."""
    await imported(world, record("../../identities"), record(str(uuid4()), expires_on="tomorrow"))

    assert world.assignments.calls == []


async def test_repeated_records(world: World) -> None:
    """Records about the same user are taken over in their order, in any case of their ids."""
    user = held(world)
    world.assignments.precede("get", lambda: asyncio.sleep(1))

    results = await imported(world, record(user), record(user.upper()), record(user))

    assert [one.result for one in results] == ["imported", "unchanged", "unchanged"]
    assert [one.object_id for one in results] == [user, user.upper(), user]


async def test_acs_fails(world: World) -> None:
    """A record for which ACS fails has that code, and nothing is written for it."""
    user = held(world)
    world.assignments.fails("get", ACS_IS_DOWN)

    assert [one.result for one in await imported(world, record(user))] == ["acs_unavailable"]
    assert world.access_registry.rows == {}
    assert [one.result for one in await imported(world, record(user))] == ["imported"]


async def test_time_is_up(world: World) -> None:
    """Records that are not reached in time are not attempted: ACS is not asked about them."""
    world.verifications = Verifications(60)
    started = asyncio.get_running_loop().time()

    results = await imported(world, *(record(held(world)) for _ in range(100)))

    assert asyncio.get_running_loop().time() - started < DEADLINE
    done = [one for one in results if one.result == "imported"]
    assert {one.result for one in results} == {"imported", "not_attempted"}
    assert DEADLINE - START_NONE < len(done) == len(world.assignments.calls)


async def refused(world: World, access: Any) -> tuple[int, str]:
    """The status and the field of a refused request."""
    req = request(body=msgspec.json.encode({"access": access}))
    response = await serve(req, import_teams_access, memory_services(world))
    return response.status_code, content(response)["field"]


async def test_invalid_body(world: World) -> None:
    """An import has 1 to 100 records, each with its tenant and its user."""
    user = {"tenantId": TENANT_ID, "objectId": str(uuid4())}

    assert await refused(world, []) == (400, "access")
    assert await refused(world, [user] * 101) == (400, "access")
    assert await refused(world, [user, {"objectId": "x"}]) == (400, "access[1].tenantId")
    assert await refused(world, [{**user, "clientIds": []}]) == (400, "access[0].clientIds")
