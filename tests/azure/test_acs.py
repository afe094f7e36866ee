"""AcsClient sends what its caller requests, and translates every response into our own types."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResponseNotReadError,
    StreamClosedError,
    StreamConsumedError,
    TooManyRedirectsError,
)
from azure.core.rest import HttpRequest
from azure.identity import AuthenticationRequiredError

from identity_service.azure import transport as own
from identity_service.azure.acs import CREATE, AcsClient
from identity_service.azure.acs_calls import CONNECT, REPEATABLE
from identity_service.errors import (
    AcsTooSlow,
    AcsUnavailable,
    CallerGone,
    IdentityNotFound,
    ServiceError,
    TeamsTokenRefused,
    WrongResource,
)
from identity_service.identity import is_identity_id
from identity_service.log import begin_invocation, request_sent
from identity_service.policies import AccessToken, TokenGrant
from identity_service.ports import Acs
from tests.local.acs.support import EmulatorClient, serve
from tests.support.acs_transport import (
    CREATED,
    CREATED_WITH_TOKEN,
    HOST,
    IDENTITY,
    ISSUED,
    Response,
    Transport,
    acs_client,
)
from tests.support.errors import subclasses
from tests.support.memory import MemoryAcs
from tests.support.virtual_time import VirtualClock

APP = "00000000-0000-0000-0000-00000000000a"
USER = "00000000-0000-0000-0000-00000000000b"
CHAT = TokenGrant(("chat",), 60)
EXPIRY = datetime(2030, 1, 2, 12, tzinfo=UTC)
TOKEN = AccessToken.received("a.b.c", EXPIRY, EXPIRY - timedelta(days=1))

# The arguments of each call.
CREATES: dict[str, tuple[Any, ...]] = {"create": (), "create_with_token": (CHAT,)}
ON_AN_IDENTITY: dict[str, tuple[Any, ...]] = {
    "issue_token": (IDENTITY, CHAT),
    "revoke_tokens": (IDENTITY,),
    "delete": (IDENTITY,),
}
REPEATABLES = ON_AN_IDENTITY | {"exchange_teams_token": ("x.y.z", APP, USER)}
ARGUMENTS = CREATES | REPEATABLES
every_call = pytest.mark.parametrize("name", ARGUMENTS)

# The codes of the problems that a failed call to ACS may cause.
CODES = {
    "invalid_body",
    "teams_token_refused",
    "identity_not_found",
    "throttled",
    "acs_refused_us",
    "acs_unavailable",
    "acs_too_slow",
}

# For each call: a response of ACS, the result, and the body of the request.
SUCCESSES: dict[str, tuple[Response, object, object]] = {
    "create": (Response(201, CREATED), IDENTITY, None),
    "create_with_token": (
        Response(201, CREATED_WITH_TOKEN),
        (IDENTITY, TOKEN),
        {"createTokenWithScopes": ["chat"], "expiresInMinutes": 60},
    ),
    "issue_token": (Response(200, ISSUED), TOKEN, {"scopes": ["chat"], "expiresInMinutes": 60}),
    "revoke_tokens": (Response(204), None, None),
    "delete": (Response(204), None, None),
    "exchange_teams_token": (
        Response(200, ISSUED),
        TOKEN,
        {"token": "x.y.z", "appId": APP, "userId": USER},
    ),
}

EXPIRIES = {
    "as recorded": "2030-01-02T12:00:00.1234567+00:00",
    "Z": "2030-01-02T12:00:00Z",
    "no fraction": "2030-01-02T12:00:00+00:00",
    "three digits": "2030-01-02T12:00:00.999+00:00",
    "another zone": "2030-01-02T14:00:00.0000000+02:00",
}

INVALID: dict[str, object] = {
    "nothing": "",
    "HTML": "<html>Welcome to the proxy</html>",
    "truncated JSON": '{"token":',
    "null": None,
    "array": [],
    "deep JSON": "[" * 100_000,
    "text": '"hello"',
    "number": 1,
    "empty object": {},
    "null identity": {"identity": None, "token": None},
    "empty identity": {"identity": {}, "token": {}},
    "null id": {"identity": {"id": None}},
    "empty id": {"identity": {"id": ""}},
    "token without expiry": {"token": "a.b.c"},
    "null expiry": {"token": "a.b.c", "expiresOn": None},
    "invalid expiry": {"token": "a.b.c", "expiresOn": "soon"},
    "expiry in seconds": {"token": "a.b.c", "expiresOn": 1893585600},
    "null token": {"token": None, "expiresOn": "2030-01-02T12:00:00Z"},
    "token that is a list": {"token": ["a.b.c"], "expiresOn": "2030-01-02T12:00:00Z"},
    "token with a line break": {"token": "a.b.c\r\nX-Evil: 1", "expiresOn": "2030-01-02T12:00:00Z"},
    "token with a lone surrogate": '{"token":"\\ud800","expiresOn":"2030-01-02T12:00:00Z"}',
    "expired token": {"token": "a.b.c", "expiresOn": "2020-01-02T12:00:00Z"},
    "expiry out of range": {"token": "a.b.c", "expiresOn": "9999-12-31T23:59:59-23:59"},
    "expiry without token": {"expiresOn": "2030-01-02T12:00:00Z"},
}


class StubClient:
    """An SDK client whose calls take some time, then raise this error or succeed.

    Attributes:
        finished: The names of the methods that have succeeded, in order.
    """

    def __init__(self, error: BaseException | None = None, seconds: float = 0) -> None:
        self._error = error
        self._seconds = seconds
        self.finished: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[CommunicationUserIdentifier]]:
        async def call(*args: object, **kwargs: object) -> CommunicationUserIdentifier:
            request_sent()  # as the adapter's policy does
            await asyncio.sleep(self._seconds)
            if self._error:
                raise self._error.with_traceback(None)
            self.finished.append(name)
            return CommunicationUserIdentifier(IDENTITY)

        return call


def on(client: object) -> AcsClient:
    """The adapter on a client that is not the SDK's own."""
    return AcsClient(cast(CommunicationIdentityClient, client), HOST)


def without_nulls(body: Any) -> Any:
    """The body without fields that are null, which ACS treats as absent."""
    return body and {name: value for name, value in body.items() if value is not None}


def azure_errors() -> Iterator[AzureError]:
    """Every error of azure-core and azure-identity, with several responses and without one."""
    responses = [Response(status, "<html>") for status in (200, 302, 400, 404, 409, 500)]
    for kind in subclasses(AzureError):
        if kind in {StreamConsumedError, StreamClosedError, ResponseNotReadError}:
            yield kind(responses[0])
        elif kind is AuthenticationRequiredError:
            yield kind(["scope"])
        elif kind is TooManyRedirectsError:
            yield kind([])
        elif issubclass(kind, HttpResponseError):
            yield from (kind(response=response) for response in (None, *responses))
        else:
            yield kind("made up")


def described(error: AzureError) -> str:
    """The class of an error and the status that came with it."""
    status = getattr(error, "status_code", None)
    return type(error).__name__ + (f" {status}" if status else "")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorClient]:
    """The ACS emulator, for all tests of this process."""
    with serve(tmp_path_factory.mktemp("acs")) as client:
        yield client


@pytest.fixture(params=["memory", "emulator"])
async def acs(request: pytest.FixtureRequest) -> AsyncIterator[Acs]:
    """An ACS resource: in memory, and the adapter on the SDK and the emulator."""
    if request.param == "memory":
        yield MemoryAcs(VirtualClock())
        return
    emulator: EmulatorClient = request.getfixturevalue("emulator")
    transport = own.Transport(CONNECT, REPEATABLE)
    transport.session = own.new_session(ssl=ssl.create_default_context(cafile=emulator.ca_file))
    client = AcsClient(
        CommunicationIdentityClient(
            f"https://localhost:{emulator.port}",
            AzureKeyCredential(emulator.keys[0]),
            transport=transport,
        ),
        "localhost",
    )
    yield client
    await client.close()


def _app(respond: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/", respond)
    return application


async def test_request_without_a_body_names_no_type() -> None:
    """Not even a POST, for which aiohttp would name one."""
    received: list[web.BaseRequest] = []

    async def respond(request: web.BaseRequest) -> web.Response:
        received.append(request)
        return web.Response(status=204)

    async with TestServer(_app(respond)) as server, own.Transport(CONNECT, None) as sender:
        await sender.send(HttpRequest("POST", str(server.make_url("/"))))
        await sender.send(HttpRequest("POST", str(server.make_url("/")), json={}))

    assert [each.headers.get("Content-Type") for each in received] == [None, "application/json"]


# Facts about every implementation of the port


async def test_each_create_creates_another_identity(acs: Acs) -> None:
    """Every identity has an id of its own."""
    ids = {await acs.create(), await acs.create(), (await acs.create_with_token(CHAT))[0]}

    assert len(ids) == 3
    assert all(map(is_identity_id, ids))


async def test_each_token_is_another_one(acs: Acs) -> None:
    """Every token is new, the one that comes with the identity included."""
    identity_id, first = await acs.create_with_token(CHAT)
    tokens = {first.token, *[(await acs.issue_token(identity_id, CHAT)).token for _ in range(2)]}

    assert len(tokens) == 3


async def test_lifetime_is_the_granted_one(acs: Acs) -> None:
    """A longer lifetime ends later, by the difference."""
    identity_id = await acs.create()
    short = await acs.issue_token(identity_id, CHAT)
    long = await acs.issue_token(identity_id, TokenGrant(("chat",), 1440))

    minutes = (long.expires_on - short.expires_on).total_seconds() / 60
    assert minutes == pytest.approx(1380, abs=1)


async def test_token_can_be_issued_after_a_revocation(acs: Acs) -> None:
    """A revocation concerns existing tokens only, and can be repeated."""
    identity_id = await acs.create()
    await acs.revoke_tokens(identity_id)
    await acs.revoke_tokens(identity_id)

    assert await acs.issue_token(identity_id, CHAT)


@pytest.mark.parametrize("name", ON_AN_IDENTITY)
async def test_identity_that_does_not_exist_is_not_found(acs: Acs, name: str) -> None:
    """Every call about a deleted identity raises IdentityNotFound."""
    identity_id = await acs.create()
    await acs.delete(identity_id)

    with pytest.raises(IdentityNotFound):
        await getattr(acs, name)(identity_id, *ON_AN_IDENTITY[name][1:])


@pytest.mark.parametrize("name", ON_AN_IDENTITY)
async def test_identity_of_another_resource(acs: Acs, name: str) -> None:
    """Every call about an identity of another resource says so."""
    with pytest.raises(WrongResource):
        await getattr(acs, name)(IDENTITY, *ON_AN_IDENTITY[name][1:])


@pytest.mark.parametrize("name", CREATES | ON_AN_IDENTITY)
async def test_call_that_nobody_waits_for(acs: Acs, name: str) -> None:
    """After the caller has got a response, nothing is created. Revocations and deletions go on.

    A revocation does not if its caller says so.
    """
    invocation = begin_invocation("one")
    identity_id = await acs.create()
    invocation.is_over = True
    arguments = CREATES[name] if name in CREATES else (identity_id, *ON_AN_IDENTITY[name][1:])
    call = getattr(acs, name)(*arguments)
    if name in CREATES or name == "issue_token":
        with pytest.raises(CallerGone):
            await call
    else:
        await call
    with pytest.raises(CallerGone):
        await acs.revoke_tokens(identity_id, if_awaited=True)


# Facts about the adapter


@every_call
async def test_success(name: str) -> None:
    """A response becomes our own value, and the request has what the caller requests, only."""
    response, result, body = SUCCESSES[name]
    transport = Transport(response)
    outcome = await getattr(acs_client(transport), name)(*ARGUMENTS[name])

    assert outcome == result
    assert without_nulls(transport.sent) == body


async def test_identity_is_in_the_url() -> None:
    """The path has the identity, and nothing else from the caller."""
    transport = Transport(Response(204))
    await acs_client(transport).delete(IDENTITY)

    assert urlsplit(unquote(transport.requests[0].url)).path == f"/identities/{IDENTITY}"


@pytest.mark.parametrize("text", list(EXPIRIES.values()), ids=list(EXPIRIES))
async def test_expiry(text: str) -> None:
    """The expiry is text with up to seven digits, and becomes UTC in whole seconds."""
    client = acs_client(Transport(Response(200, {"token": "a.b.c", "expiresOn": text})))
    token = await client.issue_token(IDENTITY, CHAT)

    assert token.expires_on.isoformat() == "2030-01-02T12:00:00+00:00"


async def test_new_identity_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The id of a new identity is logged at once, because it could not be found otherwise."""
    caplog.set_level(logging.INFO)
    await acs_client(Transport(Response(201, CREATED))).create()

    assert f"identity_created identity_id={IDENTITY}" in caplog.messages


async def test_token_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An access token never reaches the log."""
    caplog.set_level(logging.DEBUG)
    await acs_client(Transport(Response(201, CREATED_WITH_TOKEN))).create_with_token(CHAT)

    assert "a.b.c" not in caplog.text


@pytest.mark.parametrize("body", list(INVALID.values()), ids=list(INVALID))
@pytest.mark.parametrize("name", ["create", "create_with_token", "issue_token"])
async def test_invalid_response(name: str, body: object) -> None:
    """A success with an invalid body counts as ACS being unavailable."""
    client = acs_client(Transport(Response(201 if name in CREATES else 200, body)))

    with pytest.raises(AcsUnavailable):
        await getattr(client, name)(*ARGUMENTS[name])


@pytest.mark.parametrize("field", ["token", "expiresOn"])
async def test_invalid_first_token(field: str) -> None:
    """An identity whose first token cannot be read counts as ACS being unavailable."""
    body = CREATED | {"accessToken": ISSUED | {field: None}}
    client = acs_client(Transport(Response(201, body)))

    with pytest.raises(AcsUnavailable):
        await client.create_with_token(CHAT)


@every_call
@pytest.mark.parametrize("kind", [AttributeError, LookupError, RecursionError, ValueError])
async def test_sdk_fails_on_a_response(kind: type[Exception], name: str) -> None:
    """An error of Python in the SDK, which does not check responses, is not passed on."""
    with pytest.raises(AcsUnavailable):
        await getattr(on(StubClient(kind("identity"))), name)(*ARGUMENTS[name])


@pytest.mark.parametrize("error", list(azure_errors()), ids=described)
@every_call
async def test_no_azure_error_is_passed_on(name: str, error: AzureError) -> None:
    """Every error of the Azure libraries becomes one of ours, with a code for calls to ACS."""
    with pytest.raises(ServiceError) as caught:
        await getattr(on(StubClient(error)), name)(*ARGUMENTS[name])

    assert caught.value.code in CODES


@pytest.mark.parametrize("name", REPEATABLES)
def test_repeatable_call_is_abandoned(name: str, virtual_time: asyncio.Runner) -> None:
    """A call that can be repeated is abandoned before the caller's deadline."""

    async def scenario() -> float:
        with pytest.raises(AcsTooSlow):
            await getattr(on(StubClient(seconds=3600)), name)(*ARGUMENTS[name])
        return asyncio.get_running_loop().time()

    assert virtual_time.run(scenario()) == pytest.approx(REPEATABLE, abs=0.5)


def test_create_is_waited_for(virtual_time: asyncio.Runner) -> None:
    """A create is waited for beyond any deadline: its response names an identity."""
    client = StubClient(seconds=CREATE - 1)
    virtual_time.run(on(client).create())

    assert client.finished == ["create_user"]


async def test_refused_teams_token() -> None:
    """If ACS refuses a Teams exchange, the caller learns which field is wrong, and why."""
    error = {"code": "ValidationError", "message": "Provided AppId has invalid format."}
    response = Response(400, {"error": error | {"target": "appId"}}, {"MS-CV": "vector"})
    with pytest.raises(TeamsTokenRefused) as caught:
        await acs_client(Transport(response)).exchange_teams_token("x.y.z", APP, USER)

    assert (caught.value.detail, caught.value.field, caught.value.upstream_request_id) == (
        "ACS: Provided AppId has invalid format.",
        "appId",
        "vector",
    )
