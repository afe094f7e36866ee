"""The host: checks keys, routes requests to functions, and runs timers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus

from azure.functions.timer import TimerRequest
from azure.functions.warmup import WarmUpContext

from local.functions_host.admin import Admin, is_admin, is_from_outside
from local.functions_host.conversion import to_http_request, to_response
from local.functions_host.functions import Functions, HttpFunction, TimerFunction, WarmupFunction
from local.functions_host.host_json import HostJson
from local.functions_host.http import Request, Response
from local.functions_host.invocations import Invoker, TraceContext, no_result
from local.functions_host.keys import AuthLevel, Keys
from local.functions_host.timers import Monitor, Timer

logger = logging.getLogger(__name__)
# The platform sends an instance no more HTTP calls at the same time: `perInstanceConcurrency` in
# infra/app.bicep. Azure has no setting for it that an app could read.
CALLS_AT_ONCE = 32
_HOME_PAGE = b"""<!DOCTYPE html>
<html lang="en"><title>Local Functions host</title>
<p>Your function app is up and running.</p></html>
"""
_NO_HOME_PAGE = "AzureWebJobsDisableHomepage"


class Host:
    """Serves an app's functions. Create and use it on one event loop, until the process ends."""

    def __init__(  # noqa: PLR0913, PLR0917 -- its parts
        self,
        functions: Functions,
        keys: Keys,
        options: HostJson,
        settings: Mapping[str, str],
        invoker: Invoker,
        monitor: Monitor,
    ) -> None:
        self._functions = functions
        self._keys = keys
        self._options = options
        self._has_home_page = settings.get(_NO_HOME_PAGE, "").lower() != "true"
        self._invoker = invoker
        self._throttle = _Throttle(options)
        self._timers = {
            name: Timer(name, each.schedule, monitor, is_monitored=each.is_monitored)
            for name, each in functions.served.items()
            if isinstance(each, TimerFunction)
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._is_warm = False
        self._admin = Admin(
            *(functions, keys, options, settings),
            run_timer=self._run_timer,
            warm_up=self._warm_up,
        )

    def start(self) -> None:
        """Log the functions in error and start the timers."""
        for name, error in self._functions.errors.items():
            logger.error("The '%s' function is in error: %s", name, error)
        for name, timer in self._timers.items():
            function = self._functions.served[name]
            if isinstance(function, TimerFunction) and not function.disabled:
                run = timer.run_on_schedule(
                    partial(self._run_timer, function), at_start=function.runs_on_startup
                )
                self._tasks.append(asyncio.create_task(run))

    async def respond(self, request: Request) -> Response:
        """Respond to any request."""
        if is_admin(request.path):
            return await self._admin.respond(request)
        found = self._functions.router.find(request.method, request.path)
        if found:
            response = await self._throttle.run(partial(self._call, *found, request))
            return _with_headers(response, self._options.custom_headers)
        if request.path == "/":
            return self._home_page(request)
        return Response(HTTPStatus.NOT_FOUND)

    def _home_page(self, request: Request) -> Response:
        if not (self._has_home_page and is_from_outside(request)):
            return Response(HTTPStatus.NO_CONTENT)
        return Response(HTTPStatus.OK, (("Content-Type", "text/html"),), _HOME_PAGE)

    async def _call(
        self, function: HttpFunction, route_params: dict[str, str], request: Request
    ) -> Response:
        level = self._keys.level(request, function.code.name)
        if level < function.auth_level:
            return Response(HTTPStatus.UNAUTHORIZED)
        if function.disabled and level < AuthLevel.ADMIN:
            return Response(HTTPStatus.NOT_FOUND)
        trace = TraceContext(
            request.headers.get("traceparent", ""), request.headers.get("tracestate", "")
        )
        bind = partial(to_http_request, request, route_params)
        invocation = self._invoker.start(function.code, bind, to_response, trace)
        response = await self._invoker.result(invocation)
        return response or Response(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _warm_up(self) -> None:
        """Run the warm-up functions at the first request; later requests do nothing."""
        if self._is_warm:
            return
        self._is_warm = True
        warming = [
            self._invoker.start(function.code, partial(_value, WarmUpContext()), no_result)
            for function in self._functions.served.values()
            if isinstance(function, WarmupFunction) and not function.disabled
        ]
        await asyncio.gather(*warming)

    def _run_timer(
        self, function: TimerFunction, value: TimerRequest | None = None
    ) -> "asyncio.Task[None]":
        given = value or self._timers[function.code.name].request()
        return self._invoker.start(function.code, partial(_value, given), no_result)


class _Throttle:
    """Limits the HTTP invocations that run or wait, as the platform and host.json say."""

    def __init__(self, options: HostJson) -> None:
        self._instance = asyncio.Semaphore(CALLS_AT_ONCE)
        self._outstanding = 0
        self._limit = CALLS_AT_ONCE if options.max_outstanding is None else options.max_outstanding
        self._slots = asyncio.Semaphore(options.max_concurrent or CALLS_AT_ONCE)

    async def run(self, call: Callable[[], Awaitable[Response]]) -> Response:
        """Call when there is a free slot. The response is 429 if too many wait for one.

        The host only knows of the calls that the platform sends it.
        """
        async with self._instance:
            if self._outstanding >= self._limit:
                return Response(HTTPStatus.TOO_MANY_REQUESTS)
            self._outstanding += 1
            try:
                async with self._slots:
                    return await call()
            finally:
                self._outstanding -= 1


async def _value(value: object) -> object:
    return value


def _with_headers(response: Response, headers: Mapping[str, str]) -> Response:
    """A response with headers that replace its own ones of the same names."""
    if not headers:
        return response
    replaced = {name.lower() for name in headers}
    kept = (each for each in response.headers if each[0].lower() not in replaced)
    return Response(response.status, (*kept, *headers.items()), response.body)
