"""Runs operations behind the real edge, on an ACS resource and a registry in memory."""

from types import SimpleNamespace
from typing import Any

import msgspec
from azure.functions import HttpRequest, HttpResponse

from identity_service.http.binding import BoundOperation, Operation
from identity_service.http.triggers import serve as serve_request
from identity_service.services import Services
from tests.support.settings import MINIMAL
from tests.support.world import World

URL = "https://app.example/api/identities"
INVOCATION = "cd4a2a3c-3b4c-4a4a-8a4b-0123456789ab"
CONTEXT: Any = SimpleNamespace(invocation_id=INVOCATION)


def memory_services(world: World, **environ: str) -> Services:
    """Services with these settings whose upstreams are in memory."""
    services = Services(MINIMAL | environ)
    services.clock, services.acs, services.registry = world.clock, world.acs, world.registry
    services.resource, services.teams_access = world.resource, world.teams_access
    services.access_registry = world.access_registry
    return services


def request(
    url: str = URL,
    body: bytes = b"",
    *,
    identity_id: str | None = None,
    headers: dict[str, str] | None = None,
    **route_params: str,
) -> HttpRequest:
    """A request as the worker passes it to a function."""
    if identity_id is not None:
        route_params["id"] = identity_id
    return HttpRequest("POST", url, headers=headers, route_params=route_params, body=body)


async def serve(
    req: HttpRequest,
    operation: Operation,
    services: Services,
    *,
    route: str = "identities",
    logged: bool = True,
) -> HttpResponse:
    """The response of the operation to the request."""
    bound = BoundOperation(operation, services)
    return await serve_request(bound, route, req, CONTEXT, services, logged=logged)


def content(response: HttpResponse) -> Any:
    """The JSON of a response."""
    return msgspec.json.decode(response.get_body())
