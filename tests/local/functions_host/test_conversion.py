"""Facts about what becomes of a function's result, and of a request's URL."""

import azure.functions as func
import pytest

from local.functions_host.conversion import ResultError, to_answer, to_http_request
from local.functions_host.pipeline import Request


def test_text_is_labelled_with_its_charset() -> None:
    """And nothing else is."""
    text = to_answer(func.HttpResponse("é", charset="latin-1"))
    data = to_answer(func.HttpResponse("{}", mimetype="application/json"))

    assert text.headers == (("Content-Type", "text/plain; charset=latin-1"),)
    assert text.body == b"\xe9"
    assert data.headers == (("Content-Type", "application/json"),)


def test_a_content_type_header_beats_the_mimetype() -> None:
    """The worker adds one only where there is none."""
    answer = to_answer(func.HttpResponse("x", headers={"content-type": "a/b"}))

    assert answer.headers == (("content-type", "a/b"),)


def test_the_last_of_repeated_headers_stays_and_all_cookies() -> None:
    """The worker sends headers as a dictionary and cookies as a list."""
    response = func.HttpResponse(headers={"X-A": "1"}, mimetype="a/b")
    response.headers.add("X-A", "2")
    response.headers.add("Set-Cookie", "s=1")
    response.headers.add("Set-Cookie", "t=2")

    headers = to_answer(response).headers

    assert ("X-A", "2") in headers
    assert ("X-A", "1") not in headers
    assert headers[-2:] == (("Set-Cookie", "s=1"), ("Set-Cookie", "t=2"))


def test_the_length_is_not_the_apps_to_say() -> None:
    """The server counts for itself."""
    headers = to_answer(func.HttpResponse("abc", headers={"Content-Length": "9"})).headers

    assert dict(headers).keys() == {"Content-Type"}


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
def test_a_result_that_is_no_answer_is_refused(result: object) -> None:
    """The host answers 500 for each of them."""
    with pytest.raises(ResultError):
        to_answer(result)


def test_the_url_is_what_the_front_end_saw() -> None:
    """It tells scheme and host in headers, for it terminates TLS."""
    headers = {"host": "10.0.0.1", "disguised-host": "app.example", "x-forwarded-proto": "https"}
    request = Request("GET", "/api/8:acs:a b", "code=k", headers, {"code": "k"})

    assert to_http_request(request, {}).url == "https://app.example/api/8:acs:a%20b?code=k"
