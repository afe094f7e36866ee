"""Results and errors as HTTP responses."""

from typing import ClassVar

import pytest
from azure.functions import HttpResponse
from msgspec import Raw

from identity_service.errors import (
    AcsUnavailable,
    InvalidBody,
    NotSignedIn,
    ServiceError,
    Throttled,
)
from identity_service.http.responses import problem, subject, success
from identity_service.identity import Page
from identity_service.schemas import Response
from tests.http.edge import URL, content, request
from tests.support.acs_transport import IDENTITY
from tests.support.errors import service_errors


class Found(Response):
    """A result."""

    id: str


class Created(Found):
    """A result that creates something."""

    http_status: ClassVar[int] = 201


# The URL of a request that creates an identity, and the path to the new one. The host ignores case.
LOCATIONS = {
    "create": (URL, "/api/identities/"),
    "with a token": (f"{URL}/with-token", "/api/identities/"),
    "key in the query": (f"{URL}?code=secret-key", "/api/identities/"),
    "both": (f"{URL}/with-token?code=secret-key", "/api/identities/"),
    "port": ("http://localhost:7071/api/identities", "/api/identities/"),
    "no prefix": ("https://app.example/identities/with-token", "/identities/"),
    "long prefix": ("https://app.example/acs/v1/identities", "/acs/v1/identities/"),
    "similar prefix": ("https://app.example/identities-a/identities", "/identities-a/identities/"),
    "upper case": ("https://app.example/API/IDENTITIES", "/API/IDENTITIES/"),
    "mixed case": ("https://app.example/A/Identities/With-Token", "/A/Identities/"),
    "trailing slash": (f"{URL}/", "/api/identities/"),
    "trailing slash with a token": (f"{URL}/with-token/", "/api/identities/"),
}

RESPONSES = [
    success(request(), None),
    success(request(), Found(id=IDENTITY)),
    success(request(), Created(id=IDENTITY)),
    success(request(), Page([1])),
    success(request(), Raw(b"{}")),
    *(problem(kind("What is wrong.")) for kind in service_errors()),
]


@pytest.mark.parametrize("response", RESPONSES)
def test_no_response_is_cached(response: HttpResponse) -> None:
    """Responses may contain tokens, and problems describe one moment."""
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [(None, 204, b""), (Found(id="a"), 200, b'{"id":"a"}'), (Raw(b'{"a" : 1}'), 200, b'{"a" : 1}')],
    ids=["nothing", "result", "document"],
)
def test_result(result: object, status: int, body: bytes) -> None:
    """No result has no body. Others are JSON; a result that is JSON already is sent as it is."""
    response = success(request(), result)

    assert (response.status_code, response.get_body()) == (status, body)
    assert not body or response.mimetype == "application/json"
    assert "Location" not in response.headers


@pytest.mark.parametrize(("url", "collection"), list(LOCATIONS.values()), ids=list(LOCATIONS))
def test_creation(url: str, collection: str) -> None:
    """A creation is 201. Its Location is made from the path: no host, and no key."""
    response = success(request(url), Created(id=IDENTITY))

    assert response.status_code == 201
    assert response.headers["Location"] == collection + IDENTITY


def test_page() -> None:
    """A page links to the next one, by path and query, without the host's parameters."""
    query = {"maxPageSize": "2", "code": "secret-key", "clientId": "secret-client"}
    req = request(f"{URL}?maxPageSize=2&code=secret-key", query=query)
    response = success(req, Page([1, 2], "a/b c"))

    assert response.status_code == 200
    assert content(response) == {
        "value": [1, 2],
        "nextLink": "/api/identities?maxPageSize=2&continuation=a%2Fb+c",
    }


def test_link_replaces_the_continuation() -> None:
    """The second page links to the third one."""
    response = success(request(query={"continuation": "one"}), Page([1], "two"))

    assert content(response)["nextLink"] == "/api/identities?continuation=two"


def test_last_page() -> None:
    """The last page has no link."""
    response = success(request(), Page([1]))

    assert content(response) == {"value": [1]}


@pytest.mark.parametrize("kind", service_errors())
def test_problem(kind: type[ServiceError]) -> None:
    """Every error becomes a problem with the status, code and title of its class."""
    response = problem(kind("What is wrong."))

    assert (response.status_code, response.mimetype) == (kind.status, "application/problem+json")
    assert content(response) == {
        "type": f"/docs/problems.md#{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "code": kind.code,
        "detail": "What is wrong.",
    }


def test_details_of_a_problem() -> None:
    """A problem names the field, its allowed values, and the id for Microsoft's support."""
    error = InvalidBody("No.", field="scopes", allowed="some", upstream_request_id="vector.0")
    found = content(problem(error))

    assert (found["field"], found["allowed"]) == ("scopes", "some")
    assert found["upstreamRequestId"] == "vector.0"


def test_page_of_the_problems() -> None:
    """A problem's type leads to the page that the operator publishes."""
    response = problem(Throttled("Wait."), "https://docs.example/problems")

    assert content(response)["type"] == "https://docs.example/problems#throttled"


def test_retry_after() -> None:
    """The header has the seconds, and only if the error has them."""
    headers = [
        problem(error).headers.get("Retry-After")
        for error in (Throttled("Wait.", retry_after=7), AcsUnavailable("Gone."))
    ]

    assert headers == ["7", None]


def test_not_signed_in() -> None:
    """A 401 has the header that RFC 9110 requires. Other problems do not."""
    headers = [
        problem(error).headers.get("WWW-Authenticate")
        for error in (NotSignedIn("Sign in."), Throttled("Wait."))
    ]

    assert headers == ["Bearer", None]


@pytest.mark.parametrize(
    ("in_url", "result", "logged"),
    [
        (IDENTITY, None, IDENTITY),
        (None, Created(id=IDENTITY), IDENTITY),
        (IDENTITY, AcsUnavailable("Gone."), IDENTITY),
        ("nobody\nforged=line", None, ""),
        (None, Found(id="nobody"), ""),
        (None, None, ""),
    ],
)
def test_subject_is_an_identity_id(in_url: str | None, result: object, logged: str) -> None:
    """The log has the identity of the result or of the URL, and never other text."""
    assert subject(request(identity_id=in_url), result) == logged
