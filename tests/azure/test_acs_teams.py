"""AcsTeamsAssignments sends what its caller requests, but never later than that caller allows."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from azure.core import AsyncPipelineClient
from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import AzureError
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.transport import AsyncHttpResponse
from azure.core.rest import HttpRequest

from identity_service.azure import transport as own
from identity_service.azure.acs_calls import (
    CONNECT,
    REPEATABLE,
    Authenticate,
    SignWithKey,
    policies,
)
from identity_service.azure.acs_teams import AcsTeamsAssignments
from identity_service.azure.credential import Credential
from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    AssignmentRefused,
    ServiceError,
    Throttled,
)
from identity_service.log import begin_invocation, request_sent
from identity_service.ports import TeamsAssignments
from identity_service.services import SystemClock
from identity_service.teams_access import Assignment
from local.entra import ACS_AUDIENCE
from tests.azure.test_acs import azure_errors, described
from tests.local.acs.support import EmulatorClient, serve
from tests.support.acs_transport import HOST, Response, Transport
from tests.support.memory import MemoryAssignments

TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
OBJECT = "bbbbbbbb-0000-4000-8000-000000000002"
APP, OTHER = (f"cccccccc-0000-4000-8000-00000000000{number}" for number in (3, 4))
USER = Assignment("user", (APP,))
RESOURCE_ACCOUNT = Assignment("teamsResourceAccount", ())
NEVER = datetime.max.replace(tzinfo=UTC)
# Headers that all responses of ACS have.
FROM_ACS = {"MS-CV": "vector.0"}
CALLS: dict[str, Callable[[TeamsAssignments], Awaitable[object]]] = {
    "put": lambda teams: teams.put(TENANT, OBJECT, USER, not_after=NEVER),
    "get": lambda teams: teams.get(TENANT, OBJECT),
    "delete": lambda teams: teams.delete(TENANT, OBJECT, not_after=NEVER),
}
# Those that change something, until a moment.
CHANGES: dict[str, Callable[[TeamsAssignments, datetime], Awaitable[object]]] = {
    "put": lambda teams, moment: teams.put(TENANT, OBJECT, RESOURCE_ACCOUNT, not_after=moment),
    "delete": lambda teams, moment: teams.delete(TENANT, OBJECT, not_after=moment),
}
every_call = pytest.mark.parametrize("name", CALLS)
every_change = pytest.mark.parametrize("name", CHANGES)

RECEIVED: dict[str, object] = {
    "tenantId": TENANT,
    "objectId": OBJECT,
    "principalType": "user",
    "clientIds": [APP, OTHER],
}
# What ACS may send, and what we read.
READABLE: dict[str, tuple[dict[str, object], Assignment]] = {
    "as specified": ({}, Assignment("user", (APP, OTHER))),
    "upper case ids": (
        {"tenantId": TENANT.upper(), "objectId": OBJECT.upper()},
        Assignment("user", (APP, OTHER)),
    ),
    "as in Microsoft's sample": ({"principalType": "User"}, Assignment("user", (APP, OTHER))),
    "no client ids": ({"clientIds": []}, Assignment("user", ())),
    "null client ids": ({"clientIds": None}, Assignment("user", ())),
    "resource account": (
        {"principalType": "resourceAccount", "clientIds": None},
        Assignment("resourceAccount", ()),
    ),
    "a new field": ({"createdOn": "2030-01-01"}, Assignment("user", (APP, OTHER))),
}
INVALID: dict[str, object] = {
    "nothing": "",
    "HTML": "<html>Welcome to the proxy</html>",
    "truncated JSON": '{"tenantId":',
    "deep JSON": "[" * 100_000,
    "null": None,
    "array": [],
    "empty object": {},
    "another tenant": RECEIVED | {"tenantId": OTHER},
    "another object": RECEIVED | {"objectId": OTHER},
    "unknown type": RECEIVED | {"principalType": "group"},
    "null type": RECEIVED | {"principalType": None},
    "client ids as text": RECEIVED | {"clientIds": APP},
    "a number as client id": RECEIVED | {"clientIds": [7]},
}
# Status, code, headers and our error when something is put.
REFUSALS: list[tuple[int, str | None, dict[str, str], type[ServiceError]]] = [
    (400, "ValidationError", FROM_ACS, AssignmentRefused),
    (400, "SomethingNew", {"api-supported-versions": "2025-06-30"}, AssignmentRefused),
    (404, "TenantNotFound", FROM_ACS, AssignmentRefused),
    (422, "SomethingNew", FROM_ACS, AssignmentRefused),
    (400, "SomethingNew", {}, AcsUnavailable),
    (404, "NotFound", {}, AcsUnavailable),
    (400, None, FROM_ACS, AcsUnavailable),
    (404, None, FROM_ACS, AcsUnavailable),
    (401, "Denied", FROM_ACS, AcsRefusedUs),
    (401, "IdentityNotOwned", FROM_ACS, AcsRefusedUs),
    (403, "SubscriptionNotAllowed", FROM_ACS, AcsRefusedUs),
    (409, "Conflict", FROM_ACS, AcsUnavailable),
    (429, "TooManyRequests", FROM_ACS, Throttled),
    (500, "InternalServerError", FROM_ACS, AcsUnavailable),
    (504, "GatewayTimeout", FROM_ACS, AcsTooSlow),
]


class EmulatorCredential(Credential):
    """The app's credential, in the emulator's tenant."""

    def __init__(self, emulator: EmulatorClient) -> None:
        self._emulator = emulator

    async def get_token_info(self, *_: object, **__: object) -> AccessTokenInfo:
        """A token for ACS."""
        return AccessTokenInfo(self._emulator.issuer.sign(ACS_AUDIENCE, 3600), 2**40)


class StubClient:
    """A client whose requests take some time, then raise this error."""

    def __init__(self, error: BaseException | None = None, seconds: float = 0) -> None:
        self._error = error
        self._seconds = seconds

    async def send_request(self, *_: object, **__: object) -> None:
        """See azure-core."""
        request_sent()  # as the adapter's policy does
        await asyncio.sleep(self._seconds)
        assert self._error
        raise self._error.with_traceback(None)


def on(client: object, endpoint: str = f"https://{HOST}") -> AcsTeamsAssignments:
    """The adapter on a client."""
    typed = cast(AsyncPipelineClient[HttpRequest, AsyncHttpResponse], client)
    return AcsTeamsAssignments(typed, endpoint)


def receiving(transport: Transport) -> AcsTeamsAssignments:
    """The adapter on a transport, without retries."""
    return on(AsyncPipelineClient(f"https://{HOST}", transport=transport, policies=[]))


def error_body(code: str | None) -> object:
    """An error as ACS sends it; without a code, a page that another server sent."""
    error = {"code": code, "message": "As ACS says.", "target": "ClientIds"}
    return {"error": error} if code else "<html>Gateway</html>"


def trusting(ca_file: Path, authentication: object, port: int) -> AcsTeamsAssignments:
    """The adapter as the app connects it, except that it trusts a local authority."""
    transport = own.Transport(CONNECT, REPEATABLE)
    transport.session = own.new_session(ssl=ssl.create_default_context(cafile=ca_file))
    client: AsyncPipelineClient[HttpRequest, AsyncHttpResponse] = AsyncPipelineClient(
        "", transport=transport, policies=policies(authentication, traced=False)
    )
    return on(client, f"https://localhost:{port}")


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Pass on what arrives, until the connection ends."""
    while received := await source.read(65536):
        target.write(received)
    target.close()


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorClient]:
    """The ACS emulator, for all tests of this process."""
    with serve(tmp_path_factory.mktemp("acs")) as client:
        yield client


@pytest.fixture
def fresh(emulator: EmulatorClient) -> EmulatorClient:
    """The emulator without assignments, faults or counts."""
    emulator.control("POST", "/reset")
    return emulator


@pytest.fixture
async def real(fresh: EmulatorClient) -> AsyncIterator[AcsTeamsAssignments]:
    """The adapter on the emulator, with a key."""
    adapter = trusting(fresh.ca_file, SignWithKey(fresh.keys[0]), fresh.port)
    yield adapter
    await adapter.close()


@pytest.fixture(params=["memory", "key", "managed identity"])
async def teams(
    request: pytest.FixtureRequest, fresh: EmulatorClient
) -> AsyncIterator[TeamsAssignments]:
    """An ACS resource: in memory, and the adapter on the emulator, with each credential."""
    if request.param == "memory":
        yield MemoryAssignments(SystemClock())
        return
    key, identity = SignWithKey(fresh.keys[0]), Authenticate(EmulatorCredential(fresh))
    authentication = key if request.param == "key" else identity
    adapter = trusting(fresh.ca_file, authentication, fresh.port)
    yield adapter
    await adapter.close()


# Facts about every implementation of the port


@pytest.mark.parametrize(
    "assignment", [USER, Assignment("user", (OTHER, APP)), RESOURCE_ACCOUNT], ids=str
)
async def test_an_assignment_is_read_as_it_was_put(
    teams: TeamsAssignments, assignment: Assignment
) -> None:
    """It may have no client ids: a resource account needs none."""
    await teams.put(TENANT, OBJECT, assignment, not_after=NEVER)

    assert await teams.get(TENANT, OBJECT) == assignment


async def test_an_assignment_is_replaced(teams: TeamsAssignments) -> None:
    """What was put last counts, and putting it again changes nothing."""
    await teams.put(TENANT, OBJECT, USER, not_after=NEVER)
    await teams.put(TENANT, OBJECT, RESOURCE_ACCOUNT, not_after=NEVER)
    await teams.put(TENANT, OBJECT, RESOURCE_ACCOUNT, not_after=NEVER)

    assert await teams.get(TENANT, OBJECT) == RESOURCE_ACCOUNT


async def test_an_assignment_is_deleted(teams: TeamsAssignments) -> None:
    """Deleting it again succeeds, because there is none."""
    await teams.put(TENANT, OBJECT, USER, not_after=NEVER)
    await teams.put(TENANT, OTHER, USER, not_after=NEVER)
    await teams.delete(TENANT, OBJECT, not_after=NEVER)
    await teams.delete(TENANT, OBJECT, not_after=NEVER)

    assert await teams.get(TENANT, OBJECT) is None
    assert await teams.get(TENANT, OTHER) == USER


@every_change
async def test_a_late_change_is_not_sent(teams: TeamsAssignments, name: str) -> None:
    """After the caller's moment, nothing changes."""
    await teams.put(TENANT, OBJECT, USER, not_after=NEVER)
    with pytest.raises(AcsTooSlow):
        await CHANGES[name](teams, datetime.now(UTC) - timedelta(milliseconds=1))

    assert await teams.get(TENANT, OBJECT) == USER


# Facts about the adapter


async def test_connecting_may_take_too_long(fresh: EmulatorClient) -> None:
    """The moment may pass while the connection is made. Then nothing is sent on it."""
    passed = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await passed.wait()
        from_acs, to_acs = await asyncio.open_connection("127.0.0.1", fresh.port)
        await asyncio.gather(copy(reader, to_acs), copy(from_acs, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        teams = trusting(fresh.ca_file, SignWithKey(fresh.keys[0]), port)
        asyncio.get_running_loop().call_later(0.3, passed.set)
        with pytest.raises(AcsTooSlow):
            await CHANGES["put"](teams, datetime.now(UTC) + timedelta(milliseconds=200))
        refused = fresh.counts("putAssignment")
        await CHANGES["put"](teams, NEVER)
        await teams.close()

    assert (refused, fresh.counts("putAssignment")) == ((0, 0), (1, 1))


@every_change
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "drop"}])
async def test_a_retry_may_be_too_late(
    fresh: EmulatorClient, real: AcsTeamsAssignments, fault: dict[str, object], name: str
) -> None:
    """Neither we nor aiohttp repeat a change after its moment."""
    fresh.add_fault(**fault, delaySeconds=0.3)
    with pytest.raises(AcsTooSlow):
        await CHANGES[name](real, datetime.now(UTC) + timedelta(milliseconds=200))

    assert fresh.counts(f"{name}Assignment") == (1, 0)


@every_call
@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "drop"}])
async def test_a_call_is_repeated_once(
    fresh: EmulatorClient, real: AcsTeamsAssignments, fault: dict[str, object], name: str
) -> None:
    """Either we repeat it, or aiohttp does."""
    fresh.add_fault(**fault)
    with pytest.raises(AcsUnavailable):
        await CALLS[name](real)

    assert fresh.counts(f"{name}Assignment") == (2, 0)


@every_call
def test_a_call_is_abandoned(name: str, virtual_time: asyncio.Runner) -> None:
    """It ends before the caller's deadline."""

    async def scenario() -> float:
        with pytest.raises(AcsTooSlow):
            await CALLS[name](on(StubClient(seconds=3600)))
        return asyncio.get_running_loop().time()

    assert virtual_time.run(scenario()) == pytest.approx(REPEATABLE, abs=0.5)


async def test_the_invocation_records_acs(fresh: EmulatorClient, real: AcsTeamsAssignments) -> None:
    """Its log line has the id of the last response, and how often ACS has throttled."""
    invocation = begin_invocation("one")
    fresh.add_fault(kind="status", status=429)
    with pytest.raises(Throttled) as throttled:
        await real.get(TENANT, OBJECT)

    assert invocation.throttles == 1
    assert invocation.upstream_request_id == throttled.value.upstream_request_id
    assert invocation.acs.milliseconds > 0


async def test_the_request_has_no_empty_field() -> None:
    """Without client ids the field is absent, as in Microsoft's examples."""
    transport = Transport(Response(201, RECEIVED))
    await receiving(transport).put(TENANT, OBJECT, RESOURCE_ACCOUNT, not_after=NEVER)

    assert transport.sent == {"principalType": "teamsResourceAccount"}


def test_the_signed_host_is_sent() -> None:
    """Left alone, aiohttp does not send the port 443, and ACS would find another signature."""
    request = HttpRequest("GET", f"https://{HOST}:443/?api-version=1")
    SignWithKey("a2V5").on_request(PipelineRequest(request, PipelineContext(None)))

    assert request.headers["Host"] == f"{HOST}:443"


@pytest.mark.parametrize(("changes", "assignment"), list(READABLE.values()), ids=list(READABLE))
async def test_a_response_is_read(changes: dict[str, object], assignment: Assignment) -> None:
    """The specification, the articles and the samples differ, so each of them is understood."""
    teams = receiving(Transport(Response(200, RECEIVED | changes)))

    assert await teams.get(TENANT, OBJECT) == assignment


@pytest.mark.parametrize("body", list(INVALID.values()), ids=list(INVALID))
@pytest.mark.parametrize("name", ["put", "get"])
async def test_an_invalid_response(name: str, body: object) -> None:
    """A success without the assignment of these ids counts as ACS being unavailable."""
    with pytest.raises(AcsUnavailable):
        await CALLS[name](receiving(Transport(Response(200, body, FROM_ACS))))


@pytest.mark.parametrize("name", ["get", "delete"])
@pytest.mark.parametrize(
    ("code", "headers"), [(None, FROM_ACS), ("NotFound", {}), ("NotFound", {"X-Azure-Ref": "ref"})]
)
async def test_a_404_of_another_service_is_no_proof(
    code: str | None, headers: dict[str, str], name: str
) -> None:
    """It does not mean that there is no assignment: the sweep would forget about it."""
    teams = receiving(Transport(Response(404, error_body(code), headers)))

    with pytest.raises(AcsUnavailable):
        await CALLS[name](teams)


@pytest.mark.parametrize("name", ["get", "delete"])
async def test_ids_that_acs_does_not_accept_are_not_an_invalid_body(name: str) -> None:
    """Such a request has no body. The sweep tries a removal again, and the log has the cause."""
    teams = receiving(Transport(Response(400, error_body("ValidationError"), FROM_ACS)))

    with pytest.raises(AcsUnavailable):
        await CALLS[name](teams)


@pytest.mark.parametrize(("status", "code", "headers", "kind"), REFUSALS)
async def test_a_put_is_refused(
    status: int, code: str | None, headers: dict[str, str], kind: type[ServiceError]
) -> None:
    """Only ACS itself refuses an assignment. The sweep repeats what failed for another reason."""
    teams = receiving(Transport(Response(status, error_body(code), headers)))
    with pytest.raises(ServiceError) as caught:
        await CALLS["put"](teams)

    assert caught.type is kind


async def test_a_refusal_names_the_field() -> None:
    """The caller gets ACS's own message, the field in our spelling, and the id for support."""
    teams = receiving(Transport(Response(400, error_body("ValidationError"), FROM_ACS)))
    with pytest.raises(AssignmentRefused) as caught:
        await CALLS["put"](teams)

    error = caught.value
    assert (error.detail, error.field) == ("ACS: As ACS says.", "clientIds")
    assert error.upstream_request_id == "vector.0"


async def test_acs_refuses_an_invalid_assignment(real: AcsTeamsAssignments) -> None:
    """A user without an application could never sign in."""
    with pytest.raises(AssignmentRefused):
        await real.put(TENANT, OBJECT, Assignment("user", ()), not_after=NEVER)

    assert await real.get(TENANT, OBJECT) is None


@pytest.mark.parametrize("error", list(azure_errors()), ids=described)
@every_call
async def test_no_azure_error_is_passed_on(name: str, error: AzureError) -> None:
    """Every error of the Azure libraries becomes one of ours."""
    with pytest.raises(ServiceError):
        await CALLS[name](on(StubClient(error)))
