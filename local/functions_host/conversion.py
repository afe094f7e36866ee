"""Converts between HTTP messages and the types of azure-functions, as the host and worker do."""

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from http.cookies import CookieError, Morsel, SimpleCookie
from typing import Any
from urllib.parse import quote

import azure.functions as func

from local.functions_host.http import Request, Response, encode_path, parse_query

logger = logging.getLogger(__name__)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")
# What .NET's Uri accepts, as far as a host can send it.
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_AUTHORITY = re.compile(r"(?:[^@]*@)?(?:\[[0-9A-Fa-f:.]+\]|[\w-]+(?:\.[\w-]+)*\.?)(?::(\d*))?")
_LARGEST_PORT = 65_535
_LENGTH = re.compile("[0-9]{1,18}")
_STATUS = re.compile("[+-]?[0-9]{1,9}")
_SAME_SITE = ("lax", "strict", "none")


class UrlError(ValueError):
    """The host cannot build the URL of a request from its Host and scheme."""


class ResultError(ValueError):
    """A function's result that the worker or the host cannot turn into an HTTP response."""


async def to_http_request(request: Request, route_params: dict[str, str]) -> func.HttpRequest:
    """Convert a request to what the function receives. Access keys are not removed.

    A body without Content-Length is not read. App Service's front end terminates TLS and sends the
    original scheme and host in X-Forwarded-Proto and Disguised-Host.

    Sources: AppServiceHeaderFixupMiddleware.cs, and ToRpcHttp in GrpcMessageConversionExtensions.cs
    of Azure/azure-functions-host.

    Raises:
        UrlError: the host or the scheme is not valid.
        BodyError: the body cannot be read.
    """
    headers = dict(request.headers)
    if "disguised-host" in headers:
        headers["host"] = headers["disguised-host"]
    scheme = request.first.get("x-forwarded-proto") or "http"
    host = headers.get("host", "")
    _check_url(scheme, host)
    body = await request.read_body() if int(headers.get("content-length", 0)) else b""
    return func.HttpRequest(
        request.method,
        f"{base_url(request)}{encode_path(request.path)}{request.query_string}",
        headers=headers,
        params=parse_query(request.query_string),
        route_params=route_params,
        body=body,
    )


def base_url(request: Request) -> str:
    """The scheme and host with which the caller called, as far as the front end says it."""
    scheme = request.first.get("x-forwarded-proto", "http").lower()
    host = request.headers.get("disguised-host", request.headers.get("host", ""))
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


@lru_cache
def _check_url(scheme: str, host: str) -> None:
    authority = _AUTHORITY.fullmatch(re.split(r"[/?#\\]", host)[0])
    if not (authority and _SCHEME.fullmatch(scheme)):
        raise UrlError(f"{scheme}://{host} is not a valid URL")
    if int(authority[1] or 0) > _LARGEST_PORT:
        raise UrlError(f"{host} has an invalid port")


def to_response(result: object) -> Response:
    """Convert what an HTTP function returned.

    Raises:
        ResultError: the result is neither an HttpResponse nor a str, or a header or cookie is not
            valid.
    """
    if isinstance(result, str):
        result = func.HttpResponse(result)
    if not isinstance(result, func.HttpResponse):
        raise ResultError(f"the function returned {type(result).__name__}, not an HttpResponse")
    status, headers = _status(result.status_code), _headers(result)
    for name, value in headers:
        if not _HEADER_NAME.fullmatch(name):
            if not name:
                raise ResultError("a header has no name")
            # The host finds this only after it has set Content-Type.
            logger.error("the name of the header %r is not valid", name)
            kept = tuple(each for each in headers if each[0].lower() == "content-type")
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, kept)
        if not _HEADER_VALUE.fullmatch(value):
            raise ResultError(f"the header {name!r} is not printable ASCII")
        if name.lower() == "content-length" and not _LENGTH.fullmatch(value):
            raise ResultError(f"the Content-Length {value!r} is not a number")
    cookies = [("Set-Cookie", cookie) for cookie in _cookies(result)]
    return Response(status, (*headers, *cookies), result.get_body())


def _status(status: object) -> int:
    # The worker sends the status as text, and the host ignores what is not a number.
    text = str(status).strip()
    return int(text) if _STATUS.fullmatch(text) else HTTPStatus.OK


def _headers(response: func.HttpResponse) -> tuple[tuple[str, str], ...]:
    # The worker keeps the last value of a repeated header.
    last = {name.lower(): (name, str(value)) for name, value in response.headers.items()}
    for name in ("set-cookie", "transfer-encoding"):
        last.pop(name, None)
    if not last.setdefault("content-type", ("Content-Type", _content_type(response)))[1]:
        del last["content-type"]
    return tuple(last.values())


def _content_type(response: func.HttpResponse) -> str:
    is_text = response.mimetype.startswith("text/")
    return f"{response.mimetype}; charset={response.charset}" if is_text else response.mimetype


def _cookies(response: func.HttpResponse) -> Iterator[str]:
    """The Set-Cookie headers as the host sends them. It formats what the worker has parsed.

    Sources: parse_to_rpc_http_cookie_list in datumdef.py of the worker, and SetCookieHeaderValue.cs
    of ASP.NET Core.
    """
    try:
        for header in response.headers.get_all("Set-Cookie"):
            for cookie in SimpleCookie(header).values():
                yield _format_cookie(cookie)
    except (CookieError, ValueError) as error:
        raise ResultError(f"a cookie is not valid: {error}") from error


def _format_cookie(cookie: "Morsel[Any]") -> str:
    parts = [f"{cookie.key}={quote(cookie.value, safe='')}"]
    if cookie["expires"]:
        expires = _parse_time(cookie["expires"])
        # A time without a zone is in UTC.
        expires = expires.astimezone(UTC) if expires.tzinfo else expires.replace(tzinfo=UTC)
        parts.append(f"expires={format_datetime(expires, usegmt=True)}")
    if cookie["max-age"]:
        parts.append(f"max-age={int(float(cookie['max-age']))}")
    parts.extend((f"domain={cookie['domain']}", f"path={cookie['path']}"))
    if cookie["secure"]:
        parts.append("secure")
    if cookie["samesite"].lower() in _SAME_SITE:
        parts.append(f"samesite={cookie['samesite'].lower()}")
    if cookie["httponly"]:
        parts.append("httponly")
    return "; ".join(parts)


def _parse_time(text: str) -> datetime:
    """Parse the two forms that are in use. The worker's parser knows more."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return parsedate_to_datetime(text)
