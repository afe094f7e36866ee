"""Results and errors as HTTP responses."""

import json
from pathlib import Path
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

ROOT = Path(__file__).parents[2]


class Found(Response):
    """A result."""

    id: str


class Created(Found):
    """A result that creates something."""

    http_status: ClassVar[int] = 201


# URLs as callers can make them look: the host takes the host's name from headers, and ignores case.
URLS = {
    "plain": URL,
    "key in the query": f"{URL}?code=secret-key",
    "port": "http://localhost:7071/api/identities",
    "upper case": "https://app.example/API/IDENTITIES",
    "trailing slash": f"{URL}/",
    "Disguised-Host with a path": "https://x//evil.example/a/api/identities",
    "Disguised-Host with a query": "https://x//evil.example/a?b/api/identities",
    "Disguised-Host with a fragment": "https://evil.example#/api/identities",
    "Disguised-Host that is no host": "https://[evil.example/api/identities",
    "empty": "",
}

RESPONSES = [
    success(request(), "identities", None),
    success(request(), "identities", Found(id=IDENTITY)),
    success(request(), "identities", Created(id=IDENTITY)),
    success(request(), "identities", Page([1])),
    success(request(), "openapi.json", Raw(b"{}")),
    *(problem(kind("What is wrong.")) for kind in service_errors()),
]
each_response = pytest.mark.parametrize("response", RESPONSES)


@each_response
def test_no_response_is_cached(response: HttpResponse) -> None:
    """Responses may contain tokens, and problems describe one moment."""
    assert response.headers["Cache-Control"] == "no-store"


@each_response
def test_browsers_guess_no_type(response: HttpResponse) -> None:
    """A browser takes a response for what it is."""
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [(None, 204, b""), (Found(id="a"), 200, b'{"id":"a"}'), (Raw(b'{"a" : 1}'), 200, b'{"a" : 1}')],
    ids=["nothing", "result", "document"],
)
def test_result(result: object, status: int, body: bytes) -> None:
    """No result has no body. Others are JSON; a result that is JSON already is sent as it is."""
    response = success(request(), "identities", result)

    assert (response.status_code, response.get_body()) == (status, body)
    assert not body or response.mimetype == "application/json"
    assert "Location" not in response.headers


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
@pytest.mark.parametrize("route", ["identities", "identities/with-token"])
def test_creation(url: str, route: str) -> None:
    """A creation is 201. Its Location does not depend on the URL: no host, no key."""
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}
    response = success(request(url, headers=headers), route, Created(id=IDENTITY))

    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/identities/{IDENTITY}"


def test_the_host_uses_the_prefix() -> None:
    """Links begin with the host's default prefix, which host.json does not change."""
    host = json.loads((ROOT / "host.json").read_text())

    assert "routePrefix" not in host.get("extensions", {}).get("http", {})


@pytest.mark.parametrize("url", URLS.values(), ids=URLS)
def test_page(url: str) -> None:
    """A page links to the next one by route and query, without the host's parameters."""
    host = url.partition("?")[0]
    req = request(f"{host}?maxPageSize=2&code=secret-key&%43ode=secret-key&clientId=secret")
    response = success(req, "deleted-identities", Page([1, 2], "a/b c&d"))

    assert response.status_code == 200
    assert content(response) == {
        "value": [1, 2],
        "nextLink": "/api/deleted-identities?maxPageSize=2&continuation=a%2Fb+c%26d",
    }


def test_link_replaces_the_continuation() -> None:
    """The second page links to the third one."""
    response = success(request(f"{URL}?continuation=one"), "identities", Page([1], "two"))

    assert content(response)["nextLink"] == "/api/identities?continuation=two"


def test_last_page() -> None:
    """The last page has no link."""
    response = success(request(), "identities", Page([1]))

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
    """A problem names the field, its allowed values, the deleter, and the id for the support."""
    error = InvalidBody(
        "No.", field="scopes", allowed="some", deleted_by="user", upstream_request_id="vector.0"
    )
    found = content(problem(error))

    assert (found["field"], found["allowed"]) == ("scopes", "some")
    assert found["upstreamRequestId"] == "vector.0"
    assert found["deletedBy"] == "user"


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
