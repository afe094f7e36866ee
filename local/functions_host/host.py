"""The host: checks keys, routes requests to functions, runs timers, and serves `/admin`."""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from typing import Any

from azure.functions.warmup import WarmUpContext

from local.functions_host.conversion import to_http_request, to_response
from local.functions_host.functions import (
    AuthLevel,
    Function,
    Functions,
    HttpFunction,
    TimerFunction,
    WarmupFunction,
)
from local.functions_host.http import Request, Response
from local.functions_host.invocations import Invoker, TraceContext, Tracing, no_result, untraced
from local.functions_host.timers import TimerInput, run_on_schedule

logger = logging.getLogger(__name__)
_HOME_PAGE = b"""<!DOCTYPE html>
<html lang="en"><title>Local Functions host</title>
<p>Your function app is up and running.</p></html>
"""


@dataclass(frozen=True, slots=True)
class Keys:
    """The host key, which opens every function of level FUNCTION, and the master key."""

    function: str = field(repr=False)
    master: str = field(repr=False)

    def level(self, request: Request) -> AuthLevel:
        """The level of the key in `x-functions-key`, or in `?code=` without that header."""
        given = request.headers.get("x-functions-key")
        if given is None:
            codes = (value for name, value in request.query.items() if name.lower() == "code")
            given = next(codes, "")
        if _same(given, self.master):
            return AuthLevel.ADMIN
        return AuthLevel.FUNCTION if _same(given, self.function) else AuthLevel.ANONYMOUS


def _same(given: str, key: str) -> bool:
    return compare_digest(given.encode(), key.encode())


class Host:
    """Serves an app's functions. Create and use it on one event loop, until the process ends."""

    def __init__(self, functions: Functions, keys: Keys, tracing: Tracing = untraced) -> None:
        self._functions = functions
        self._keys = keys
        self._invoker = Invoker(tracing)
        self._timers: list[asyncio.Task[None]] = []
        self._is_warm = False

    def start(self) -> None:
        """Log the functions in error and start the timers."""
        for name, error in self._functions.errors.items():
            logger.error("The '%s' function is in error: %s", name, error)
        for function in self._functions.served.values():
            if isinstance(function, TimerFunction) and not function.disabled:
                run = partial(self._run_timer, function)
                self._timers.append(asyncio.create_task(run_on_schedule(function.schedule, run)))

    async def respond(self, request: Request) -> Response:
        """Respond to any request."""
        if request.path.lower().startswith("/admin/"):
            return await self._admin(request)
        found = self._functions.router.find(request.method, request.path)
        if found:
            return await self._call(*found, request)
        if (request.method, request.path) == ("GET", "/"):
            return Response(HTTPStatus.OK, (("Content-Type", "text/html"),), _HOME_PAGE)
        return Response(HTTPStatus.NOT_FOUND)

    async def _call(
        self, function: HttpFunction, route_params: dict[str, str], request: Request
    ) -> Response:
        level = self._keys.level(request)
        if level < function.auth_level:
            return Response(HTTPStatus.UNAUTHORIZED)
        if function.disabled and level < AuthLevel.ADMIN:
            return Response(HTTPStatus.NOT_FOUND)
        trace = TraceContext(
            request.headers.get("traceparent", ""), request.headers.get("tracestate", "")
        )
        value = to_http_request(request, route_params)
        # aiohttp does not cancel this when the caller disconnects, so the function runs to its end.
        response = await self._invoker.start(function.code, value, to_response, trace)
        return response or Response(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _admin(self, request: Request) -> Response:
        """Ping and warm-up need no key; everything else needs the master key."""
        route = (request.method, *request.path.lower().strip("/").split("/")[1:])
        match route:
            case ("GET", "host", "ping"):
                return Response(HTTPStatus.OK)
            case ("GET" | "POST", "warmup"):
                return await self._warm_up()
        level = self._keys.level(request)
        if level < AuthLevel.ADMIN:
            return Response(HTTPStatus.FORBIDDEN if level else HTTPStatus.UNAUTHORIZED)
        return self._admin_with_key(route, request)

    def _admin_with_key(self, route: tuple[str, ...], request: Request) -> Response:
        match route:
            case ("GET", "host", "status"):
                return _json(self._status())
            case ("GET", "functions"):
                return _json([_describe(each) for each in self._functions.served.values()])
            case ("POST", "functions", name):
                return self._start_by_name(name, request)
        return Response(HTTPStatus.NOT_FOUND)

    async def _warm_up(self) -> Response:
        """Run the warm-up functions at the first request; later requests do nothing."""
        if not self._is_warm:
            self._is_warm = True
            warming = [
                self._invoker.start(function.code, WarmUpContext(), no_result)
                for function in self._functions.served.values()
                if isinstance(function, WarmupFunction) and not function.disabled
            ]
            await asyncio.gather(*warming)
        return Response(HTTPStatus.OK)

    def _status(self) -> dict[str, object]:
        errors = [f"{name}: {error}" for name, error in self._functions.errors.items()]
        return {"state": "Running", "errors": errors, "tasks": len(asyncio.all_tasks())}

    def _start_by_name(self, name: str, request: Request) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0]
        if content_type.strip().lower() != "application/json":
            return Response(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        if not _is_object(request.body):
            return Response(HTTPStatus.BAD_REQUEST)
        served = self._functions.served.values()
        function = next((each for each in served if each.code.name.lower() == name), None)
        match function:
            case None:
                return Response(HTTPStatus.NOT_FOUND)
            case TimerFunction():
                self._run_timer(function)
            case _:
                logger.error(
                    "Executed 'Functions.%s' (Failed)\n"
                    "NotSupportedException: only timers can be started through /admin/functions",
                    function.code.name,
                )
        return Response(HTTPStatus.ACCEPTED)

    def _run_timer(self, function: TimerFunction) -> "asyncio.Task[None]":
        return self._invoker.start(function.code, TimerInput(), no_result)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def _describe(function: Function) -> dict[str, Any]:
    described: dict[str, Any] = {"name": function.code.name, "disabled": function.disabled}
    match function:
        case HttpFunction():
            return described | {
                "trigger": "http",
                "route": function.template,
                "methods": list(function.methods),
                "authLevel": function.auth_level.name.lower(),
            }
        case TimerFunction():
            return described | {"trigger": "timer", "schedule": function.schedule.expression}
    return described | {"trigger": "warmup"}


def _json(document: object) -> Response:
    headers = (("Content-Type", "application/json; charset=utf-8"),)
    return Response(HTTPStatus.OK, headers, json.dumps(document).encode())
