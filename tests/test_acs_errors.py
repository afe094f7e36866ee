"""What ACS's refusals mean, from the answer on the wire to our own error."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from hypothesis import given
from hypothesis import strategies as st

from identity_service.acs_errors import QUOTA_WINDOW, translated
from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    IdentityNotFound,
    InvalidBody,
    ServiceError,
    TeamsTokenRefused,
    Throttled,
)
from tests.fakes import IDENTITY, Answer, Wire, directory

HTML = "<html><body>Gateway</body></html>"

SILENCES = {
    "no connection": (ServiceRequestError("refused"), AcsUnavailable),
    "connecting took too long": (ServiceRequestTimeoutError("slow"), AcsTooSlow),
    "answer broken off": (ServiceResponseError("reset"), AcsUnavailable),
    "answer took too long": (ServiceResponseTimeoutError("slow"), AcsTooSlow),
    "no credential": (ClientAuthenticationError("no token"), AcsUnavailable),
    "something else": (AzureError("what"), AcsUnavailable),
}

# Status, ACS's own code (None for a page of somebody else's), our error.
REFUSALS = [
    (302, None, AcsUnavailable),
    (400, "ValidationError", InvalidBody),
    (400, None, AcsUnavailable),
    (401, "IdentityNotOwned", IdentityNotFound),
    (401, "InvalidAccessToken", TeamsTokenRefused),
    (401, "Denied", AcsRefusedUs),
    (401, "SomethingNew", AcsRefusedUs),
    (401, None, AcsRefusedUs),
    (403, "Forbidden", AcsRefusedUs),
    (403, None, AcsRefusedUs),
    (404, "IdentityNotFound", IdentityNotFound),
    (404, None, AcsUnavailable),
    (405, None, AcsUnavailable),
    (408, None, AcsTooSlow),
    (408, "Timeout", AcsTooSlow),
    (409, "Conflict", AcsUnavailable),
    (413, None, AcsUnavailable),
    (429, "TooManyRequests", Throttled),
    (429, None, Throttled),
    (500, "InternalServerError", AcsUnavailable),
    (500, None, AcsUnavailable),
    (502, None, AcsUnavailable),
    (503, "ServiceUnavailable", AcsUnavailable),
    (503, None, AcsUnavailable),
    (504, "GatewayTimeout", AcsTooSlow),
    (504, None, AcsTooSlow),
]

TARGETS = {
    "ExpiresInMinutes": "expiresInMinutes",
    "Scopes": "scopes",
    "scopes": "scopes",
    "AppId": "appId",
    "appId": "appId",
    "": None,
    None: None,
}

ODD_WAITS = {
    "absent": {},
    "empty": {"Retry-After": ""},
    "garbage": {"Retry-After": "soon"},
    "fraction": {"Retry-After": "1.5"},
    "zero": {"Retry-After": "0"},
    "negative": {"Retry-After": "-5"},
    "past date": {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"},
    "date without a zone": {"Retry-After": "Wed, 21 Oct 2015 07:28:00"},
    "half a date": {"Retry-After": "Wed, 21 Oct"},
    "10,000 digits": {"Retry-After": "9" * 10_000},
}

ODD_BODIES: dict[str, object] = {
    "empty": "",
    "HTML": HTML,
    "half a JSON": '{"error":',
    "null": None,
    "array": [],
    "number": 1,
    "empty object": {},
    "null error": {"error": None},
    "text as error": {"error": "Denied"},
    "empty error": {"error": {}},
    "numeric code": {"error": {"code": 7, "message": "m"}},
    "code alone": {"error": {"code": "ValidationError"}},
    "message alone": {"error": {"message": "m"}},
    "object as message": {"error": {"code": "ValidationError", "message": {"en": "m"}}},
    "number as target": {"error": {"code": "ValidationError", "message": "m", "target": 7}},
    "object as target": {"error": {"code": "ValidationError", "message": "m", "target": {"a": 1}}},
    "list as target": {"error": {"code": "ValidationError", "message": "m", "target": ["a"]}},
    "garbage as details": {"error": {"code": "ValidationError", "message": "m", "details": 7}},
}


def error_body(code: str | None, **members: object) -> object:
    """ACS's own error, or a page that some box on the way put in its place."""
    return {"error": {"code": code, "message": "As ACS says.", **members}} if code else HTML


async def refusal(answer: Answer) -> ServiceError:
    """What a caller is told when ACS answers like that."""
    with pytest.raises(ServiceError) as caught:
        await directory(Wire(answer)).issue_token(IDENTITY, ["chat"], None)
    return caught.value


@pytest.mark.parametrize(("error", "kind"), list(SILENCES.values()), ids=list(SILENCES))
def test_silence(error: AzureError, kind: type[ServiceError]) -> None:
    """A call without an answer is an outage, or too slow where it timed out."""
    told = translated(error)

    assert type(told) is kind


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS)
async def test_refusal(status: int, code: str | None, kind: type[ServiceError]) -> None:
    """Status and code of an answer decide what the caller is told."""
    answer = Answer(status, error_body(code))

    told = await refusal(answer)

    assert type(told) is kind


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", list(ODD_BODIES.values()), ids=list(ODD_BODIES))
async def test_odd_body(status: int, body: object) -> None:
    """Whatever an error's body holds, the caller is told one of our errors."""
    answer = Answer(status, body)

    told = await refusal(answer)

    assert told.status >= 400


@pytest.mark.parametrize(("target", "field"), list(TARGETS.items()))
async def test_target_is_our_field(target: str | None, field: str | None) -> None:
    """The member that ACS finds fault with is spelled as in our own requests."""
    answer = Answer(400, error_body("ValidationError", target=target))

    told = await refusal(answer)

    assert told.field == field


async def test_message_is_passed_on() -> None:
    """What ACS finds wrong with a request is worth telling."""
    answer = Answer(400, error_body("ValidationError"))

    told = await refusal(answer)

    assert told.detail == "ACS: As ACS says."


async def test_long_message_is_cut() -> None:
    """Of a long message the caller gets the beginning."""
    answer = Answer(400, error_body("ValidationError", message="x" * 10_000))

    told = await refusal(answer)

    assert len(told.detail) < 300


async def test_wait_in_seconds() -> None:
    """A Retry-After in seconds is passed on."""
    answer = Answer(429, error_body("TooManyRequests"), {"retry-after": "7"})

    told = await refusal(answer)

    assert told.retry_after == 7


async def test_wait_until_a_date() -> None:
    """A Retry-After that is a date becomes the seconds until then."""
    then = datetime.now(UTC) + timedelta(seconds=90)
    answer = Answer(429, HTML, {"Retry-After": format_datetime(then, usegmt=True)})

    told = await refusal(answer)

    assert told.retry_after == pytest.approx(90, abs=5)


@pytest.mark.parametrize("headers", list(ODD_WAITS.values()), ids=list(ODD_WAITS))
async def test_odd_wait(headers: dict[str, str]) -> None:
    """Where Retry-After does not say how long, a throttled caller waits for one quota window."""
    answer = Answer(429, HTML, headers)

    told = await refusal(answer)

    assert told.retry_after == QUOTA_WINDOW


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=255)))
def test_any_wait(text: str) -> None:
    """Whatever Retry-After says, a throttled caller gets a positive number of seconds."""
    error = HttpResponseError(response=Answer(429, HTML, {"Retry-After": text}))

    told = translated(error)

    assert isinstance(told.retry_after, int)
    assert told.retry_after > 0


@pytest.mark.parametrize(("headers", "wait"), [({}, None), ({"Retry-After": "5"}, 5)])
async def test_outage_has_the_wait_it_came_with(headers: dict[str, str], wait: int | None) -> None:
    """An outage says when to come back only where ACS said so."""
    answer = Answer(503, HTML, headers)

    told = await refusal(answer)

    assert told.retry_after == wait


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("code", ["ValidationError", None])
async def test_request_id(status: int, code: str | None) -> None:
    """Every answer's correlation vector comes along: it is what Microsoft's support asks for."""
    headers = {"ms-cv": "vector.0", "x-ms-client-request-id": "ours", "X-Azure-Ref": "ref"}
    answer = Answer(status, error_body(code), headers)

    told = await refusal(answer)

    assert told.upstream_request_id == "vector.0"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"MS-CV": "", "x-ms-client-request-id": "ours"}, "ours"),
        ({"X-Azure-Ref": "ref"}, "ref"),
        ({}, None),
    ],
    ids=["client request id", "front door's reference", "none"],
)
async def test_next_best_request_id(headers: dict[str, str], expected: str | None) -> None:
    """Without a correlation vector the next best id serves."""
    answer = Answer(500, HTML, headers)

    told = await refusal(answer)

    assert told.upstream_request_id == expected


@pytest.mark.parametrize("status", [401, 403])
async def test_log_says_which_role(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Where our own credential is refused, the log says which role to assign."""
    answer = Answer(status, error_body("Denied"))

    await refusal(answer)

    assert "Communication and Email Service Owner" in caplog.text


@pytest.mark.parametrize("code", ["IdentityNotOwned", "InvalidAccessToken"])
async def test_caller_s_mistake_is_not_logged(code: str, caplog: pytest.LogCaptureFixture) -> None:
    """A 401 that is the caller's mistake does not alarm an operator."""
    answer = Answer(401, error_body(code))

    await refusal(answer)

    assert caplog.text == ""


async def test_refused_teams_token_is_named() -> None:
    """A refused Entra token is the field that is at fault."""
    answer = Answer(401, error_body("InvalidAccessToken"))

    told = await refusal(answer)

    assert told.field == "token"
