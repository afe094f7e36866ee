"""Fault injection: which faults exist, which requests they affect, and how they are applied."""

import asyncio
import random
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from aiohttp import web

from local.acs.contract import Operation, Response
from local.acs.tokens import Signer

# The interval at which a hanging request checks whether its client has disconnected, in seconds.
# aiohttp does not notify handlers.
POLL_SECONDS = 0.05

When = Literal["before", "after"]
Target = Literal[
    "any",
    "create",
    "issue",
    "revoke",
    "delete",
    "exchange",
    "exchangeEntra",
    "exchangeTeamsExtension",
    "putAssignment",
    "getAssignment",
    "deleteAssignment",
]


class Fault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
):
    """The fields that all kinds share.

    Attributes:
        operation: The operation whose requests are affected.
        times: The number of requests to affect. None: no limit.
        share: The share of the matching requests to affect, drawn at random with `seed`.
        delay_seconds: The wait before anything else happens.
    """

    operation: Target = "any"
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    delay_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Status(Fault, frozen=True, kw_only=True, tag="status"):
    """Send another response. `retry_after` is in seconds, or an HTTP date."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    when: When = "before"
    retry_after: int | str | None = None
    body: Literal["json", "html", "empty"] = "json"
    code: str = "InjectedFault"
    message: str = "Injected fault."

    def response(self) -> Response:
        """The response that the client receives."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        match self.body:
            case "json":
                error = {"code": self.code, "message": self.message}
                return Response.error(self.status, error, headers)
            case "html":
                page = f"<!DOCTYPE html><title>{self.status}</title>".encode()
                return Response(self.status, page, {**headers, "Content-Type": "text/html"})
            case "empty":
                return Response(self.status, b"", headers)


class Delay(Fault, frozen=True, kw_only=True, tag="delay"):
    """Send the normal response late. The operation runs even if the client disconnects."""

    when: When = "before"


class Hang(Fault, frozen=True, kw_only=True, tag="hang"):
    """Send no response until the fault is cleared.

    If the client disconnects before the operation has run, it does not run.
    """

    when: When = "before"


class Drop(Fault, frozen=True, kw_only=True, tag="drop"):
    """Close the connection without a response."""

    when: When = "before"


class Half(Fault, frozen=True, kw_only=True, tag="half"):
    """Run the operation, send half of the response, then close the connection."""

    when: ClassVar[When] = "after"


class UnknownKey(Fault, frozen=True, kw_only=True, tag="unknownKey"):
    """Run the operation, and sign the token in the response with an unknown key."""

    when: ClassVar[When] = "after"


AnyFault = Status | Delay | Hang | Drop | Half | UnknownKey


class ActiveFault:
    """A fault that has been added, and the number of requests it has affected."""

    def __init__(self, fault_id: int, fault: AnyFault) -> None:
        self.id = fault_id
        self.fault = fault
        self._affected = 0
        self._random = random.Random(fault.seed)  # noqa: S311 -- repeatable, not secret

    def match(self, operation: Operation) -> bool:
        """Decide whether to affect this request, and count it if so."""
        fault = self.fault
        if fault.operation not in ("any", operation):
            return False
        if fault.times is not None and self._affected >= fault.times:
            return False
        if self._random.random() >= fault.share:
            return False
        self._affected += 1
        return True

    def document(self) -> dict[str, Any]:
        """The fault, with its id and the number of affected requests."""
        return {"id": self.id, "affected": self._affected, **msgspec.to_builtins(self.fault)}


class FaultInjector:
    """Holds the active faults and applies them.

    At most one fault affects a request: the oldest one that matches.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._active: dict[int, ActiveFault] = {}
        self._ids = count(1)
        # One future per waiting request. Its result: proceed (True) or drop the connection (False).
        self._waiting: dict[asyncio.Future[bool], ActiveFault] = {}

    def add(self, fault: AnyFault) -> ActiveFault:
        """Activate a fault."""
        active = ActiveFault(next(self._ids), fault)
        self._active[active.id] = active
        return active

    def remove(self, fault_id: int) -> bool:
        """Remove one fault; its waiting requests proceed. False if it does not exist."""
        active = self._active.pop(fault_id, None)
        if active is None:
            return False
        self._release(active)
        return True

    def clear(self, *, proceed: bool = True) -> None:
        """Remove all faults. Waiting requests proceed, or their connections are dropped."""
        self._active.clear()
        self._release(proceed=proceed)

    def document(self) -> list[dict[str, Any]]:
        """All faults, including those whose `times` are used up."""
        return [active.document() for active in self._active.values()]

    def match(self, operation: Operation) -> ActiveFault | None:
        """The fault to apply to this request, if any."""
        return next((active for active in self._active.values() if active.match(operation)), None)

    async def inject(
        self, active: ActiveFault, request: web.Request, execute: Callable[[], Response]
    ) -> Response | web.StreamResponse:
        """Apply a fault to a request.

        Returns:
            A response for the server to send, or an aiohttp response if nothing is left to send.
        """
        fault = active.fault
        done = execute() if fault.when == "after" else None
        if not await self._wait(active, request) or isinstance(fault, Drop):
            return _drop(request)
        if isinstance(fault, Status):
            return fault.response()
        response = done or execute()
        match fault:
            case Half():
                return await _send_half(request, response)
            case UnknownKey():
                return self._with_unknown_key(response)
            case _:
                return response

    async def _wait(self, active: ActiveFault, request: web.Request) -> bool:
        """Wait as the fault requires. Return whether the request proceeds."""
        released: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[released] = active
        hangs = isinstance(active.fault, Hang)
        try:
            if active.fault.delay_seconds:
                await asyncio.wait([released], timeout=active.fault.delay_seconds)
            while hangs and not released.done() and _is_connected(request):
                await asyncio.wait([released], timeout=POLL_SECONDS)
            return released.result() if released.done() else not hangs
        finally:
            del self._waiting[released]

    def _release(self, active: ActiveFault | None = None, *, proceed: bool = True) -> None:
        for released, fault in self._waiting.items():
            if active in (None, fault) and not released.done():
                released.set_result(proceed)

    def _with_unknown_key(self, response: Response) -> Response:
        document = msgspec.json.decode(response.content or b"{}")
        token_object = document.get("accessToken", document)
        if "token" not in token_object:
            return response
        token_object["token"] = self._signer.sign_with_unknown_key(token_object["token"])
        return Response.success(response.status, document)


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _drop(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _send_half(request: web.Request, response: Response) -> web.StreamResponse:
    if not response.content:
        return _drop(request)
    half = web.StreamResponse(status=response.status, headers=response.headers)
    half.content_length = len(response.content)
    await half.prepare(request)
    await half.write(response.content[: len(response.content) // 2])
    if request.transport is not None:
        # Unlike abort(), close() sends what is still buffered.
        request.transport.close()
    return half
