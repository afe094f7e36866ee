"""Whether the app uses the registry's ACS resource: what a worker finds out and refuses."""

import asyncio
import re
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from azure.functions import HttpRequest, HttpResponse

from identity_service.access_lifecycle import TeamsAccess
from identity_service.errors import RegistryUnavailable, ServiceError, WrongResource
from identity_service.identity import Identity, State, resource_of
from identity_service.lifecycle import Lifecycle
from identity_service.resource import ACS_TIMEOUT, RECHECK, ResourceGuard
from tests.support.memory import FOREIGN, RESOURCE, MemoryAcs
from tests.support.world import (
    ACS_IS_DOWN,
    ASSIGNMENT,
    CLIENT_ID,
    OBJECT_ID,
    RETENTION,
    TABLE_IS_DOWN,
    TENANT_ID,
    World,
)
from tests.test_who_may_call import CALLERS, ENTRA, SOMEONE, App, header
from tools.openapi.document import Route, routes

OWN = RESOURCE.removeprefix("8:acs:")
OTHER = resource_of(FOREIGN)
# The user of the tests' sign-ins.
USER_ID = f"aad/{SOMEONE['tid']}/{SOMEONE['oid']}"

# What only reads, or asks ACS for nothing but a token of Teams. Every other row of function_app.py
# changes something, or issues a token for what the registry may have.
READS = {"exchange_teams_token", "exchange_my_teams_token"}
CHANGING = [route for route in routes() if route.method != "GET" and route.name not in READS]
BODIES: dict[str, Any] = {
    "create_identity_with_token": {"scopes": ["chat"]},
    "issue_token": {"scopes": ["chat"]},
    "import_identities": {"identities": [{"id": FOREIGN}]},
    "assign_teams_access": {"principalType": "user", "clientIds": [CLIENT_ID]},
    "import_teams_access": {"access": [{"tenantId": TENANT_ID, "objectId": OBJECT_ID}]},
}


class OtherAcs(MemoryAcs):
    """An ACS resource whose identities have the other GUID."""

    def add(self) -> str:
        """Create an identity."""
        self.identities.append(super().add().replace(OWN, OTHER))
        return self.identities[-1]

    def _require(self, identity_id: str) -> None:
        if identity_id not in self.identities:
            raise WrongResource("ACS has no such identity in this resource.")


def guard(world: World, setting: str = "") -> ResourceGuard:
    """The check of a new worker."""
    return ResourceGuard(world.acs, world.registry, setting)


async def moved(world: World) -> World:
    """The world with an identity and its record, after its app was pointed at another resource."""
    await world.active()
    world.registry.resource = OWN
    world.acs = OtherAcs(world.clock)
    return world


async def outcome(call: Awaitable[object]) -> type[ServiceError] | None:
    """The class of the error that the call raises, if any."""
    try:
        await call
    except ServiceError as error:
        return type(error)
    return None


# What a worker finds out


@pytest.mark.parametrize(
    ("recorded", "setting", "expected"),
    [
        (None, "", None),
        (None, OWN, None),
        (OWN, "", None),
        (OWN, OWN, None),
        (OWN, OTHER, WrongResource),
    ],
)
async def test_without_identities_the_setting_decides(
    world: World, recorded: str | None, setting: str, expected: type[ServiceError] | None
) -> None:
    """ACS can be asked about nothing. The app is refused if the setting names another resource."""
    world.registry.resource = recorded

    assert await outcome(guard(world, setting).check()) is expected


@pytest.mark.parametrize("setting", ["", OWN, OTHER])
async def test_acs_shows_another_resource(world: World, setting: str) -> None:
    """If ACS owns none of the identities, the app is refused, whatever the setting says."""
    await moved(world)

    assert await outcome(guard(world, setting).check()) is WrongResource


@pytest.mark.parametrize("state", [State.SUSPENDED, State.DELETED, State.PURGING, State.CREATING])
async def test_identity_in_any_confirmed_state_shows_it(world: World, state: State) -> None:
    """An app that has no active identity left is refused too."""
    identity_id = await world.in_state(state)
    world.registry.resource = OWN
    world.acs = OtherAcs(world.clock)
    before = world.row(identity_id)

    assert await outcome(guard(world).check()) is WrongResource
    assert world.row(identity_id) == before


async def test_deleted_elsewhere_is_no_other_resource(world: World) -> None:
    """Only "not owned" shows another resource. "Not found" shows the right one."""
    await world.active()
    world.acs.identities.clear()

    assert await outcome(guard(world).check()) is None


async def test_one_owned_identity_is_enough(world: World) -> None:
    """A single identity that ACS does not own does not stop the app."""
    await world.active()
    await world.active()
    world.acs.fails("issue_token", WrongResource("planned by the test"))

    assert await outcome(guard(world).check()) is None


async def test_record_comes_from_the_rows(world: World) -> None:
    """A table of an earlier release records the resource that most of its identities have."""
    for _ in range(2):
        await world.active()
    stray = Identity.create(FOREIGN, None, world.clock.now()).finish_creation()
    await world.registry.insert(stray)
    await guard(world).check()

    assert world.registry.resource == OWN


@pytest.mark.parametrize("number", [1, 2])
async def test_adopted_row_proves_nothing(world: World, number: int) -> None:
    """An identity that ACS has never confirmed does not decide the registry's resource."""
    for each in range(number):
        await world.delete_unrevoked(FOREIGN[:-1] + str(each))
    await guard(world).check()

    assert world.registry.resource is None


async def test_empty_registry_records_nothing(world: World) -> None:
    """A setting may be wrong. The record waits for an identity."""
    await guard(world, OTHER).check()

    assert world.registry.resource is None


async def test_two_workers_record_at_once(world: World) -> None:
    """One wins, the other reads what it has recorded."""
    one, other = guard(world), guard(world)
    await asyncio.gather(*(each.accept(world.acs.add()) for each in (one, other)))

    assert world.registry.calls.count("record_resource") == 2
    assert world.registry.resource == OWN


async def test_slower_worker_of_another_resource(world: World) -> None:
    """If a worker of another resource records first, this one is refused."""
    slow = guard(world)

    async def record() -> None:
        world.registry.resource = OTHER

    world.registry.precede("record_resource", record)

    assert await outcome(slow.accept(world.acs.add())) is WrongResource


@pytest.mark.parametrize("call", ["read_resource", "list_identities"])
async def test_failing_registry(world: World, call: str) -> None:
    """If the registry fails, it is not known, and the next call asks again."""
    new = guard(world)
    world.registry.fails(call, TABLE_IS_DOWN)

    assert await outcome(new.check()) is RegistryUnavailable
    assert await outcome(new.check()) is None


async def test_acs_does_not_respond(world: World) -> None:
    """During an outage of ACS the calls go on: deletions are recorded and finished later."""
    await world.active()
    world.acs.fails("issue_token", ACS_IS_DOWN)

    assert await outcome(guard(world, OWN).check()) is None


async def test_acs_hangs(world: World) -> None:
    """A call waits for ACS only shortly."""
    await world.active()
    world.acs.precede("issue_token", lambda: asyncio.sleep(3600))
    started = asyncio.get_running_loop().time()

    assert await outcome(guard(world, OWN).check()) is None
    assert asyncio.get_running_loop().time() - started == ACS_TIMEOUT


async def test_proved_once(world: World) -> None:
    """A worker asks once. Later calls ask neither ACS nor the registry."""
    await world.active()
    new = guard(world)
    await new.check()
    calls = [*world.registry.calls], [*world.acs.calls]
    await asyncio.sleep(10 * RECHECK)
    await new.check()

    assert (world.registry.calls, world.acs.calls) == calls


async def test_first_calls_share_the_check(world: World) -> None:
    """A hundred first calls ask once."""
    await world.active()
    world.registry.calls.clear()
    new = guard(world)
    await asyncio.gather(*(new.check() for _ in range(100)))

    assert world.registry.calls == ["read_resource", "list_identities", "record_resource"]
    assert world.acs.calls.count("issue_token") == 1


async def test_refusal_is_cached_for_seconds(world: World) -> None:
    """Refused calls cost nothing for a few seconds. Then a corrected record is noticed."""
    world.registry.resource = OTHER
    new = guard(world, OWN)
    assert await outcome(new.check()) is WrongResource
    world.registry.resource = OWN
    calls = len(world.registry.calls)

    assert await outcome(new.check()) is WrongResource
    assert len(world.registry.calls) == calls
    await asyncio.sleep(RECHECK)
    assert await outcome(new.check()) is None


async def test_log_names_the_resources(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The line has both GUIDs and the remedy. The caller does not get them."""
    world.registry.resource = OTHER
    with pytest.raises(WrongResource) as caught:
        await guard(world, OWN).check()
    [line] = caplog.messages

    assert f"wrong_resource recorded={OTHER} setting={OWN} acs=- remedy=" in line
    assert OTHER not in caught.value.detail


# Creation and registration


def lifecycle(world: World, setting: str = "") -> Lifecycle:
    """The steps of a new worker."""
    accept = guard(world, setting).accept
    return Lifecycle(world.acs, world.registry, world.clock, accept)


async def test_first_creation_decides(world: World) -> None:
    """The registry belongs to the resource of its first identity."""
    await lifecycle(world).create(None)

    assert world.registry.resource == OWN


async def test_first_registration_decides(world: World) -> None:
    """The same holds for an identity that ACS has confirmed."""

    async def admit() -> None:
        pass

    await lifecycle(world).register(world.acs.add(), None, admit)

    assert world.registry.resource == OWN


@pytest.mark.parametrize("setting", ["", OWN])
async def test_creation_shows_the_mistake(world: World, setting: str) -> None:
    """The identity of the wrong resource is deleted there again, and no row is written."""
    world.registry.resource = OTHER

    assert await outcome(lifecycle(world, setting).create("alice")) is WrongResource
    assert (world.acs.identities, world.registry.rows, world.registry.users) == ([], {}, {})


async def test_registration_shows_the_mistake(world: World) -> None:
    """The rows of the registration are removed again, and ACS keeps the identity."""
    world.registry.resource = OTHER
    identity_id = world.acs.add()

    async def admit() -> None:
        pass

    call = lifecycle(world).register(identity_id, "alice", admit)

    assert await outcome(call) is WrongResource
    assert (world.acs.identities, world.registry.rows, world.registry.users) == (
        [identity_id],
        {},
        {},
    )


async def test_setting_that_acs_contradicts_is_not_recorded(world: World) -> None:
    """In an empty registry, a wrong setting leaves nothing that must be corrected later."""
    assert await outcome(lifecycle(world, OTHER).create(None)) is WrongResource
    assert (world.registry.resource, world.acs.identities) == (None, [])


async def test_resource_that_cannot_be_recorded(world: World) -> None:
    """The creation fails as if its row could not be written: the identity is deleted in ACS."""
    world.registry.fails("record_resource", TABLE_IS_DOWN)

    assert await outcome(lifecycle(world).create(None)) is RegistryUnavailable
    assert (world.acs.identities, world.registry.rows) == ([], {})


# The operations of an app at another resource


class Misplaced(App):
    """The app at another resource, with a registry that has an identity in each state."""

    async def fill(self) -> None:
        """Write the rows, then point the app at the other resource."""
        for state in State:
            await self.world.in_state(state, f"user of {state}")
        self.identity_id = await self.world.active(USER_ID)
        await self.world.assign_access()
        self.world.registry.resource = OWN
        self.world.acs = self.services.acs = OtherAcs(self.world.clock)
        self.services.resource = guard(self.world)
        self.before = self.snapshot()

    def snapshot(self) -> tuple[object, ...]:
        """Everything that an operation could change."""
        registry, acs = self.world.registry, self.world.acs
        return (
            {*self.world.assignments.assignments},
            {*self.world.access_registry.rows.values()},
            {*registry.rows.values()},
            {*registry.entries},
            {*registry.users.values()},
            registry.resource,
            [*acs.identities],
            [*acs.revocations],
        )

    async def send(self, route: Route) -> HttpResponse:
        """The response to a valid request about the active identity."""
        kind = "application with all roles" if route.roles else "user"
        request = HttpRequest(
            route.method,
            f"https://app.example/api/{route.path}",
            headers=header(CALLERS[kind], {}),
            route_params={
                "id": self.identity_id,
                "tenantId": TENANT_ID,
                "objectId": OBJECT_ID,
            },
            body=msgspec.json.encode(BODIES[route.name]) if route.name in BODIES else b"",
        )
        context = SimpleNamespace(invocation_id=route.name)
        response: HttpResponse = await self.functions[route.name](request, context)
        return response


@pytest.fixture
async def misplaced() -> Misplaced:
    """The app at another resource."""
    app = Misplaced(ENTRA)
    await app.fill()
    return app


@pytest.mark.parametrize("route", CHANGING, ids=lambda each: each.name)
async def test_changing_operation(misplaced: Misplaced, route: Route) -> None:
    """As the first call of a worker, it is 503 and changes nothing."""
    response = await misplaced.send(route)

    assert response.status_code == 503
    assert msgspec.json.decode(response.get_body())["code"] == "wrong_resource"
    assert misplaced.snapshot() == misplaced.before


@pytest.mark.parametrize("setting", ["", OTHER])
async def test_sweep(misplaced: Misplaced, caplog: pytest.LogCaptureFixture, setting: str) -> None:
    """It fails before it does anything. The log says why."""
    misplaced.services.resource = guard(misplaced.world, setting)
    misplaced.world.clock.advance(RETENTION)
    sweep = misplaced.functions["purge_deleted_identities"]

    assert await outcome(sweep(None, SimpleNamespace(invocation_id="1"))) is WrongResource
    assert misplaced.snapshot() == misplaced.before
    assert [each.split(" due=")[0].split(" acs=")[0] for each in caplog.messages] == [
        f"wrong_resource recorded={OWN} setting={setting or '-'}",
        "sweep_failed code=wrong_resource kind=-",
    ]


async def test_ready(misplaced: Misplaced) -> None:
    """The service is not ready. The response has no GUID."""
    [route] = [each for each in routes() if each.name == "ready"]
    response = await misplaced.send(route)
    body = msgspec.json.decode(response.get_body())

    assert (response.status_code, body["acs"]["status"]) == (503, "wrong_resource")
    assert body["registry"]["status"] == "ok"
    assert not {OWN, OTHER} & set(re.findall(r"[0-9a-f-]{36}", response.get_body().decode()))


async def test_ready_without_a_registry(misplaced: Misplaced) -> None:
    """A record that cannot be read is a failure of the registry, not of ACS."""
    [route] = [each for each in routes() if each.name == "ready"]
    misplaced.world.registry.fails("read_resource", TABLE_IS_DOWN)
    misplaced.world.registry.fails("due_entries", TABLE_IS_DOWN)
    body = msgspec.json.decode((await misplaced.send(route)).get_body())

    statuses = (body["acs"]["status"], body["registry"]["status"])
    assert statuses == ("ok", "registry_unavailable")


# Teams Phone access


async def test_first_access_records_the_resource_of_the_setting(world: World) -> None:
    """Later, a worker at another resource refuses to change anything."""
    first = teams_access(world, guard(world, OWN))
    await first.assign(TENANT_ID, OBJECT_ID, ASSIGNMENT, None)
    later = guard(world, OTHER)
    with pytest.raises(WrongResource):
        await later.check()

    assert world.registry.resource == OWN


async def test_access_is_not_given_at_another_resource(world: World) -> None:
    """Two workers with different settings began at once: one of them writes nothing."""
    slow = guard(world, OTHER)
    await slow.check()
    await teams_access(world, guard(world, OWN)).assign(TENANT_ID, OBJECT_ID, ASSIGNMENT, None)
    with pytest.raises(WrongResource):
        await teams_access(world, slow).remove(TENANT_ID, OBJECT_ID)

    assert world.assignments.calls == ["put"]


async def test_access_without_a_setting_records_no_resource(world: World) -> None:
    """Nothing says which resource it is."""
    await teams_access(world, guard(world)).assign(TENANT_ID, OBJECT_ID, ASSIGNMENT, None)

    assert world.registry.resource is None


def teams_access(world: World, checked: ResourceGuard) -> TeamsAccess:
    """The protocol in a worker with this check."""
    return TeamsAccess(world.assignments, world.access_registry, world.clock, checked.assume)
