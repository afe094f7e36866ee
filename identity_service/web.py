"""The HTTP edge: request → operation → answer. Errors become problems here and nowhere else."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlencode, urlsplit

import azure.functions as func
import msgspec

from identity_service.contract import PROBLEMS, Health, Page, Problem
from identity_service.decoding import decode, decode_query, own_parameters
from identity_service.errors import (
    AcsTooSlow,
    InternalError,
    InvalidBody,
    NotConfigured,
    ServiceError,
)
from identity_service.events import Events
from identity_service.invocation import begin
from identity_service.model import Answer, Listing, identity_id, is_identity_id
from identity_service.principal import caller

Operation = Callable[..., Awaitable[Answer | None]]
Outcome = Answer | ServiceError | None

events = Events(__name__)

# Seconds until the caller is answered, whatever is still going on: a little less than the ten that
# the README promises.
DEADLINE = 9.0

UNAUTHORIZED = 401
_COLLECTION = "/identities"

# Made anew by `make openapi` whenever the API changes.
DOCUMENT = Path(__file__).parent.parent / "openapi.json"
# Answers may hold tokens, and problems speak of one moment: neither is for a cache.
_NO_STORE = {"Cache-Control": "no-store"}

_under_way: set[asyncio.Future[Answer | None]] = set()


async def serve(
    req: func.HttpRequest, context: func.Context, operation: Operation, services: object
) -> func.HttpResponse:
    """Run one operation for one request.

    The operation's own parameters say what it takes: `caller` is who is signed in, `identity_id`
    comes from the address, `query` from its query, `body` from the request, everything else from
    `services`, by its name.
    """
    started = time.perf_counter()
    invocation = begin(context.invocation_id)
    outcome: Outcome
    try:
        outcome = await _before_deadline(operation(**_arguments(req, operation, services)))
        response = _success(req, outcome)
    except ServiceError as error:
        outcome, response = error, problem(error, _base(services))
    except Exception as error:  # noqa: BLE001 -- the last line of defence: after it comes the host's empty 500
        events.error("internal_error", error, operation=operation.__name__)
        outcome = InternalError("The service's log has the details.")
        response = problem(outcome, _base(services))
    events.info(
        "operation_finished",
        operation=operation.__name__,
        status=response.status_code,
        code=outcome.code if isinstance(outcome, ServiceError) else "ok",
        duration_ms=round((time.perf_counter() - started) * 1000),
        acs_ms=round(invocation.acs_seconds * 1000),
        throttles=invocation.throttles,
        identity_id=_subject(req, outcome),
        upstream_request_id=invocation.upstream_request_id,
    )
    invocation.is_over = True
    return response


def health(connect: Callable[[], None]) -> func.HttpResponse:
    """Whether the app is configured. It is anonymous: it says that and no more."""
    try:
        connect()
    except NotConfigured as fault:
        return _json(Health("not_configured"), fault.status)
    return _json(Health("ok"), 200)


def document() -> func.HttpResponse:
    """The OpenAPI document."""
    return _response(_document(), 200, "application/json")


def problem(error: ServiceError, base: str = PROBLEMS) -> func.HttpResponse:
    """The error as RFC 9457 has it; `base` is where problems are explained."""
    body = Problem(
        type=f"{base}#{error.code}",
        title=error.title,
        status=error.status,
        code=error.code,
        detail=error.detail,
        field=error.field,
        allowed=error.allowed,
        upstream_request_id=error.upstream_request_id,
    )
    response = _json(body, error.status, "application/problem+json")
    if error.status == UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _arguments(req: func.HttpRequest, operation: Operation, services: object) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for name, kind in _parameters(operation).items():
        if name == "identity_id":
            arguments[name] = identity_id(req.route_params.get("id", ""))
        elif name == "caller":
            enabled = getattr(services, "sign_in_enabled", False)
            arguments[name] = caller(req.headers, sign_in_enabled=enabled)
        elif name == "query":
            arguments[name] = decode_query(req.params, kind)
        elif name == "body":
            arguments[name] = decode(_body(req), kind)
        else:
            arguments[name] = getattr(services, name)
    return arguments


def _body(req: func.HttpRequest) -> bytes:
    """The request's body.

    Raises:
        InvalidBody: the host dropped it, as it does with a chunked one. Read as an empty body it
            would make an identity for nobody.
    """
    body = req.get_body()
    if not body and "chunked" in req.headers.get("transfer-encoding", "").lower():
        raise InvalidBody(
            "A chunked body does not get here.", allowed="a body with a Content-Length"
        )
    return body


@cache
def _parameters(operation: Operation) -> dict[str, Any]:
    hints = get_type_hints(operation)
    hints.pop("return", None)
    return hints


async def _before_deadline(call: Awaitable[Answer | None]) -> Answer | None:
    """Await the call up to the deadline. After it the call goes on: nothing stays half done."""
    task = asyncio.ensure_future(call)
    _under_way.add(task)  # the event loop itself holds tasks weakly
    task.add_done_callback(_under_way.discard)
    done, _ = await asyncio.wait({task}, timeout=DEADLINE)
    if done:
        return task.result()
    task.add_done_callback(_finished_late)
    raise AcsTooSlow("The answer took too long. What was asked for may still happen.")


def _finished_late(task: asyncio.Future[Answer | None]) -> None:
    error = None if task.cancelled() else task.exception()
    stranger = error if error and not isinstance(error, ServiceError) else None
    name = type(error).__name__ if error else "none"
    events.warning("operation_finished_late", stranger, outcome=name)


def _success(req: func.HttpRequest, answer: Answer | None) -> func.HttpResponse:
    if answer is None:
        return func.HttpResponse(status_code=204, headers=_NO_STORE)
    if isinstance(answer, Listing):
        return _page(req, answer)
    response = _json(answer, answer.status)
    if answer.status == 201:  # noqa: PLR2004 -- Created
        response.headers["Location"] = _location(req, answer)
    return response


def _page(req: func.HttpRequest, listing: Listing[Any]) -> func.HttpResponse:
    """A page, and the way to the next one: from the path and the query alone, without a key."""
    page = Page(value=listing.value)
    if listing.continuation is not None:
        query = {**own_parameters(req.params), "continuation": listing.continuation}
        page.next_link = f"{urlsplit(req.url).path}?{urlencode(query)}"
    return _json(page, listing.status)


def _location(req: func.HttpRequest, answer: Answer) -> str:
    """Where the new identity is: from the path alone, for the query may hold a key."""
    path = urlsplit(req.url).path
    collection = path[: path.lower().rindex(_COLLECTION) + len(_COLLECTION)]
    return f"{collection}/{getattr(answer, 'id')}"  # noqa: B009 -- what is created has an id


def _json(content: object, status: int, mimetype: str = "application/json") -> func.HttpResponse:
    return _response(msgspec.json.encode(content), status, mimetype)


def _response(body: bytes, status: int, mimetype: str) -> func.HttpResponse:
    return func.HttpResponse(body, status_code=status, mimetype=mimetype, headers=_NO_STORE)


@cache
def _document() -> bytes:
    return DOCUMENT.read_bytes()


def _base(services: object) -> str:
    base: str = getattr(services, "problem_base_uri", PROBLEMS)
    return base


def _subject(req: func.HttpRequest, outcome: Outcome) -> str:
    """The identity a call was about, for the log: nothing that is not the id of one."""
    named = getattr(outcome, "id", None) or req.route_params.get("id", "")
    return named if is_identity_id(named) else ""
