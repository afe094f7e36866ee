"""Renders results and errors as HTTP responses."""

from typing import Any
from urllib.parse import urlencode

import msgspec
from azure.functions import HttpRequest, HttpResponse

from identity_service.errors import ServiceError
from identity_service.http.decoding import own_parameters
from identity_service.identity import Actor, Page, is_identity_id
from identity_service.schemas import FIELDS, PROBLEMS, PageResponse, Problem

CREATED = 201
UNAUTHORIZED = 401
# The host's default, which host.json keeps. The request's URL is not used: callers control it.
PREFIX = "/api"
# Responses must not be cached: they may contain tokens, and problems describe one moment. Browsers
# must not guess their type.
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def success(req: HttpRequest, route: str, result: Any) -> HttpResponse:
    """The response for the result of the operation with this route."""
    if result is None:
        return HttpResponse(status_code=204, headers=_HEADERS)
    if isinstance(result, Page):
        return _json(_page(req, route, result), 200)
    if isinstance(result, msgspec.Raw):
        return _json(result, 200)
    response = _json(result, result.http_status)
    if result.http_status == CREATED:
        where = result.location.format_map(msgspec.structs.asdict(result))
        response.headers["Location"] = f"{PREFIX}/{where}"
    return response


def problem(error: ServiceError, base_uri: str = PROBLEMS) -> HttpResponse:
    """The error as a problem (RFC 9457). `base_uri` is the page that documents the problems."""
    body = Problem(
        type=f"{base_uri}#{error.code}",
        title=error.title,
        status=error.status,
        code=error.code,
        detail=error.detail,
        field=error.field,
        allowed=error.allowed,
        identity_id=error.identity_id,
        deleted_by=Actor(error.deleted_by) if error.deleted_by else None,
        upstream_request_id=error.upstream_request_id,
    )
    response = _json(body, error.status, "application/problem+json")
    if error.status == UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def code(result: object) -> str:
    """What the log says about a result: `ok`, or the code of the problem."""
    return str(getattr(result, "code", "ok"))


def refused_field(result: object) -> str | None:
    """The name of the field that was refused, for the log.

    `unknown` if no operation has a field of that name: it is the caller's own text.
    """
    name: str | None = getattr(result, "field", None)
    if name is None:
        return None
    plain = name.rpartition(".")[2]  # without the record that it is in
    return plain if plain in FIELDS else "unknown"


def subject(req: HttpRequest, result: object) -> str:
    """The id of the identity that a call was about, for the log. Other text is not logged."""
    named = getattr(result, "id", None) or req.route_params.get("id", "")
    return named if is_identity_id(named) else ""


def _page(req: HttpRequest, route: str, page: Page[Any]) -> PageResponse[Any]:
    """The page with a link to the next one, from the route and without a function key."""
    response = PageResponse(value=page.items)
    if page.continuation is not None:
        query = {**dict(own_parameters(req.url)), "continuation": page.continuation}
        response.next_link = f"{PREFIX}/{route}?{urlencode(query)}"
    return response


def _json(content: object, status: int, mimetype: str = "application/json") -> HttpResponse:
    body = msgspec.json.encode(content)
    return HttpResponse(body, status_code=status, mimetype=mimetype, headers=_HEADERS)
