"""Each failed call to ACS becomes one of our errors, which depends on the response only."""

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

from identity_service.azure.acs_errors import QUOTA_WINDOW, translate
from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    IdentityNotFound,
    InvalidBody,
    ServiceError,
    TeamsTokenRefused,
    Throttled,
    WrongResource,
)
from identity_service.policies import TokenGrant
from tests.support.acs_transport import HOST, IDENTITY, Response, Transport, acs_client

CHAT = TokenGrant(("chat",), 60)
HTML = "<html><body>Gateway</body></html>"

NO_RESPONSE = {
    "no connection": (ServiceRequestError("refused"), AcsUnavailable),
    "connecting took too long": (ServiceRequestTimeoutError("slow"), AcsTooSlow),
    "response interrupted": (ServiceResponseError("reset"), AcsUnavailable),
    "response took too long": (ServiceResponseTimeoutError("slow"), AcsTooSlow),
    "no credential": (ClientAuthenticationError("no token"), AcsUnavailable),
    "something else": (AzureError("what"), AcsUnavailable),
}

# Status, ACS's error code (None for a page that another server sent), our error.
REFUSALS = [
    (302, None, AcsUnavailable),
    (400, "ValidationError", InvalidBody),
    (400, "SomethingNew", AcsUnavailable),
    (400, None, AcsUnavailable),
    (401, "IdentityNotOwned", WrongResource),
    (401, "InvalidAccessToken", AcsRefusedUs),
    (401, "Denied", AcsRefusedUs),
    (401, "SomethingNew", AcsRefusedUs),
    (401, None, AcsRefusedUs),
    (403, "Forbidden", AcsRefusedUs),
    (403, None, AcsUnavailable),
    (404, "IdentityNotFound", IdentityNotFound),
    (404, "ResourceNotFound", AcsUnavailable),
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


ODD_BODIES: dict[str, object] = {
    "empty": "",
    "HTML": HTML,
    "truncated JSON": '{"error":',
    "null": None,
    "array": [],
    "number": 1,
    "empty object": {},
    "null error": {"error": None},
    "text as error": {"error": "Denied"},
    "empty error": {"error": {}},
    "numeric code": {"error": {"code": 7, "message": "m"}},
    "only a code": {"error": {"code": "ValidationError"}},
    "only a message": {"error": {"message": "m"}},
    "object as message": {"error": {"code": "ValidationError", "message": {"en": "m"}}},
    "number as target": {"error": {"code": "ValidationError", "message": "m", "target": 7}},
    "object as target": {"error": {"code": "ValidationError", "message": "m", "target": {"a": 1}}},
    "list as target": {"error": {"code": "ValidationError", "message": "m", "target": ["a"]}},
    "number as details": {"error": {"code": "ValidationError", "message": "m", "details": 7}},
}


DAY = 86_400
# Status, Retry-After, and the seconds that the caller should wait.
WAITS = {
    "absent": (429, None, QUOTA_WINDOW),
    "empty": (429, "", QUOTA_WINDOW),
    "seconds": (429, "7", 7),
    "text": (429, "soon", QUOTA_WINDOW),
    "fraction": (429, "1.5", QUOTA_WINDOW),
    "zero": (429, "0", QUOTA_WINDOW),
    "negative": (429, "-5", QUOTA_WINDOW),
    "past date": (429, "Wed, 21 Oct 2015 07:28:00 GMT", QUOTA_WINDOW),
    "date without a zone": (429, "Wed, 21 Oct 2015 07:28:00", QUOTA_WINDOW),
    "truncated date": (429, "Wed, 21 Oct", QUOTA_WINDOW),
    "10,000 digits": (429, "9" * 10_000, QUOTA_WINDOW),
    "a trillion": (429, "1" + 12 * "0", DAY),
    "date in a thousand years": (429, "Wed, 21 Oct 3015 07:28:00 GMT", DAY),
    "absent in an outage": (503, None, None),
    "seconds in an outage": (503, "5", 5),
}


def error_body(code: str | None, **fields: object) -> object:
    """An error as ACS sends it; without a code, a page that another server sent."""
    return {"error": {"code": code, "message": "As ACS says.", **fields}} if code else HTML


async def error_for(response: Response) -> ServiceError:
    """The error that a caller gets for this response."""
    with pytest.raises(ServiceError) as caught:
        await acs_client(Transport(response)).issue_token(IDENTITY, CHAT)
    return caught.value


@pytest.mark.parametrize(("error", "kind"), list(NO_RESPONSE.values()), ids=list(NO_RESPONSE))
def test_no_response(error: AzureError, kind: type[ServiceError]) -> None:
    """A call without a response means that ACS is unavailable, or too slow if it timed out."""
    assert type(translate(error, HOST)) is kind


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS)
async def test_refusal(status: int, code: str | None, kind: type[ServiceError]) -> None:
    """Status and code of the response decide which error it is."""
    error = await error_for(Response(status, error_body(code)))

    assert type(error) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(401, "IdentityNotOwned", AcsRefusedUs), (404, "IdentityNotFound", AcsUnavailable)],
)
async def test_create_never_finds_an_identity_missing(
    status: int, code: str, kind: type[ServiceError]
) -> None:
    """A call that is not about an existing identity cannot fail because of one."""
    with pytest.raises(ServiceError) as caught:
        await acs_client(Transport(Response(status, error_body(code)))).create()

    assert caught.type is kind


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("IdentityNotFound", "As ACS says.", IdentityNotFound),
        ("NotFound", "Provided identity doesn't exist.", IdentityNotFound),
        ("NotFound", "The identity provider was not found.", AcsUnavailable),
        ("IdentityServiceNotFound", "No such service.", AcsUnavailable),
        (7, "Provided identity doesn't exist.", AcsUnavailable),
        (None, "Provided identity doesn't exist.", AcsUnavailable),
    ],
)
async def test_missing_identity(code: object, message: str, kind: type[ServiceError]) -> None:
    """A purge takes it for a proof, so it takes the code or the message of ACS for an identity."""
    error = await error_for(Response(404, {"error": {"code": code, "message": message}}))

    assert type(error) is kind


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", list(ODD_BODIES.values()), ids=list(ODD_BODIES))
async def test_odd_body(status: int, body: object) -> None:
    """Any body of an error gives one of our errors."""
    error = await error_for(Response(status, body))

    assert error.status >= 400


@pytest.mark.parametrize(("target", "field"), list(TARGETS.items()))
async def test_target_is_our_field(target: str | None, field: str | None) -> None:
    """The field that ACS names is spelled as in our own requests."""
    error = await error_for(Response(400, error_body("ValidationError", target=target)))

    assert error.field == field


@pytest.mark.parametrize("message", ["As ACS says.", "x" * 10_000], ids=["short", "long"])
async def test_message_is_passed_on(message: str) -> None:
    """The caller gets the first 200 characters of ACS's own message about an invalid request."""
    error = await error_for(Response(400, error_body("ValidationError", message=message)))

    assert error.detail == f"ACS: {message[:200]}"


async def test_retry_after_as_a_date() -> None:
    """A Retry-After with a date becomes the seconds until then."""
    then = datetime.now(UTC) + timedelta(seconds=90)
    error = await error_for(
        Response(429, HTML, {"Retry-After": format_datetime(then, usegmt=True)})
    )

    assert error.retry_after == pytest.approx(90, abs=5)


@pytest.mark.parametrize(("status", "text", "wait"), list(WAITS.values()), ids=list(WAITS))
async def test_retry_after(status: int, text: str | None, wait: int | None) -> None:
    """ACS's wait is passed on. Without a usable one, a throttled caller waits a quota window."""
    headers = {} if text is None else {"retry-after": text}
    error = await error_for(Response(status, HTML, headers))

    assert error.retry_after == wait


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=255)))
def test_any_retry_after(text: str) -> None:
    """Any Retry-After gives a throttled caller a positive number of seconds."""
    error = translate(HttpResponseError(response=Response(429, HTML, {"Retry-After": text})), HOST)

    assert isinstance(error.retry_after, int)
    assert error.retry_after > 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ms-cv": "vector.0", "x-ms-client-request-id": "ours", "X-Azure-Ref": "ref"}, "vector.0"),
        ({"MS-CV": "", "x-ms-client-request-id": "ours"}, "ours"),
        ({"X-Azure-Ref": "ref"}, "ref"),
        ({}, None),
    ],
    ids=["correlation vector", "client request id", "front door's reference", "none"],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 429, 500, 502, 503, 504])
async def test_request_id(status: int, headers: dict[str, str], expected: str | None) -> None:
    """Every error has the correlation vector for Microsoft's support, or the next best id."""
    error = await error_for(Response(status, error_body("ValidationError"), headers))

    assert error.upstream_request_id == expected


@pytest.mark.parametrize("status", [401, 403])
async def test_missing_role_is_logged(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """If ACS refuses our own credential, the log names the role to assign."""
    await error_for(Response(status, error_body("Denied")))

    assert f"acs_refused_us host={HOST} status={status} code=Denied" in caplog.text
    assert "Communication and Email Service Owner" in caplog.text


async def test_error_of_the_caller_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A 401 that the caller caused does not alert an operator."""
    await error_for(Response(401, error_body("IdentityNotOwned")))

    assert caplog.text == ""


async def test_a_refused_teams_token_is_named_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The caller has sent it. In any other call, the token that ACS refuses is our own."""
    client = acs_client(Transport(Response(401, error_body("InvalidAccessToken"))))
    with pytest.raises(TeamsTokenRefused) as caught:
        await client.exchange_teams_token("x.y.z", IDENTITY, IDENTITY)

    assert (caught.value.field, caplog.text) == ("token", "")
