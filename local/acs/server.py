"""The HTTP server: routes, dispatch, and the headers that all responses have."""

import base64
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus

from aiohttp import web

from local.acs.contract import Operation, Request, Response, supported_versions
from local.acs.control import CONTROL_PREFIX, Control, RequestCounters
from local.acs.faults import FaultInjector
from local.acs.service import Service
from local.acs.teams import TeamsUser
from local.entra import Issuer

ASSIGNMENT = "/access/teamsExtension/tenants/{tenantId}/assignments/{objectId}"
ROUTES = (
    ("POST", "/identities", Operation.CREATE),
    ("POST", "/identities/{id}/:issueAccessToken", Operation.ISSUE),
    ("POST", "/identities/{id}/:revokeAccessTokens", Operation.REVOKE),
    ("DELETE", "/identities/{id}", Operation.DELETE),
    ("POST", "/teamsUser/:exchangeAccessToken", Operation.EXCHANGE),
    ("POST", "/access/entra/:exchangeAccessToken", Operation.EXCHANGE_ENTRA),
    ("POST", "/access/teamsExtension/:exchangeAccessToken", Operation.EXCHANGE_TEAMS_EXTENSION),
    ("PUT", ASSIGNMENT, Operation.PUT_ASSIGNMENT),
    ("GET", ASSIGNMENT, Operation.GET_ASSIGNMENT),
    ("DELETE", ASSIGNMENT, Operation.DELETE_ASSIGNMENT),
)


class Emulator:
    """One Communication Services resource, to be served over TLS.

    Args:
        issuer: The tenant that issues Entra tokens for callers and Teams users.
        access_keys: Primary and secondary key, in base64.
        control_key: The key of the control endpoint.
        control_routes: Further routes to serve under the control endpoint, behind the same key.
        clock: The time in seconds since the epoch. Entra tokens are checked against the real time.

    Raises:
        ValueError: An access key is not base64.
    """

    def __init__(
        self,
        *,
        issuer: Issuer,
        access_keys: tuple[str, str],
        control_key: str,
        control_routes: Sequence[web.RouteDef] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = Service(issuer, access_keys, clock)
        self._faults = FaultInjector(self._service.signer)
        self._counters = RequestCounters()
        self._control = Control(
            self._service, self._faults, self._counters, control_key, control_routes
        )
        self.resource_id = self._service.resource_id

    def application(self) -> web.Application:
        """The service and its control endpoint."""
        application = web.Application()
        # The control endpoint comes first, because the last route below matches every path.
        application.add_subapp(CONTROL_PREFIX, self._control.application())
        for method, path, operation in ROUTES:
            application.router.add_route(method, path, partial(self._serve, operation))
        application.router.add_route("*", "/{path:.*}", _not_found)
        application.on_shutdown.append(self._drop_waiting_requests)
        return application

    def teams_user(self) -> TeamsUser:
        """The default Teams user, with new tokens."""
        return self._service.teams.user()

    async def _serve(self, operation: Operation, request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        with self._counters.attempt(operation):
            response = await self._respond(operation, request)
        if isinstance(response, web.StreamResponse):
            return response
        headers = _common_headers(request, operation, time.perf_counter() - started)
        return _to_aiohttp(response, headers)

    async def _respond(
        self, operation: Operation, request: web.Request
    ) -> Response | web.StreamResponse:
        fault = self._faults.match(operation)
        execute = partial(self._execute, await _read(operation, request))
        if fault is None:
            return execute()
        return await self._faults.inject(fault, request, execute)

    def _execute(self, request: Request) -> Response:
        response = self._service.handle(request)
        if response.status < HTTPStatus.BAD_REQUEST:
            self._counters.effect(request.operation)
        return response

    async def _drop_waiting_requests(self, _application: web.Application) -> None:
        # aiohttp waits up to a minute for open requests before it stops.
        self._faults.clear(proceed=False)


async def _read(operation: Operation, request: web.Request) -> Request:
    return Request(
        operation=operation,
        method=request.method,
        target=request.raw_path,
        headers=request.headers,
        body=await request.read(),
        api_version=request.query.get("api-version"),
        identity_id=request.match_info.get("id", ""),
        tenant_id=request.match_info.get("tenantId", ""),
        object_id=request.match_info.get("objectId", ""),
    )


async def _not_found(request: web.Request) -> web.StreamResponse:
    return _to_aiohttp(Response(404), _common_headers(request, None, 0))


def _common_headers(
    request: web.Request, operation: Operation | None, seconds: float
) -> dict[str, str]:
    headers = {
        "MS-CV": base64.b64encode(secrets.token_bytes(16)).decode().rstrip("=") + ".0",
        "X-Azure-Ref": "0" + base64.b64encode(secrets.token_bytes(40)).decode(),
        "X-Processing-Time": f"{seconds * 1000:.0f}ms",
        "api-supported-versions": ", ".join(supported_versions(operation)),
    }
    if request_id := request.headers.get("x-ms-client-request-id"):
        # Bytes that are not text cannot be sent back, so they become question marks.
        headers["x-ms-client-request-id"] = request_id.encode(errors="replace").decode()
    return headers


def _to_aiohttp(response: Response, headers: dict[str, str]) -> web.StreamResponse:
    return web.Response(
        status=response.status,
        body=response.content or None,
        headers={**headers, **response.headers},
    )
