"""The managed identity endpoint, as App Service offers it to an app.

Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import asyncio
import hmac
import time
from collections import Counter

import msgspec
from aiohttp import web

from local.entra import Issuer

PATH = "/msi/token"
API_VERSION = "2019-08-01"
# Seconds a token lives. In Azure it is up to 24 hours.
LIFETIME = 24 * 3600


class Trouble(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What is wrong with the endpoint until it is taken back.

    Attributes:
        delay_seconds: Every answer comes so much later.
        status: What it answers instead of a token.
        drop: It closes the connection instead of answering.
        lifetime_seconds: How long its tokens live.
    """

    delay_seconds: float = 0
    status: int | None = None
    drop: bool = False
    lifetime_seconds: float = LIFETIME


class ManagedIdentity:
    """Gives a token for any resource to whoever knows the header."""

    def __init__(self, issuer: Issuer, header: str) -> None:
        self._issuer = issuer
        self._header = header
        self._requests: Counter[str] = Counter()
        self._trouble = Trouble()

    def application(self) -> web.Application:
        """The endpoint as an aiohttp application."""
        application = web.Application()
        application.router.add_get(PATH, self._token)
        return application

    def control_routes(self) -> list[web.RouteDef]:
        """What the control endpoint offers about it: requests per resource, and trouble."""
        return [
            web.get("/managed-identity", self._inspect),
            web.put("/managed-identity/trouble", self._make_trouble),
            web.delete("/managed-identity/trouble", self._end_trouble),
        ]

    async def _token(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("X-IDENTITY-HEADER", ""), self._header):
            return _refuse(401, "The X-IDENTITY-HEADER is missing or wrong.")
        if request.query.get("api-version") != API_VERSION:
            return _refuse(400, f"The api-version must be {API_VERSION}.")
        resource = request.query.get("resource", "")
        if not resource:
            return _refuse(400, "The resource is missing.")
        self._requests[resource.rstrip("/")] += 1
        trouble = self._trouble
        await asyncio.sleep(trouble.delay_seconds)
        if trouble.drop and request.transport:
            request.transport.abort()
        if trouble.status:
            return _refuse(trouble.status, "Trouble was asked for.")
        return web.json_response(self._answer(resource, request, trouble.lifetime_seconds))

    def _answer(self, resource: str, request: web.Request, lifetime: float) -> dict[str, str]:
        return {
            "access_token": self._issuer.sign(resource.rstrip("/"), lifetime),
            "expires_on": str(int(time.time() + lifetime)),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": request.query.get("client_id", "system-assigned"),
        }

    async def _inspect(self, _request: web.Request) -> web.Response:
        return web.json_response({"requests": self._requests})

    async def _make_trouble(self, request: web.Request) -> web.Response:
        self._trouble = msgspec.json.decode(await request.read(), type=Trouble)
        return web.Response(status=204)

    async def _end_trouble(self, _request: web.Request) -> web.Response:
        self._trouble = Trouble()
        return web.Response(status=204)


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)
