"""The edge: what goes in reaches the operation, and what comes out is an answer or a problem."""

import asyncio
import logging
import re
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn

import azure.functions as func
import msgspec
import pytest

from identity_service import acs, credential, web
from identity_service.errors import (
    AcsUnavailable,
    InvalidBody,
    NotConfigured,
    ServiceError,
    Throttled,
)
from identity_service.model import Answer, IssuedToken, Listing, PageQuery, Request, TokenRequest
from identity_service.ports import Acs
from tests.fakes import IDENTITY, FakeAcs, service_errors

BASE = "https://app.example/api"
INVOCATION = "cd4a2a3c-3b4c-4a4a-8a4b-0123456789ab"

# Every problem that there is: status and code.
TABLE = {
    (400, "invalid_json"),
    (400, "invalid_body"),
    (400, "invalid_query"),
    (400, "invalid_identity_id"),
    (400, "teams_token_refused"),
    (401, "not_signed_in"),
    (403, "not_allowed"),
    (403, "purge_protected"),
    (403, "sign_in_not_enabled"),
    (404, "identity_not_found"),
    (404, "identity_deleted"),
    (409, "identity_deleted"),
    (409, "identity_not_deleted"),
    (409, "identity_unfinished"),
    (413, "body_too_large"),
    (429, "throttled"),
    (500, "internal_error"),
    (502, "acs_refused_us"),
    (503, "acs_unavailable"),
    (503, "registry_unavailable"),
    (503, "identity_busy"),
    (503, "not_configured"),
    (504, "acs_too_slow"),
}

# Where a creation was asked for, and where the new identity then is. The host does not mind case.
LOCATIONS = {
    "create": (f"{BASE}/identities", "/api/identities/"),
    "create with a token": (f"{BASE}/identities/with-token", "/api/identities/"),
    "key in the query": (f"{BASE}/identities?code=secret-key", "/api/identities/"),
    "both": (f"{BASE}/identities/with-token?code=secret-key", "/api/identities/"),
    "port": ("http://localhost:7071/api/identities", "/api/identities/"),
    "no prefix": ("https://app.example/identities/with-token", "/identities/"),
    "long prefix": ("https://app.example/acs/v1/identities", "/acs/v1/identities/"),
    "prefix alike": (
        "https://app.example/identities-api/identities/with-token",
        "/identities-api/identities/",
    ),
    "upper case": ("https://app.example/API/IDENTITIES", "/api/identities/"),
    "upper case with a token": (
        "https://app.example/Api/Identities/With-Token",
        "/api/identities/",
    ),
    "trailing slash": (f"{BASE}/identities/", "/api/identities/"),
    "trailing slash with a token": (f"{BASE}/identities/with-token/", "/api/identities/"),
}


class Created(Answer):
    """What an operation answers that creates an identity."""

    status: ClassVar[int] = 201

    id: str


class Greeting(Request):
    """A body with something secret in it."""

    text: str


class Unspeakable(Answer):
    """An answer that no JSON can hold."""

    value: object


async def create(acs: Acs) -> Created:
    """An operation that creates."""
    return Created(id=await acs.create())


async def issue(identity_id: str, body: TokenRequest, acs: Acs) -> IssuedToken:
    """An operation that takes all that there is."""
    token = await acs.issue_token(identity_id, body.scopes, body.minutes)
    return IssuedToken.of(identity_id, token)


async def revoke(identity_id: str, acs: Acs) -> None:
    """An operation that has nothing to answer."""
    await acs.revoke_tokens(identity_id)


async def greet(body: Greeting) -> None:
    """An operation that takes a body only."""


async def greet_one(body: Greeting, identity_id: str) -> None:
    """An operation that takes its body first."""


async def browse(query: PageQuery) -> Listing[int]:
    """An operation that answers a page, and there is always another one."""
    return Listing(value=[query.size], continuation="a/b c")


async def browse_the_last(query: PageQuery) -> Listing[int]:
    """An operation that answers the last page."""
    return Listing(value=[query.size])


async def stumble() -> NoReturn:
    """An operation with a mistake in it."""
    raise RuntimeError("secret-inside")


async def speak() -> Unspeakable:
    """An operation with a mistake in its answer."""
    return Unspeakable(value=object())


class Unconfigured:
    """Services whose settings are at fault."""

    @property
    def acs(self) -> Acs:
        """Not to be had."""
        raise NotConfigured("The service's settings are at fault: its log names each.")


def post(
    url: str = f"{BASE}/x", *, identity_id: str | None = None, body: bytes = b""
) -> func.HttpRequest:
    """A request as the worker hands it over."""
    route = {} if identity_id is None else {"id": identity_id}
    return func.HttpRequest("POST", url, route_params=route, body=body)


async def serve(
    request: func.HttpRequest, operation: web.Operation, services: object
) -> func.HttpResponse:
    """The operation in an invocation."""
    context: Any = SimpleNamespace(invocation_id=INVOCATION)
    return await web.serve(request, context, operation, services)


def services(*identities: str) -> SimpleNamespace:
    """Services over an ACS in memory that has these identities."""
    acs = FakeAcs()
    acs.identities.extend(identities)
    acs.tokens.update({identity: [] for identity in identities})
    return SimpleNamespace(acs=acs)


def members(response: func.HttpResponse) -> Any:
    """The members of a JSON answer."""
    return msgspec.json.decode(response.get_body())


async def served(error: ServiceError) -> func.HttpResponse:
    """What a caller gets when an operation raises this."""

    async def fail() -> NoReturn:
        raise error

    return await serve(post(), fail, None)


async def test_operation_gets_what_its_parameters_name() -> None:
    """The id comes from the address, the body from the request, the port from the services."""
    request = post(identity_id=IDENTITY, body=b'{"scopes":["chat"],"expiresInMinutes":60}')

    response = await serve(request, issue, services(IDENTITY))

    assert members(response) == {
        "id": IDENTITY,
        "token": "token-1",
        "expiresOn": "2030-01-01T13:00:00Z",
        "refreshAfter": "2030-01-01T12:50:00Z",
    }


async def test_success_is_json() -> None:
    """An answer with something to say is 200 and JSON."""
    request = post(identity_id=IDENTITY, body=b'{"scopes":["chat"]}')

    response = await serve(request, issue, services(IDENTITY))

    assert (response.status_code, response.mimetype) == (200, "application/json")


async def test_nothing_to_say() -> None:
    """An operation without an answer is 204 and has no body."""
    request = post(identity_id=IDENTITY)

    response = await serve(request, revoke, services(IDENTITY))

    assert (response.status_code, response.get_body()) == (204, b"")


@pytest.mark.parametrize(("url", "collection"), list(LOCATIONS.values()), ids=list(LOCATIONS))
async def test_location(url: str, collection: str) -> None:
    """Location is where the new identity is, from the path alone: no host, no key."""
    app = services()

    response = await serve(post(url), create, app)

    assert response.headers["Location"].lower() == collection + app.acs.identities[0]


async def test_created() -> None:
    """A creation is 201."""
    request = post(f"{BASE}/identities")

    response = await serve(request, create, services())

    assert response.status_code == 201


async def test_only_a_creation_has_a_location() -> None:
    """An answer that is no creation has no Location."""
    request = post(identity_id=IDENTITY, body=b'{"scopes":["chat"]}')

    response = await serve(request, issue, services(IDENTITY))

    assert "Location" not in response.headers


async def test_page() -> None:
    """A page tells where the next one is: from the path and the query alone, without a key."""
    params = {"maxPageSize": "2", "code": "secret-key", "clientId": "secret-client"}
    request = func.HttpRequest(
        "GET", f"{BASE}/identities?maxPageSize=2&code=secret-key", params=params, body=b""
    )

    response = await serve(request, browse, None)

    assert members(response) == {
        "value": [2],
        "nextLink": "/api/identities?maxPageSize=2&continuation=a%2Fb+c",
    }


async def test_last_page() -> None:
    """The last page tells of no other."""
    response = await serve(post(f"{BASE}/identities"), browse_the_last, None)

    assert members(response) == {"value": [100]}


async def test_bad_query() -> None:
    """A bad query never reaches the operation."""
    request = func.HttpRequest("GET", BASE, params={"maxPageSize": "0"}, body=b"")

    response = await serve(request, browse, None)

    assert members(response)["code"] == "invalid_query"


@pytest.mark.parametrize("kind", service_errors())
def test_table(kind: type[ServiceError]) -> None:
    """Every error has a status and a code of the table."""
    pair = (kind.status, kind.code)

    assert pair in TABLE


@pytest.mark.parametrize("kind", service_errors())
async def test_every_error_is_a_problem(kind: type[ServiceError]) -> None:
    """Every error comes out as a problem with its own status, code and title."""
    response = await served(kind("What is wrong."))

    assert (response.status_code, response.mimetype, members(response)) == (
        kind.status,
        "application/problem+json",
        {
            "type": f"/docs/problems.md#{kind.code}",
            "title": kind.title,
            "status": kind.status,
            "code": kind.code,
            "detail": "What is wrong.",
        },
    )


async def test_problem_tells_all_it_knows() -> None:
    """A problem names the field, what is allowed there, and the upstream request id."""
    error = InvalidBody("No.", field="scopes", allowed="some", upstream_request_id="vector.0")

    response = await served(error)

    assert (
        members(response).items()
        >= {
            "field": "scopes",
            "allowed": "some",
            "upstreamRequestId": "vector.0",
        }.items()
    )


async def test_retry_after() -> None:
    """A throttled caller is told in a header how long to wait."""
    error = Throttled("Wait.", retry_after=7)

    response = await served(error)

    assert response.headers["Retry-After"] == "7"


async def test_retry_after_belongs_to_one_answer() -> None:
    """One problem's Retry-After is not the next one's."""
    await served(Throttled("Wait.", retry_after=7))

    response = await served(AcsUnavailable("Gone."))

    assert "Retry-After" not in response.headers


@pytest.mark.parametrize(
    "response",
    [
        *(web.problem(kind("What is wrong.")) for kind in service_errors()),
        web.health(lambda: None),
    ],
    ids=lambda response: str(members(response).get("code", "health")),
)
def test_no_cache_keeps_a_problem(response: func.HttpResponse) -> None:
    """Neither a problem nor the health is for a cache: both speak of one moment."""
    header = response.headers["Cache-Control"]

    assert header == "no-store"


@pytest.mark.parametrize("operation", [create, issue, revoke, greet, browse, stumble])
async def test_no_cache_keeps_an_answer(operation: web.Operation) -> None:
    """No answer is for a cache: it may hold a token."""
    request = post(f"{BASE}/identities", identity_id=IDENTITY, body=b'{"scopes":["chat"]}')

    response = await serve(request, operation, services(IDENTITY))

    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_body"),
        (b"", "invalid_body"),
        (b" " * 16_385, "body_too_large"),
    ],
    ids=["no JSON", "array", "empty", "large"],
)
async def test_bad_body(body: bytes, code: str) -> None:
    """A bad body never reaches the operation."""
    response = await serve(post(body=body), greet, None)

    assert members(response)["code"] == code


async def test_chunked_body() -> None:
    """A body that the host dropped is not taken for an empty one."""
    headers = {"Transfer-Encoding": "chunked"}
    request = func.HttpRequest("POST", BASE, headers=headers, body=b"")

    response = await serve(request, greet, None)

    assert members(response)["allowed"] == "a body with a Content-Length"


@pytest.mark.parametrize("identity_id", ["nobody", "", None])
async def test_bad_identity(identity_id: str | None) -> None:
    """An address without an identity's id never reaches the operation."""
    response = await serve(post(identity_id=identity_id), revoke, services())

    assert members(response)["code"] == "invalid_identity_id"


async def test_failure_of_a_port() -> None:
    """What a port raises is what the caller is told."""
    app = services()
    app.acs.fail_next = AcsUnavailable("ACS could not be reached.")

    response = await serve(post(), create, app)

    assert members(response)["code"] == "acs_unavailable"


async def test_not_configured() -> None:
    """Where the settings are at fault an operation is 503 `not_configured`."""
    response = await serve(post(), create, Unconfigured())

    assert (response.status_code, members(response)["code"]) == (503, "not_configured")


async def test_stranger_is_an_internal_error() -> None:
    """An error that nobody foresaw is 500 `internal_error`."""
    response = await serve(post(), stumble, None)

    assert (response.status_code, members(response)["code"]) == (500, "internal_error")


async def test_stranger_stays_inside() -> None:
    """Nothing of an error that nobody foresaw gets out."""
    response = await serve(post(), stumble, None)

    assert not re.search(b"secret-inside|RuntimeError|stumble", response.get_body())


async def test_stranger_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error that nobody foresaw is in the log, with its traceback."""
    await serve(post(), stumble, None)

    assert 'raise RuntimeError("secret-inside")' in caplog.text


async def test_answer_that_cannot_be_encoded() -> None:
    """A mistake in an answer is an internal error too: nothing else comes out of a trigger."""
    response = await serve(post(), speak, None)

    assert members(response)["code"] == "internal_error"


def test_deadline(hasty: asyncio.Runner) -> None:
    """A call that outlasts the deadline is answered with 504, at the deadline."""

    async def dawdle() -> None:
        await asyncio.sleep(2 * web.DEADLINE)

    async def scenario() -> tuple[float, func.HttpResponse]:
        clock = asyncio.get_running_loop()
        start = clock.time()
        response = await serve(post(), dawdle, None)
        return clock.time() - start, response

    seconds, response = hasty.run(scenario())

    assert (round(seconds), members(response)["code"]) == (round(web.DEADLINE), "acs_too_slow")


def test_late_call_runs_to_its_end(hasty: asyncio.Runner) -> None:
    """A call that outlasts the deadline is not cut: it goes on to its end."""
    finished: list[bool] = []

    async def dawdle() -> None:
        await asyncio.sleep(2 * web.DEADLINE)
        finished.append(True)

    async def scenario() -> None:
        await serve(post(), dawdle, None)
        await asyncio.sleep(2 * web.DEADLINE)

    hasty.run(scenario())

    assert finished == [True]


def test_late_end_is_logged(hasty: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    """How a late call ended is in the log."""

    async def dawdle() -> None:
        await asyncio.sleep(2 * web.DEADLINE)
        raise AcsUnavailable("ACS could not be reached.")

    async def scenario() -> None:
        await serve(post(), dawdle, None)
        await asyncio.sleep(2 * web.DEADLINE)

    hasty.run(scenario())

    assert "operation_finished_late outcome=AcsUnavailable" in caplog.text


def test_late_end_is_logged_where_it_is_heard(
    hasty: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """The host drops it: its invocation has been answered. So the next one says it again."""
    caplog.set_level(logging.INFO)

    async def dawdle() -> None:
        await asyncio.sleep(2 * web.DEADLINE)

    async def hurry() -> None:
        return None

    async def scenario() -> None:
        await serve(post(), dawdle, None)
        await asyncio.sleep(2 * web.DEADLINE)
        await serve(post(), hurry, None)

    hasty.run(scenario())

    again = [each for each in caplog.messages if each.endswith("said_again=true")]
    assert [each.split()[:2] for each in again] == [["operation_finished_late", "outcome=none"]]


def test_call_within_the_deadline(hasty: asyncio.Runner) -> None:
    """A call that ends before the deadline is answered as it ended."""

    async def hurry() -> None:
        await asyncio.sleep(0.9 * web.DEADLINE)

    response = hasty.run(serve(post(), hurry, None))

    assert response.status_code == 204


def test_deadlines_nest() -> None:
    """Who waits for whom has the longer patience, and the caller's ten seconds are the longest."""
    patience = [credential.PATIENCE, acs.REPEATABLE, web.DEADLINE, 10]

    shortest_first = sorted(set(patience))

    assert patience == shortest_first


async def test_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """One line says which operation ended how, and for whom."""
    caplog.set_level(logging.INFO)
    request = post(identity_id=IDENTITY)

    await serve(request, revoke, services(IDENTITY))

    assert re.fullmatch(
        "operation_finished operation=revoke status=204 code=ok"
        r" duration_ms=\d+ acs_ms=0 throttles=0"
        rf" identity_id={IDENTITY} upstream_request_id=- invocation_id={INVOCATION}",
        "\n".join(caplog.messages),
    )


async def test_log_line_of_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A failure's line holds its status and code."""
    caplog.set_level(logging.INFO)
    request = post(identity_id=IDENTITY)

    await serve(request, revoke, services())

    assert "operation=revoke status=404 code=identity_not_found " in caplog.text


@pytest.mark.parametrize("operation", [create, issue, revoke, greet, greet_one])
@pytest.mark.parametrize(
    "body", [b'{"text":"secret"}', b'{"scopes":["chat"]}', b"secret", b'{"secret":1}']
)
async def test_log_holds_nothing_secret(
    operation: web.Operation, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither token, body nor key reaches the log."""
    caplog.set_level(logging.DEBUG)
    request = func.HttpRequest(
        "POST",
        f"{BASE}/identities?code=secret",
        headers={"x-functions-key": "secret", "Authorization": "Bearer secret"},
        params={"code": "secret"},
        route_params={"id": IDENTITY},
        body=body,
    )

    await serve(request, operation, services(IDENTITY))

    assert not [word for word in ("secret", "token-1") if word in caplog.text]


@pytest.mark.parametrize("operation", [revoke, issue, greet_one])
async def test_log_holds_only_ids(
    operation: web.Operation, caplog: pytest.LogCaptureFixture
) -> None:
    """What stands in an address where an id should be, but is none, never reaches the log."""
    caplog.set_level(logging.DEBUG)
    request = post(identity_id="nobody\nforged=line")

    await serve(request, operation, services())

    assert "forged" not in caplog.text


async def test_problems_are_explained_where_the_settings_say() -> None:
    """A problem's type leads to the page that the operator has published."""
    app = SimpleNamespace(problem_base_uri="https://docs.example/problems")

    response = await serve(post(identity_id="nobody"), revoke, app)

    assert members(response)["type"] == "https://docs.example/problems#invalid_identity_id"


def test_document() -> None:
    """The app hands out the very document that is committed."""
    response = web.document()

    assert (response.get_body(), response.mimetype) == (
        web.DOCUMENT.read_bytes(),
        "application/json",
    )


def test_healthy() -> None:
    """A configured app is 200 and says so."""
    response = web.health(lambda: None)

    assert (response.status_code, members(response)) == (200, {"status": "ok"})


def test_unhealthy() -> None:
    """An app whose settings are at fault is 503, and the anonymous caller learns no more."""

    def settings() -> NoReturn:
        raise NotConfigured("COMMUNICATION_SERVICES_ENDPOINT is missing.")

    response = web.health(settings)

    assert (response.status_code, members(response)) == (503, {"status": "not_configured"})
