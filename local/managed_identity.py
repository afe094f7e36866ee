"""The managed identity endpoint that App Service offers to an app.

Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import asyncio
import hmac
import time
from collections import Counter

import msgspec
from aiohttp import web

from local.entra import APP_AUDIENCE, APP_ID_URI, Issuer, SignIn

PATH = "/msi/token"
API_VERSION = "2019-08-01"
# Seconds. In Azure a token lives for up to 24 hours.
LIFETIME = 24 * 3600
# The app that asks for a token for the identity service is one of its callers: the application of
# this name, with the roles that this caller needs.
APPLICATION = "managed-identity"
_ROLES = ("Identities.Manage", "Tokens.Issue")


class Fault(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """An injected fault, which affects all requests until it is removed.

    Attributes:
        delay_seconds: the delay of every response.
        status: the status of an error that is sent instead of a token.
        drop: whether to close the connection without a response.
        lifetime_seconds: the lifetime of the tokens.
    """

    delay_seconds: float = 0
    status: int | None = None
    drop: bool = False
    lifetime_seconds: float = LIFETIME


class ManagedIdentity:
    """Issues tokens for any resource to callers with the right header."""

    def __init__(self, issuer: Issuer, header: str) -> None:
        self._issuer = issuer
        self._header = header
        self._requests: Counter[str] = Counter()
        self._fault = Fault()

    def application(self) -> web.Application:
        """The endpoint as an aiohttp application."""
        application = web.Application()
        application.router.add_get(PATH, self._token)
        return application

    def control_routes(self) -> list[web.RouteDef]:
        """Routes for the control endpoint: count requests per resource, set and remove a fault."""
        return [
            web.get("/managed-identity", self._inspect),
            web.put("/managed-identity/trouble", self._set_fault),
            web.delete("/managed-identity/trouble", self._remove_fault),
        ]

    async def _token(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("X-IDENTITY-HEADER", ""), self._header):
            return _error(401, "The X-IDENTITY-HEADER is missing or wrong.")
        if request.query.get("api-version") != API_VERSION:
            return _error(400, f"The api-version must be {API_VERSION}.")
        resource = request.query.get("resource", "")
        if not resource:
            return _error(400, "The resource is missing.")
        self._requests[resource.rstrip("/")] += 1
        fault = self._fault
        await asyncio.sleep(fault.delay_seconds)
        if fault.drop and request.transport:
            request.transport.abort()
        if fault.status:
            return _error(fault.status, "Injected fault.")
        lifetime = fault.lifetime_seconds
        document = {
            "access_token": self._sign(resource.rstrip("/"), lifetime),
            "expires_on": str(int(time.time() + lifetime)),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": request.query.get("client_id", "system-assigned"),
        }
        return web.json_response(document)

    def _sign(self, resource: str, lifetime: float) -> str:
        if resource in (APP_AUDIENCE, APP_ID_URI):
            return SignIn(self._issuer).application_token(APPLICATION, _ROLES, lifetime / 60)
        return self._issuer.sign(resource, lifetime)

    async def _inspect(self, _request: web.Request) -> web.Response:
        return web.json_response({"requests": self._requests})

    async def _set_fault(self, request: web.Request) -> web.Response:
        self._fault = msgspec.json.decode(await request.read(), type=Fault)
        return web.Response(status=204)

    async def _remove_fault(self, _request: web.Request) -> web.Response:
        self._fault = Fault()
        return web.Response(status=204)


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)
