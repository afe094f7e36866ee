"""Facts about the conversion of requests and results."""

import azure.functions as func
import pytest

from local.functions_host.conversion import ResultError, to_http_request, to_response
from local.functions_host.http import Request


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
    response.headers.add("Set-Cookie", "t=2")

    headers = to_response(response).headers

    assert ("X-A", "2") in headers
    assert ("X-A", "1") not in headers
    assert headers[-2:] == (("Set-Cookie", "s=1"), ("Set-Cookie", "t=2"))


def test_the_app_sets_the_content_type_but_not_the_length() -> None:
    """The worker adds a Content-Type only if it is missing. The server sets the length."""
    response = func.HttpResponse("x", headers={"content-type": "a/b", "Content-Length": "9"})

    assert to_response(response).headers == (("content-type", "a/b"),)


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        func.HttpResponse("body", status_code=204),
        func.HttpResponse("body", status_code=304),
        func.HttpResponse(status_code=99),
        func.HttpResponse(status_code=1000),
        func.HttpResponse(headers={"X-Name": "é"}),
        func.HttpResponse(headers={"X-Name": "\x7f"}),
        func.HttpResponse(headers={"X Name": "x"}),
    ],
)
def test_an_invalid_result_is_rejected(result: object) -> None:
    """The host responds with 500 to each of them."""
    with pytest.raises(ResultError):
        to_response(result)


def test_the_url_is_the_one_that_the_caller_used() -> None:
    """The front end terminates TLS and sends the original scheme and host in headers."""
    headers = {"host": "10.0.0.1", "disguised-host": "app.example", "x-forwarded-proto": "https"}
    request = Request("GET", "/api/8:acs:a b", "code=k", headers, {"code": "k"})

    assert to_http_request(request, {}).url == "https://app.example/api/8:acs:a%20b?code=k"
