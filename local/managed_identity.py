"""The managed identity endpoint, as App Service offers it to an app.

Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

import hmac
import time
from collections import Counter

from aiohttp import web

from local.entra import Issuer

PATH = "/msi/token"
API_VERSION = "2019-08-01"
# Seconds a token lives. In Azure it is up to 24 hours.
LIFETIME = 24 * 3600


class ManagedIdentity:
    """Gives a token for any resource to whoever knows the header.

    Attributes:
        requests: How many tokens were asked for, per resource.
    """

    def __init__(self, issuer: Issuer, header: str) -> None:
        self._issuer = issuer
        self._header = header
        self.requests: Counter[str] = Counter()

    def application(self) -> web.Application:
        """The endpoint as an aiohttp application."""
        application = web.Application()
        application.router.add_get(PATH, self._token)
        return application

    async def _token(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("X-IDENTITY-HEADER", ""), self._header):
            return _refuse(401, "The X-IDENTITY-HEADER is missing or wrong.")
        if request.query.get("api-version") != API_VERSION:
            return _refuse(400, f"The api-version must be {API_VERSION}.")
        resource = request.query.get("resource", "").rstrip("/")
        if not resource:
            return _refuse(400, "The resource is missing.")
        self.requests[resource] += 1
        return web.json_response(
            {
                "access_token": self._issuer.sign(resource, LIFETIME),
                "expires_on": str(int(time.time()) + LIFETIME),
                "resource": request.query["resource"],
                "token_type": "Bearer",
                "client_id": request.query.get("client_id", "system-assigned"),
            }
        )


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)
