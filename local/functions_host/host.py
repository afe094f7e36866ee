"""The host itself: warms the app up, runs its timers, and answers requests by its routes."""

import asyncio
import logging
from http import HTTPStatus

from azure.functions.warmup import WarmUpContext

from local.functions_host.admin import Admin
from local.functions_host.conversion import to_answer, to_http_request
from local.functions_host.functions import (
    Functions,
    HttpFunction,
    TimerFunction,
    WarmupFunction,
)
from local.functions_host.invocations import Invoker, TraceContext, no_result, untraced
from local.functions_host.keys import AuthLevel, Keys
from local.functions_host.pipeline import Answer, Request
from local.functions_host.telemetry import Tracing
from local.functions_host.timers import run_on_schedule

logger = logging.getLogger(__name__)
_WARMUP_SECONDS = 30.0
_HOME_PAGE = b"""<!DOCTYPE html>
<html lang="en"><title>Functions host stand-in</title>
<p>Your function app is up and running.</p></html>
"""


class Host:
    """An app's functions, served. It is made and used on one event loop, for the loop's life."""

    def __init__(self, functions: Functions, keys: Keys, tracing: Tracing = untraced) -> None:
        self._functions = functions
        self._keys = keys
        self._invoker = Invoker(tracing)
        self._admin = Admin(functions, self._invoker, keys)
        self._timers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Name the functions in error, warm up, and set the timers going."""
        for name, error in self._functions.errors.items():
            logger.error("The '%s' function is in error: %s", name, error)
        await self._warm_up()
        for function in self._functions.served.values():
            if isinstance(function, TimerFunction) and not function.disabled:
                running = asyncio.create_task(run_on_schedule(function, self._invoker))
                self._timers.append(running)

    async def _warm_up(self) -> None:
        warming = [
            self._invoker.start(function.code, WarmUpContext(), no_result)
            for function in self._functions.served.values()
            if isinstance(function, WarmupFunction) and not function.disabled
        ]
        # One that hangs goes on, as in Azure, where requests come sooner or later all the same.
        if warming:
            await asyncio.wait(warming, timeout=_WARMUP_SECONDS)

    async def answer(self, request: Request) -> Answer:
        """The answer to any request."""
        if request.path.lower().startswith("/admin/"):
            return await self._admin.answer(request)
        found = self._functions.router.find(request.method, request.path)
        if found:
            return await self._call(*found, request)
        if (request.method, request.path) == ("GET", "/"):
            return Answer(HTTPStatus.OK, (("Content-Type", "text/html"),), _HOME_PAGE)
        return Answer(HTTPStatus.NOT_FOUND)

    async def _call(
        self, function: HttpFunction, route_params: dict[str, str], request: Request
    ) -> Answer:
        level = self._keys.level(request)
        if level < function.auth_level:
            return Answer(HTTPStatus.UNAUTHORIZED)
        if function.disabled and level < AuthLevel.ADMIN:
            return Answer(HTTPStatus.NOT_FOUND)
        trace = TraceContext(
            request.headers.get("traceparent", ""), request.headers.get("tracestate", "")
        )
        value = to_http_request(request, route_params)
        invocation = self._invoker.start(function.code, value, to_answer, trace)
        answer = await asyncio.shield(invocation)
        return answer or Answer(HTTPStatus.INTERNAL_SERVER_ERROR)
