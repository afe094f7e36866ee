"""Converts between HTTP messages and the types of azure-functions, as the host and worker do."""

import re

import azure.functions as func

from local.functions_host.http import Request, Response, encode_path

_BODILESS = (204, 205, 304)
# These describe the connection, so the server sets them.
_FRAMING = ("content-length", "transfer-encoding")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")


class ResultError(ValueError):
    """A function's result that the worker or the host cannot turn into an HTTP response."""


def to_http_request(request: Request, route_params: dict[str, str]) -> func.HttpRequest:
    """Convert a request to what the function receives. Access keys are not removed.

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
    # Azure's front end terminates TLS and sends the original scheme and host in these headers.
    forwarded = request.headers.get("x-forwarded-proto", "")
    scheme = "https" if forwarded.lower() == "https" else "http"
    host = request.headers.get("disguised-host") or request.headers.get("host", "")
    query = f"?{request.query_string}" if request.query_string else ""
    return f"{scheme}://{host}{encode_path(request.path)}{query}"


def to_response(result: object) -> Response:
    """Convert what an HTTP function returned.

    Raises:
        ResultError: the result is not an HttpResponse, its status is not valid, its status does
            not allow a body, or a header is not printable ASCII.
    """
    if not isinstance(result, func.HttpResponse):
        raise ResultError(f"the function returned {type(result).__name__}, not an HttpResponse")
    status, body = int(result.status_code), result.get_body()
    if not 200 <= status <= 999:  # noqa: PLR2004 -- the range that ASP.NET Core accepts
        raise ResultError(f"{status} is not the status code of a response")
    if body and status in _BODILESS:
        raise ResultError(f"a response with status {status} cannot have a body")
    return Response(status, _headers(result), body)


def _headers(response: func.HttpResponse) -> tuple[tuple[str, str], ...]:
    # The worker keeps the last value of a repeated header, but every cookie.
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
