"""The directory says in our words what Microsoft's SDK says in its own, whatever that is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import azure.functions as func
import msgspec
import pytest
from azure.communication.identity import CommunicationUserIdentifier
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResponseNotReadError,
    StreamClosedError,
    StreamConsumedError,
    TooManyRedirectsError,
)
from azure.identity import AuthenticationRequiredError, CredentialUnavailableError

from identity_service import web
from identity_service.acs import CREATE, REPEATABLE, AcsDirectory
from identity_service.errors import AcsTooSlow, AcsUnavailable, ServiceError, TeamsTokenRefused
from identity_service.model import AccessToken
from identity_service.ports import Acs
from tests.fakes import (
    CREATED,
    CREATED_WITH_TOKEN,
    IDENTITY,
    ISSUED,
    Answer,
    Wire,
    directory,
    every_subclass,
)

Call = Callable[[Acs], Awaitable[object]]

APP = "00000000-0000-0000-0000-00000000000a"
USER = "00000000-0000-0000-0000-00000000000b"
TOKEN = AccessToken("a.b.c", datetime(2030, 1, 2, 12, tzinfo=UTC))

CREATES: dict[str, Call] = {
    "create": lambda acs: acs.create(),
    "create_with_token": lambda acs: acs.create_with_token(["chat"], 60),
}
REPEATABLES: dict[str, Call] = {
    "issue_token": lambda acs: acs.issue_token(IDENTITY, ["chat"], 60),
    "revoke_tokens": lambda acs: acs.revoke_tokens(IDENTITY),
    "delete": lambda acs: acs.delete(IDENTITY),
    "exchange_teams_token": lambda acs: acs.exchange_teams_token("x.y.z", APP, USER),
}
CALLS = CREATES | REPEATABLES

# What the table of problems has for a call to ACS that came to nothing.
CODES = {
    "invalid_body",
    "teams_token_refused",
    "identity_not_found",
    "throttled",
    "acs_refused_us",
    "acs_unavailable",
    "acs_too_slow",
}

SUCCESSES: dict[str, tuple[Call, Answer, object]] = {
    "create": (CALLS["create"], Answer(201, CREATED), IDENTITY),
    "create_with_token": (
        CALLS["create_with_token"],
        Answer(201, CREATED_WITH_TOKEN),
        (IDENTITY, TOKEN),
    ),
    "issue_token": (CALLS["issue_token"], Answer(200, ISSUED), TOKEN),
    "revoke_tokens": (CALLS["revoke_tokens"], Answer(204), None),
    "delete": (CALLS["delete"], Answer(204), None),
    "exchange_teams_token": (CALLS["exchange_teams_token"], Answer(200, ISSUED), TOKEN),
}

REQUESTS: dict[str, tuple[Call, Answer, object]] = {
    "create": (CALLS["create"], Answer(201, CREATED), None),
    "create_with_token": (
        CALLS["create_with_token"],
        Answer(201, CREATED_WITH_TOKEN),
        {"createTokenWithScopes": ["chat"], "expiresInMinutes": 60},
    ),
    "issue_token": (
        CALLS["issue_token"],
        Answer(200, ISSUED),
        {"scopes": ["chat"], "expiresInMinutes": 60},
    ),
    "issue_token, ACS's own lifetime": (
        lambda acs: acs.issue_token(IDENTITY, ["chat", "voip"], None),
        Answer(200, ISSUED),
        {"scopes": ["chat", "voip"]},
    ),
    "exchange_teams_token": (
        CALLS["exchange_teams_token"],
        Answer(200, ISSUED),
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

GARBAGE: dict[str, object] = {
    "nothing": "",
    "HTML": "<html>Welcome to the proxy</html>",
    "half a JSON": '{"token":',
    "null": None,
    "array": [],
    "text": '"hello"',
    "number": 1,
    "empty object": {},
    "null identity": {"identity": None, "token": None},
    "empty identity": {"identity": {}, "token": {}},
    "null id": {"identity": {"id": None}},
    "empty id": {"identity": {"id": ""}},
    "token without expiry": {"token": "a.b.c"},
    "null expiry": {"token": "a.b.c", "expiresOn": None},
    "garbage expiry": {"token": "a.b.c", "expiresOn": "soon"},
    "expiry in seconds": {"token": "a.b.c", "expiresOn": 1893585600},
    "null token": {"token": None, "expiresOn": "2030-01-02T12:00:00Z"},
    "expiry without token": {"expiresOn": "2030-01-02T12:00:00Z"},
}


class StumblingClient:
    """An SDK client of which every call raises the same error, and remembers that it was made."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[None]]:
        async def stumble(*args: object, **kwargs: object) -> None:
            self.calls.append(name)
            raise self._error.with_traceback(None)

        return stumble


class SlowClient:
    """An SDK client that needs its time, then succeeds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.finished: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[CommunicationUserIdentifier]]:
        async def dawdle(*args: object, **kwargs: object) -> CommunicationUserIdentifier:
            await asyncio.sleep(self._seconds)
            self.finished.append(name)
            return CommunicationUserIdentifier(IDENTITY)

        return dawdle


class ClosingClient:
    """An SDK client that remembers whether it was closed."""

    closed = False

    async def close(self) -> None:
        """Remember it."""
        self.closed = True


def over(client: object) -> AcsDirectory:
    """The directory over a client that is not the SDK's own."""
    return AcsDirectory(cast(CommunicationIdentityClient, client))


def without_nulls(body: Any) -> Any:
    """The body without members that are null: to ACS they are as good as absent."""
    return body and {name: value for name, value in body.items() if value is not None}


def azure_errors() -> Iterator[AzureError]:
    """Every error of azure-core and azure-identity, with each of several answers and without."""
    answers = [Answer(status, "<html>") for status in (200, 302, 400, 404, 409, 500)]
    for kind in every_subclass(AzureError):
        if kind in {StreamConsumedError, StreamClosedError, ResponseNotReadError}:
            yield kind(answers[0])
        elif kind is AuthenticationRequiredError:
            yield kind(["scope"])
        elif kind is TooManyRedirectsError:
            yield kind([])
        elif issubclass(kind, HttpResponseError):
            yield from (kind(response=answer) for answer in (None, *answers))
        else:
            yield kind("made up")


def described(error: AzureError) -> str:
    """An error's kind and the status that came with it."""
    status = getattr(error, "status_code", None)
    return type(error).__name__ + (f" {status}" if status else "")


async def edge(client: object) -> func.HttpResponse:
    """What a caller gets when the client behind an operation is this one."""

    async def operation(acs: Acs) -> None:
        await acs.issue_token(IDENTITY, ["chat"], 60)

    request = func.HttpRequest("POST", "https://app.example/api/x", body=b"")
    context: Any = SimpleNamespace(invocation_id="1")
    return await web.serve(request, context, operation, SimpleNamespace(acs=over(client)))


def code_of(response: func.HttpResponse) -> Any:
    """The code of the problem."""
    return msgspec.json.decode(response.get_body())["code"]


@pytest.mark.parametrize(
    ("call", "answer", "result"), list(SUCCESSES.values()), ids=list(SUCCESSES)
)
async def test_success(call: Call, answer: Answer, result: object) -> None:
    """A successful answer of ACS becomes our own value."""
    acs = directory(Wire(answer))

    outcome = await call(acs)

    assert outcome == result


@pytest.mark.parametrize(("call", "answer", "body"), list(REQUESTS.values()), ids=list(REQUESTS))
async def test_request(call: Call, answer: Answer, body: object) -> None:
    """ACS is asked for what our caller asked for, and for nothing else."""
    wire = Wire(answer)

    await call(directory(wire))

    assert without_nulls(wire.sent) == body


async def test_identity_is_in_the_address() -> None:
    """The address names the identity, and nothing else."""
    wire = Wire(Answer(204))

    await directory(wire).delete(IDENTITY)

    assert urlsplit(unquote(wire.requests[0].url)).path == f"/identities/{IDENTITY}"


@pytest.mark.parametrize("text", list(EXPIRIES.values()), ids=list(EXPIRIES))
async def test_expiry(text: str) -> None:
    """An expiry comes as a text with up to seven digits and becomes UTC in whole seconds."""
    acs = directory(Wire(Answer(200, {"token": "a.b.c", "expiresOn": text})))

    token = await acs.issue_token(IDENTITY, ["chat"], None)

    assert token.expires_on.isoformat() == "2030-01-02T12:00:00+00:00"


async def test_new_identity_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A new identity's id is in the log at once: nobody could find it again."""
    caplog.set_level(logging.INFO)

    await directory(Wire(Answer(201, CREATED))).create()

    assert f"identity_created identity_id={IDENTITY}" in caplog.messages


async def test_token_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An access token never reaches the log."""
    caplog.set_level(logging.DEBUG)

    await directory(Wire(Answer(201, CREATED_WITH_TOKEN))).create_with_token(["chat"], 60)

    assert "a.b.c" not in caplog.text


@pytest.mark.parametrize("body", list(GARBAGE.values()), ids=list(GARBAGE))
@pytest.mark.parametrize("name", ["create", "create_with_token", "issue_token"])
async def test_garbage(name: str, body: object) -> None:
    """A success that cannot be understood is no success: ACS counts as unavailable."""
    acs = directory(Wire(Answer(201 if name in CREATES else 200, body)))

    with pytest.raises(AcsUnavailable):
        await CALLS[name](acs)


@pytest.mark.parametrize("member", ["token", "expiresOn"])
async def test_garbage_with_an_identity(member: str) -> None:
    """An identity whose first token cannot be read is no success either."""
    body = CREATED | {"accessToken": ISSUED | {member: None}}
    acs = directory(Wire(Answer(201, body)))

    with pytest.raises(AcsUnavailable):
        await acs.create_with_token(["chat"], 60)


@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
@pytest.mark.parametrize("kind", [AttributeError, KeyError, TypeError, ValueError])
async def test_sdk_trips(kind: type[Exception], call: Call) -> None:
    """An SDK that trips over an answer counts as ACS being unavailable."""
    acs = over(StumblingClient(kind("identity")))

    with pytest.raises(AcsUnavailable):
        await call(acs)


@pytest.mark.parametrize("error", list(azure_errors()), ids=described)
@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
async def test_no_azure_error_escapes(call: Call, error: AzureError) -> None:
    """Every error of azure-core becomes one of ours."""
    acs = over(StumblingClient(error))

    with pytest.raises(ServiceError):
        await call(acs)


@pytest.mark.parametrize("error", list(azure_errors()), ids=described)
async def test_every_azure_error_is_a_problem(error: AzureError) -> None:
    """Every error of azure-core leaves the app as a problem from the table."""
    client = StumblingClient(error)

    response = await edge(client)

    assert code_of(response) in CODES


@pytest.mark.parametrize("kind", [RuntimeError, OSError, AssertionError, Exception])
async def test_stranger_is_an_internal_error(kind: type[Exception]) -> None:
    """An error that nobody foresaw leaves the app as an internal error."""
    client = StumblingClient(kind("never seen before"))

    response = await edge(client)

    assert code_of(response) == "internal_error"


@pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))
async def test_no_credential(call: Call) -> None:
    """Without a credential of our own there is no service, and it is not the caller's fault."""
    acs = over(StumblingClient(CredentialUnavailableError("no token")))

    with pytest.raises(AcsUnavailable):
        await call(acs)


@pytest.mark.parametrize("call", list(CREATES.values()), ids=list(CREATES))
async def test_create_is_not_repeated(call: Call) -> None:
    """A create that failed is not attempted again: it may have made an identity."""
    wire = Wire(Answer(503))

    with pytest.raises(AcsUnavailable):
        await call(directory(wire))

    assert len(wire.requests) == 1


@pytest.mark.parametrize("call", list(REPEATABLES.values()), ids=list(REPEATABLES))
def test_repeatable_call_is_given_up(call: Call, hasty: asyncio.Runner) -> None:
    """A call that does no harm when it is given up is given up before the caller's deadline."""

    async def scenario() -> float:
        clock = asyncio.get_running_loop()
        start = clock.time()
        with pytest.raises(AcsTooSlow):
            await call(over(SlowClient(3600)))
        return clock.time() - start

    seconds = hasty.run(scenario())

    assert seconds == pytest.approx(REPEATABLE, abs=0.5)


def test_create_is_waited_for(hasty: asyncio.Runner) -> None:
    """A create is waited for beyond any deadline: its answer names an identity."""
    client = SlowClient(CREATE - 1)

    hasty.run(over(client).create())

    assert client.finished == ["create_user"]


async def test_teams_refusal() -> None:
    """Where ACS finds fault with a Teams exchange, the caller learns with what."""
    error = {"code": "ValidationError", "message": "Provided AppId has invalid format."}
    wire = Wire(Answer(400, {"error": error | {"target": "appId"}}, {"MS-CV": "vector"}))

    with pytest.raises(TeamsTokenRefused) as caught:
        await directory(wire).exchange_teams_token("x.y.z", APP, USER)

    assert (caught.value.detail, caught.value.field, caught.value.upstream_request_id) == (
        "ACS: Provided AppId has invalid format.",
        "appId",
        "vector",
    )


async def test_close() -> None:
    """Closing the directory closes the client."""
    client = ClosingClient()

    await over(client).close()

    assert client.closed
