"""The triggers: what the host learns about them, and what surrounds every operation."""

import asyncio
import logging
import re
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from azure.functions import AuthLevel, FunctionApp, HttpResponse

from identity_service.azure import acs_calls, credential
from identity_service.errors import (
    AcsUnavailable,
    IdentityDeleted,
    InternalError,
    NotConfigured,
    RegistryUnavailable,
)
from identity_service.http.binding import Operation
from identity_service.http.triggers import Triggers, add_timer, add_warmup, run
from identity_service.identity import LEASE
from identity_service.limits import DEADLINE
from identity_service.log import current_invocation
from identity_service.operations import status
from identity_service.policies import Role, TokenGrant
from identity_service.ports import Acs
from identity_service.schemas import (
    Check,
    IdentityCreatedResponse,
    IssuedTokenResponse,
    IssueTokenRequest,
    NotReadyResponse,
    Response,
)
from identity_service.services import Services
from identity_service.teams_access import SEND_WITHIN
from tests.http.edge import CONTEXT, INVOCATION, content, memory_services, request, serve
from tests.support.acs_transport import IDENTITY
from tests.support.memory import UNKNOWN
from tests.support.settings import MINIMAL
from tests.support.world import World


class Unencodable(Response):
    """A result that JSON cannot express."""

    value: object


async def create(acs: Acs) -> IdentityCreatedResponse:
    """Create an identity.

    Only the first line of this text reaches the host.
    """
    return IdentityCreatedResponse(id=await acs.create())


async def issue(identity_id: str, body: IssueTokenRequest, acs: Acs) -> IssuedTokenResponse:
    """Issue a token."""
    grant = TokenGrant(tuple(body.scopes), minutes=60)
    return IssuedTokenResponse.of(identity_id, await acs.issue_token(identity_id, grant))


async def revoke(identity_id: str, acs: Acs) -> None:
    """Revoke the tokens."""
    await acs.revoke_tokens(identity_id)


async def succeed() -> None:
    """Succeed at once."""


async def fail() -> NoReturn:
    """Fail because of a bug."""
    raise RuntimeError("secret-inside")


async def return_nonsense() -> Unencodable:
    """Return a wrong result because of a bug."""
    return Unencodable(value=object())


async def exceed() -> None:
    """Take longer than the deadline."""
    await asyncio.sleep(2 * DEADLINE)


async def exceed_and_fail() -> NoReturn:
    """Take longer than the deadline, then fail."""
    await asyncio.sleep(2 * DEADLINE)
    raise AcsUnavailable("ACS could not be reached.")


@pytest.fixture
def services(world: World) -> Services:
    """Services on an ACS resource in memory with one identity."""
    world.acs.identities.append(IDENTITY)
    return memory_services(world)


def log_lines(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """The lines of one event."""
    return [message for message in caplog.messages if message.startswith(f"{event} ")]


# Registration


@pytest.mark.parametrize(
    ("register", "methods"),
    [("get", ["GET"]), ("probe", ["GET", "HEAD"]), ("post", ["POST"]), ("delete", ["DELETE"])],
)
def test_http_trigger(services: Services, register: str, methods: list[str]) -> None:
    """The host learns name, route and methods, and the first line of the docstring."""
    app = FunctionApp()
    triggers = Triggers(app, services, for_services=False)
    getattr(triggers, register)("identities/{id}", create)

    [function] = app.get_functions()
    trigger, _ = function.get_bindings_dict()["bindings"]
    assert function.get_function_name() == "create"
    assert function.get_user_function().__doc__ == "Create an identity."
    assert trigger["route"] == "identities/{id}"
    assert [method.value for method in trigger["methods"]] == methods


# The setting, and the level of the triggers for services. Anything but `entra` requires a key.
LEVELS = {
    None: AuthLevel.FUNCTION,
    "": AuthLevel.FUNCTION,
    "keys": AuthLevel.FUNCTION,
    "entra": AuthLevel.ANONYMOUS,
    "Entra": AuthLevel.FUNCTION,
    "ENTRA": AuthLevel.FUNCTION,
    "entra,keys": AuthLevel.FUNCTION,
    "aad": AuthLevel.FUNCTION,
    "true": AuthLevel.FUNCTION,
}


@pytest.mark.parametrize(("text", "level"), LEVELS.items())
@pytest.mark.parametrize("environ", [MINIMAL, {}], ids=["valid", "other settings invalid"])
def test_level_for_services(environ: dict[str, str], text: str | None, level: AuthLevel) -> None:
    """Only the exact value `entra` opens the host, and an invalid value does not stop the app."""
    setting = {} if text is None else {"SERVICE_AUTHENTICATION": text}

    assert level_of(Services(environ | setting), Role.READ) is level


@pytest.mark.parametrize("text", LEVELS)
def test_level_for_everyone_else(text: str | None) -> None:
    """Operations that are not for services never require a key."""
    setting = {} if text is None else {"SERVICE_AUTHENTICATION": text}

    assert level_of(Services(MINIMAL | setting)) is AuthLevel.ANONYMOUS


def level_of(services: Services, *roles: Role) -> AuthLevel:
    """The level of a trigger in a row with these roles."""
    app = FunctionApp()
    Triggers(app, services, for_services=bool(roles)).get("route", succeed, *roles)
    [function] = app.get_functions()
    level: AuthLevel = function.get_bindings_dict()["bindings"][0]["authLevel"]
    return level


def test_timer_trigger(services: Services) -> None:
    """The timer runs on its schedule only, not when a worker starts."""
    app = FunctionApp()
    add_timer(app, services, "%CLEANUP_SCHEDULE%", succeed)

    [function] = app.get_functions()
    [trigger] = function.get_bindings_dict()["bindings"]
    assert function.get_function_name() == "succeed"
    assert (trigger["schedule"], trigger["runOnStartup"]) == ("%CLEANUP_SCHEDULE%", False)


async def test_trigger_serves_its_operation(services: Services) -> None:
    """The function that the host calls responds with the result of the operation."""
    app = FunctionApp()
    Triggers(app, services, for_services=True).post("identities", create, Role.MANAGE)
    [function] = app.get_functions()
    response = await function.get_user_function()(request(), CONTEXT)

    assert response.status_code == 201


# Errors


async def test_error_of_a_port_is_a_problem(services: Services, world: World) -> None:
    """The caller gets the error that a port raises."""
    world.acs.fails("create", AcsUnavailable("ACS could not be reached."))
    response = await serve(request(), create, services)

    assert content(response)["code"] == "acs_unavailable"


@pytest.mark.parametrize("operation", [fail, return_nonsense])
async def test_unexpected_error(
    services: Services, operation: Operation, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug is a 500 that reveals nothing. The log has the traceback."""
    response = await serve(request(), operation, services)

    assert (response.status_code, content(response)["code"]) == (500, "internal_error")
    assert not re.search(b"secret-inside|Error:|fail|object", response.get_body())
    assert log_lines(caplog, "internal_error")[0].startswith(
        f"internal_error operation={operation.__name__} "
    )
    assert "Traceback (most recent call last)" in caplog.text


async def test_problems_lead_to_the_page_in_the_settings(world: World) -> None:
    """A problem's type leads to the operator's page, even if other settings are invalid."""
    services = memory_services(
        world, PROBLEM_BASE_URI="https://docs.example/problems", PURGE_PROTECTION="invalid"
    )
    responses = [
        await serve(request(identity_id="nobody"), revoke, services),
        await serve(request(), fail, services),
    ]

    assert [content(response)["type"] for response in responses] == [
        "https://docs.example/problems#invalid_identity_id",
        "https://docs.example/problems#internal_error",
    ]


# The deadline


def test_deadline(virtual_time: asyncio.Runner, services: Services) -> None:
    """An operation that takes too long is answered with 504 at the deadline."""

    async def scenario() -> tuple[float, HttpResponse]:
        response = await serve(request(), exceed, services)
        return asyncio.get_running_loop().time(), response

    seconds, response = virtual_time.run(scenario())

    assert (seconds, content(response)["code"]) == (DEADLINE, "acs_too_slow")


@pytest.mark.parametrize(
    ("operation", "outcome"), [(exceed, "none"), (exceed_and_fail, "AcsUnavailable")]
)
def test_late_end_is_logged(
    virtual_time: asyncio.Runner,
    services: Services,
    caplog: pytest.LogCaptureFixture,
    operation: Operation,
    outcome: str,
) -> None:
    """The host drops the line about a late end, so the next invocation replays it, once."""
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        await serve(request(), operation, services)
        await asyncio.sleep(2 * DEADLINE)
        for _ in range(2):
            await serve(request(), succeed, services)

    virtual_time.run(scenario())
    line = f"operation_finished_late outcome={outcome} invocation_id={INVOCATION}"
    assert log_lines(caplog, "operation_finished_late") == [line, f"{line} replayed=true"]


def test_late_unexpected_error_is_logged(
    virtual_time: asyncio.Runner, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug after the deadline has its traceback in the log."""

    async def operation() -> None:
        await exceed()
        await fail()

    async def scenario() -> None:
        await serve(request(), operation, services)
        await asyncio.sleep(2 * DEADLINE)

    virtual_time.run(scenario())

    assert "operation_finished_late outcome=RuntimeError" in caplog.text
    assert 'raise RuntimeError("secret-inside")' in caplog.text


def test_timeouts_are_nested() -> None:
    """A caller waits longer than what it calls. The README promises ten seconds."""
    assert credential.TIMEOUT < acs_calls.REPEATABLE < DEADLINE < 10
    assert credential.TIMEOUT < status.TIMEOUT < DEADLINE


def test_what_is_sent_about_access_takes_effect_within_the_lease() -> None:
    """Half of the lease is left for clocks that differ, and for what ACS does later."""
    assert SEND_WITHIN + timedelta(seconds=acs_calls.REPEATABLE) < LEASE / 2


# The log


async def test_log_line(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    """One line has the operation, its result, its costs and its identity."""
    caplog.set_level(logging.INFO)
    await serve(request(identity_id=IDENTITY), revoke, services)

    assert re.fullmatch(
        "operation_finished operation=revoke status=204 code=ok field=-"
        r" duration_ms=\d+ acs_ms=0 table_ms=0 credential_ms=0 throttles=0"
        rf" identity_id={IDENTITY} upstream_request_id=- caller=- invocation_id={INVOCATION}",
        "\n".join(caplog.messages),
    )


async def test_log_line_of_a_failure(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    """The line of a failure has its status and code."""
    caplog.set_level(logging.INFO)
    await serve(request(identity_id=UNKNOWN), revoke, services)

    assert "operation=revoke status=404 code=identity_not_found " in caplog.text


@pytest.mark.parametrize(
    ("operation", "body", "field"),
    [
        (issue, b'{"scopes":["sms"]}', "scopes"),
        (issue, b'{"scopes":["chat"],"expiresInMinutes":1}', "expiresInMinutes"),
        (issue, b'{"userId":"alice"}', "userId"),
        (issue, b'{"somebody\'s name":1}', "unknown"),
        (create, b"", "-"),
    ],
    ids=["scopes", "lifetime", "of another operation", "text of the caller", "no field"],
)
async def test_log_line_has_the_refused_field(
    services: Services,
    caplog: pytest.LogCaptureFixture,
    operation: Operation,
    body: bytes,
    field: str,
) -> None:
    """The line names the field that was refused, but never a name that the caller invented."""
    caplog.set_level(logging.INFO)
    await serve(request(identity_id=IDENTITY, body=body), operation, services)

    assert f" field={field} " in log_lines(caplog, "operation_finished")[0]


async def test_log_line_of_an_unsuccessful_result(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """A result that is no success has a code of its own in the log."""
    caplog.set_level(logging.INFO)

    async def operation() -> NotReadyResponse:
        check = Check(status="throttled", latency_ms=1)
        return NotReadyResponse(acs=check, registry=check)

    await serve(request(), operation, services)

    assert " status=503 code=not_ready " in log_lines(caplog, "operation_finished")[0]


async def test_log_line_has_the_identity_that_was_found(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal has the identity that the operation was about, although no caller named it."""
    caplog.set_level(logging.INFO)

    async def operation() -> NoReturn:
        current_invocation().identity_id = IDENTITY
        raise IdentityDeleted("It is deleted.")

    await serve(request(), operation, services)

    assert f" identity_id={IDENTITY} " in log_lines(caplog, "operation_finished")[0]


async def test_log_line_has_the_costs(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    """The line has what every task of the operation has recorded."""
    caplog.set_level(logging.INFO)

    async def operation() -> None:
        current_invocation().throttles += 1
        current_invocation().upstream_request_id = "vector.0"

    await serve(request(), operation, services)

    assert "throttles=1 identity_id=- upstream_request_id=vector.0 " in caplog.text


async def test_probe_is_not_logged(services: Services, caplog: pytest.LogCaptureFixture) -> None:
    """An operation that is called all the time has no line."""
    caplog.set_level(logging.INFO)
    await serve(request(), succeed, services, logged=False)

    assert caplog.messages == []


@pytest.mark.parametrize("operation", [create, issue, revoke])
@pytest.mark.parametrize(
    "body", [b'{"userId":"secret"}', b'{"scopes":["chat"]}', b"secret", b'{"secret":1}']
)
async def test_log_has_no_secret(
    services: Services, operation: Operation, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a token, a body nor a key reaches the log."""
    caplog.set_level(logging.DEBUG)
    req = request(
        "https://app.example/api/identities?code=secret",
        body,
        identity_id=IDENTITY,
        headers={"x-functions-key": "secret", "Authorization": "Bearer secret"},
    )
    await serve(req, operation, services)

    assert not [word for word in ("secret", "token-") if word in caplog.text]


# Timer and warm-up


async def test_run_is_an_invocation(caplog: pytest.LogCaptureFixture) -> None:
    """What the timer and the warm-up log has the id of their invocation."""
    seen: list[str] = []

    async def call() -> None:
        seen.append(current_invocation().id)

    await run("sweep", call(), CONTEXT)

    assert seen == [INVOCATION]
    assert caplog.messages == []


async def test_run_hides_unexpected_errors(caplog: pytest.LogCaptureFixture) -> None:
    """The host logs the error of an invocation, so it gets no details. Our log has them."""

    async def call() -> NoReturn:
        raise RuntimeError("secret")

    with pytest.raises(InternalError) as caught:
        await run("sweep", call(), CONTEXT)

    assert "secret" not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
    [line] = caplog.messages
    assert line.startswith(f"internal_error operation=sweep invocation_id={INVOCATION}\n")
    assert line.endswith("RuntimeError: secret")


async def test_run_fails_with_an_expected_error(caplog: pytest.LogCaptureFixture) -> None:
    """An expected error fails the invocation as it is, without its cause and without a line."""

    async def call() -> NoReturn:
        try:
            await fail()
        except RuntimeError as error:
            raise RegistryUnavailable("No table.") from error

    with pytest.raises(RegistryUnavailable, match=r"^No table\.$") as caught:
        await run("sweep", call(), CONTEXT)

    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
    assert caplog.messages == []


async def test_run_reports_invalid_settings(caplog: pytest.LogCaptureFixture) -> None:
    """Invalid settings fail the invocation with NotConfigured. Each call logs them once."""
    timer: Any = None
    app = FunctionApp()
    add_timer(app, Services({}), "0 0 0 * * *", create)
    add_warmup(app, Services({}))
    for function in app.get_functions():
        with pytest.raises(NotConfigured):
            await function.get_user_function()(timer, CONTEXT)

    assert len(log_lines(caplog, "not_configured")) == 2
    assert log_lines(caplog, "internal_error") == []
