"""Triggers: registers each operation with the host, and runs it when the host calls.

Around every operation: one log line, and errors that become responses.
"""

import time
from collections.abc import Awaitable, Callable
from inspect import getdoc
from typing import Any

from azure.functions import (
    AuthLevel,
    Context,
    FunctionApp,
    HttpRequest,
    HttpResponse,
    TimerRequest,
)
from azure.functions.warmup import WarmUpContext

from identity_service.errors import InternalError, ServiceError
from identity_service.http.binding import (
    FROM_REQUEST,
    FROM_ROUTE,
    BindingError,
    BoundOperation,
    Operation,
)
from identity_service.http.responses import code, problem, refused_field, subject, success
from identity_service.log import EventLog, begin_invocation
from identity_service.policies import Role, ServiceAuthentication
from identity_service.services import Services

events = EventLog(__name__)


class Triggers:
    """Registers triggers for one audience: for services, or for everyone else.

    Each row for services names the app roles that a service needs, because with Entra the host
    checks no key. Forgetting them is an error, not an open operation.

    Attributes:
        roles: The app roles for each operation, by its name.
    """

    def __init__(self, app: FunctionApp, services: Services, *, for_services: bool) -> None:
        self._app = app
        self._services = services
        self._for_services = for_services
        with_key = for_services and services.service_authentication is ServiceAuthentication.KEYS
        self._level = AuthLevel.FUNCTION if with_key else AuthLevel.ANONYMOUS
        self.roles: dict[str, tuple[Role, ...]] = {}

    def get(self, route: str, operation: Operation, *roles: Role, logged: bool = True) -> None:
        """Serve GET requests. `logged=False` keeps frequent requests out of the log."""
        self._http(["GET"], route, operation, roles, logged=logged)

    def probe(self, route: str, operation: Operation, *roles: Role, logged: bool = True) -> None:
        """Serve GET and HEAD requests, which monitoring sends."""
        self._http(["GET", "HEAD"], route, operation, roles, logged=logged)

    def post(self, route: str, operation: Operation, *roles: Role) -> None:
        """Serve POST requests."""
        self._http(["POST"], route, operation, roles)

    def put(self, route: str, operation: Operation, *roles: Role) -> None:
        """Serve PUT requests."""
        self._http(["PUT"], route, operation, roles)

    def delete(self, route: str, operation: Operation, *roles: Role) -> None:
        """Serve DELETE requests."""
        self._http(["DELETE"], route, operation, roles)

    def _http(
        self,
        methods: list[str],
        route: str,
        operation: Operation,
        roles: tuple[Role, ...],
        *,
        logged: bool = True,
    ) -> None:
        bound = BoundOperation(operation, self._services, roles)
        self.roles[bound.name] = roles
        if self._for_services != bool(roles):
            raise BindingError(f"{bound.name}: a row needs app roles if it is for services.")
        for name in FROM_ROUTE.keys() & bound.parameters:
            if (part := f"{{{FROM_ROUTE[name]}}}") not in route:
                raise BindingError(f"{bound.name}: the route {route!r} has no {part}.")

        async def trigger(req: HttpRequest, context: Context) -> HttpResponse:
            return await serve(bound, route, req, context, self._services, logged=logged)

        _describe(trigger, operation)
        self._app.route(route=route, methods=methods, auth_level=self._level)(trigger)


def add_timer(app: FunctionApp, services: Services, schedule: str, operation: Operation) -> None:
    """Run the operation on a schedule."""
    bound = BoundOperation(operation, services)
    if from_request := bound.parameters & FROM_REQUEST:
        raise BindingError(f"{bound.name}: a timer has no request for {sorted(from_request)}.")

    async def trigger(timer: TimerRequest, context: Context) -> None:  # noqa: ARG001 -- the host passes it
        await run(bound.name, bound.run(), context, caller="sweep")

    _describe(trigger, operation)
    app.timer_trigger(schedule=schedule, arg_name="timer", run_on_startup=False)(trigger)


def add_warmup(app: FunctionApp, services: Services) -> None:
    """Create the clients and fetch their tokens when the host warms up an instance."""

    async def warmup(warmup: WarmUpContext, context: Context) -> None:  # noqa: ARG001 -- the host passes it
        """Create the clients and fetch their tokens before the first request."""
        await run("warmup", services.warm_up(), context)

    app.warm_up_trigger("warmup")(warmup)


def _describe(trigger: Callable[..., Any], operation: Operation) -> None:
    """Give the trigger the name and the summary of its operation."""
    trigger.__name__ = operation.__name__
    trigger.__doc__ = (getdoc(operation) or "").partition("\n")[0]


async def serve(  # noqa: PLR0913 -- what the trigger knows
    operation: BoundOperation,
    route: str,
    req: HttpRequest,
    context: Context,
    services: Services,
    *,
    logged: bool = True,
) -> HttpResponse:
    """Run an operation for a request. Every error becomes a problem response."""
    started = time.perf_counter()
    invocation = begin_invocation(context.invocation_id)
    result: Any
    try:
        result = await operation.call(req)
        response = success(req, route, result)
    except Exception as error:  # noqa: BLE001 -- otherwise the host would send an empty 500
        result = _service_error(error, operation.name)
        response = problem(result, services.problem_base_uri)
    if logged:
        events.info(
            "operation_finished",
            operation=operation.name,
            status=response.status_code,
            code=code(result),
            field=refused_field(result),
            duration_ms=round((time.perf_counter() - started) * 1000),
            acs_ms=invocation.acs.milliseconds,
            table_ms=invocation.table.milliseconds,
            credential_ms=invocation.credential.milliseconds,
            throttles=invocation.throttles,
            identity_id=subject(req, result) or invocation.identity_id,
            upstream_request_id=invocation.upstream_request_id,
            caller=invocation.caller,
        )
    invocation.is_over = True
    return response


async def run(name: str, call: Awaitable[Any], context: Context, *, caller: str = "") -> None:
    """Run something that no request waits for. An error fails the invocation.

    `caller` is what the log calls it.

    Raises:
        ServiceError: an expected error. Its cause is in the log.
        InternalError: an unexpected error. The log has the details.
    """
    begin_invocation(context.invocation_id, caller)
    try:
        await call
    except Exception as error:  # noqa: BLE001 -- the host would log the text of the library's error
        raise _service_error(error, name) from None


def _service_error(error: Exception, operation: str) -> ServiceError:
    """The error, if it is expected. Otherwise it is logged, and replaced by one without details."""
    if isinstance(error, ServiceError):
        return error
    events.error("internal_error", error, operation=operation)
    return InternalError("The log of this service has the details.")
