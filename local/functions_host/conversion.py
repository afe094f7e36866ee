"""Requests and answers between HTTP and the types of azure-functions, as host and worker do it."""

import re

import azure.functions as func

from local.functions_host.pipeline import Answer, Request
from local.functions_host.urls import encode_path

_BODILESS = (204, 205, 304)
# They describe the connection, which is the server's business.
_FRAMING = ("content-length", "transfer-encoding")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")


class ResultError(ValueError):
    """A result that worker or host cannot make an HTTP answer of."""


def to_http_request(request: Request, route_params: dict[str, str]) -> func.HttpRequest:
    """The request as a function gets it, keys included.

    Source: ToRpcHttp in GrpcMessageConversionExtensions.cs of Azure/azure-functions-host.
    """
    return func.HttpRequest(
        request.method,
        _url(request),
        headers=request.headers,
        params=request.query,
        route_params=route_params,
        body=request.body,
    )


def _url(request: Request) -> str:
    # In Azure the front end terminates TLS and hands on what the caller saw in these headers.
    forwarded = request.headers.get("x-forwarded-proto", "")
    scheme = "https" if forwarded.lower() == "https" else "http"
    host = request.headers.get("disguised-host") or request.headers.get("host", "")
    query = f"?{request.query_string}" if request.query_string else ""
    return f"{scheme}://{host}{encode_path(request.path)}{query}"


def to_answer(result: object) -> Answer:
    """The answer for what an HTTP function returned.

    Raises:
        ResultError: no HttpResponse, a status that is none, a body where none may be, or a header
            that is not printable ASCII.
    """
    if not isinstance(result, func.HttpResponse):
        raise ResultError(f"the function returned {type(result).__name__}, not an HttpResponse")
    status, body = int(result.status_code), result.get_body()
    if not 200 <= status <= 999:  # noqa: PLR2004 - the range that ASP.NET Core takes for an answer
        raise ResultError(f"{status} is no status code of an answer")
    if body and status in _BODILESS:
        raise ResultError(f"an answer with status {status} has no body")
    return Answer(status, _headers(result), body)


def _headers(response: func.HttpResponse) -> tuple[tuple[str, str], ...]:
    # The worker keeps the last of repeated headers, and all cookies.
    kept = {name: value for name, value in response.headers.items() if name.lower() != "set-cookie"}
    cookies = [("Set-Cookie", value) for value in response.headers.get_all("Set-Cookie")]
    headers = [(name, value) for name, value in kept.items() if name.lower() not in _FRAMING]
    if "Content-Type" not in response.headers:
        headers.append(("Content-Type", _content_type(response)))
    for name, value in headers + cookies:
        if not (_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise ResultError(f"the header {name!r} is not printable ASCII")
    return tuple(headers + cookies)


def _content_type(response: func.HttpResponse) -> str:
    is_text = response.mimetype.startswith("text/")
    return f"{response.mimetype}; charset={response.charset}" if is_text else response.mimetype
