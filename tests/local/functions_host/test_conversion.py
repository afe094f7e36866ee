"""Facts about the conversion of requests and results."""

from typing import Any

import azure.functions as func
import pytest

from local.functions_host.conversion import (
    ResultError,
    UrlError,
    to_http_request,
    to_response,
)
from local.functions_host.http import Request, Response


def test_only_text_has_a_charset() -> None:
    """Other content types are sent without one."""
    text = to_response(func.HttpResponse("é", charset="latin-1"))
    data = to_response(func.HttpResponse("{}", mimetype="application/json"))

    assert text.headers == (("Content-Type", "text/plain; charset=latin-1"),)
    assert text.body == b"\xe9"
    assert data.headers == (("Content-Type", "application/json"),)


def test_the_last_of_repeated_headers_and_all_cookies_are_kept() -> None:
    """The worker sends headers as a dictionary and cookies as a list."""
    response = func.HttpResponse(headers={"X-A": "1"}, mimetype="a/b")
    response.headers.add("X-A", "2")
    response.headers.add("Set-Cookie", "s=1")
    response.headers.add("Set-Cookie", "t=2; u=3")

    headers = to_response(response).headers

    assert ("X-A", "2") in headers
    assert ("X-A", "1") not in headers
    cookies = [value.partition(";")[0] for name, value in headers if name == "Set-Cookie"]
    assert cookies == ["s=1", "t=2", "u=3"]


@pytest.mark.parametrize(
    ("cookie", "sent"),
    [
        ("a=b", "a=b; domain=; path="),
        (
            "a=b; Path=/; HttpOnly; SameSite=Lax; Secure",
            "a=b; domain=; path=/; secure; samesite=lax; httponly",
        ),
        ("a=b,c+d%20=e", "a=b%2Cc%2Bd%2520%3De; domain=; path="),
        ('a="b c"', "a=b%20c; domain=; path="),
        ("a=b; Max-Age=-1; Domain=x.example", "a=b; max-age=-1; domain=x.example; path="),
        (
            "a=b; Expires=Wed, 21-Oct-2026 07:28:00 GMT",
            "a=b; expires=Wed, 21 Oct 2026 07:28:00 GMT; domain=; path=",
        ),
        (
            "a=b; Expires=2026-10-21T09:28:00+02:00",
            "a=b; expires=Wed, 21 Oct 2026 07:28:00 GMT; domain=; path=",
        ),
        ("a=b; SameSite=Foo", "a=b; domain=; path="),
        ("a=b c", None),
    ],
)
def test_a_cookie_is_rewritten(cookie: str, sent: str | None) -> None:
    """The worker parses it, and the host writes it in its own form or not at all."""
    response = to_response(func.HttpResponse(headers={"Set-Cookie": cookie}, mimetype="a/b"))

    assert dict(response.headers).get("Set-Cookie") == sent


@pytest.mark.parametrize(("content_type", "sent"), [("a/b", (("content-type", "a/b"),)), ("", ())])
def test_the_app_sets_the_content_type_but_not_the_framing(
    content_type: str, sent: tuple[tuple[str, str], ...]
) -> None:
    """The worker adds a Content-Type only if it is missing. An empty one is not sent."""
    headers = {"content-type": content_type, "Transfer-Encoding": "gzip"}

    assert to_response(func.HttpResponse("x", headers=headers)).headers == sent


@pytest.mark.parametrize(
    ("status", "sent"), [(204, 204), (99, 99), (1000, 1000), ("201", 201), (404.5, 200), ("x", 200)]
)
def test_any_whole_number_is_a_status(status: Any, sent: int) -> None:
    """The host ignores other statuses."""
    assert to_response(func.HttpResponse("x", status_code=status)).status == sent


def test_a_text_is_a_response() -> None:
    """The host makes it the body of a 200."""
    headers = (("Content-Type", "text/plain; charset=utf-8"),)

    assert to_response("é") == Response(200, headers, "é".encode())


def test_an_invalid_header_name_fails_after_the_content_type_is_set() -> None:
    """The response is a 500 that has kept it."""
    response = to_response(func.HttpResponse("x", headers={"X Name": "x"}))

    assert response == Response(500, (("Content-Type", "text/plain; charset=utf-8"),))


@pytest.mark.parametrize(
    "result",
    [
        None,
        5,
        {"a": 1},
        func.HttpResponse(headers={"X-Name": "é"}),
        func.HttpResponse(headers={"X-Name": "\x7f"}),
        func.HttpResponse(headers={"": "x"}),
        func.HttpResponse(headers={"Content-Length": "abc"}),
        func.HttpResponse(headers={"Set-Cookie": "a=b; Max-Age=x"}),
        func.HttpResponse(headers={"Set-Cookie": "a=b; Expires=soon"}),
    ],
)
def test_an_invalid_result_is_rejected(result: object) -> None:
    """The host responds with 500 to each of them."""
    with pytest.raises(ResultError):
        to_response(result)


def request(headers: dict[str, str], query_string: str = "") -> Request:
    """A request as the front end passes it on."""
    return Request("GET", "/api/8:acs:a b", query_string, headers, headers)


async def test_the_url_and_the_host_are_the_ones_that_the_caller_used() -> None:
    """The front end terminates TLS and sends the original scheme and host in headers."""
    headers = {"host": "10.0.0.1", "disguised-host": "app.example", "x-forwarded-proto": "HTTPS"}

    received = await to_http_request(request(headers, "?code=k"), {})

    assert received.url == "https://app.example/api/8:acs:a%20b?code=k"
    assert received.headers["host"] == "app.example"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": ""},
        {"host": "a", "disguised-host": ""},
        {"host": "a", "disguised-host": "a b/c"},
        {"host": "a", "disguised-host": "a.example,b.example"},
        {"host": "a", "disguised-host": "a:65536"},
        {"host": "a", "x-forwarded-proto": "https,http"},
    ],
)
async def test_a_url_that_cannot_be_built_is_rejected(headers: dict[str, str]) -> None:
    """The host responds with 500 before the app is called."""
    with pytest.raises(UrlError):
        await to_http_request(request(headers), {})


async def test_an_empty_scheme_is_ignored() -> None:
    """An empty X-Forwarded-Proto changes nothing."""
    received = await to_http_request(request({"host": "a", "x-forwarded-proto": ""}), {})

    assert received.url == "http://a/api/8:acs:a%20b"


@pytest.mark.parametrize("host", ["a.example:80", "[::1]:8080", "x//evil.example/a?b", "u@a"])
async def test_other_hosts_are_taken_as_they_are(host: str) -> None:
    """Also one that is more than a host: the app must not trust it."""
    received = await to_http_request(request({"host": "a", "disguised-host": host}), {})

    assert received.url == f"http://{host}/api/8:acs:a%20b"
