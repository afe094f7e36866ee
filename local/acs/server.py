"""The wire: routes, and the headers that every answer carries."""

import base64
import secrets
import time
from functools import partial

from aiohttp import web

from local.acs.contract import supported_versions
from local.acs.messages import Answer, Call, Operation
from local.acs.resource import Resource
from local.acs.sabotage import Saboteur
from local.acs.service import Service

ROUTES = (
    ("POST", "/identities", Operation.CREATE),
    ("POST", "/identities/{id}/:issueAccessToken", Operation.ISSUE),
    ("POST", "/identities/{id}/:revokeAccessTokens", Operation.REVOKE),
    ("DELETE", "/identities/{id}", Operation.DELETE),
    ("POST", "/teamsUser/:exchangeAccessToken", Operation.EXCHANGE),
)


class Server:
    """Reads requests into calls, lets faults strike, and writes answers."""

    def __init__(self, resource: Resource, service: Service, saboteur: Saboteur) -> None:
        self._plan = resource.plan
        self._ledger = resource.ledger
        self._service = service
        self._saboteur = saboteur

    def add_routes(self, application: web.Application) -> None:
        """Serve the operations, and 404 for everything else."""
        for method, path, operation in ROUTES:
            application.router.add_route(method, path, partial(self._serve, operation))
        application.router.add_route("*", "/{path:.*}", _not_found)

    async def _serve(self, operation: Operation, request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        with self._ledger.call(operation):
            answer = await self._answer(operation, request)
        if isinstance(answer, web.StreamResponse):
            return answer
        headers = _common_headers(request, operation, time.perf_counter() - started)
        return _response(answer, headers)

    async def _answer(
        self, operation: Operation, request: web.Request
    ) -> Answer | web.StreamResponse:
        armed = self._plan.strike(operation)
        effect = partial(self._service.answer, await _read(operation, request))
        if armed is None:
            return effect()
        return await self._saboteur.answer(armed, request, effect)


async def _read(operation: Operation, request: web.Request) -> Call:
    return Call(
        operation=operation,
        method=request.method,
        target=request.raw_path,
        headers=request.headers,
        body=await request.read(),
        api_version=request.query.get("api-version"),
        identity_id=request.match_info.get("id", ""),
    )


async def _not_found(request: web.Request) -> web.StreamResponse:
    return _response(Answer(404), _common_headers(request, None, 0))


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
        # What came as bytes that are no text cannot be sent back as such.
        headers["x-ms-client-request-id"] = request_id.encode(errors="replace").decode()
    return headers


def _response(answer: Answer, headers: dict[str, str]) -> web.StreamResponse:
    body = answer.content or None
    return web.Response(status=answer.status, body=body, headers={**headers, **answer.headers})
