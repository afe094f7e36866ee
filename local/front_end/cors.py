"""CORS as App Service does it: before the app, which sees no preflight and cannot change it.

Source: CorsOptionsSetup.cs and JobHostCorsMiddleware.cs of Azure/azure-functions-host. They use
Microsoft.AspNetCore.Cors with any method, any header and no credentials.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

from msgspec.structs import replace

from local.functions_host.http import Handler, Request, Response

ANY = "*"
# As browsers send it: in lower case, without a slash at the end.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]+)?")


@dataclass(frozen=True)
class Cors:
    """Allows pages of these origins to read responses."""

    origins: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse origins separated by commas; `*` allows all of them.

        Raises:
            ValueError: an item is not an origin, for example because it ends with a slash.
        """
        origins = frozenset(filter(None, (part.strip() for part in text.split(","))))
        for origin in origins - {ANY}:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is not an origin such as http://localhost:5173")
        return cls(origins)

    async def layer(self, request: Request, rest: Handler) -> Response:
        """Respond to preflights, and add Access-Control headers to other responses."""
        origin = request.headers.get("origin", "")
        allowed = bool(origin) and not self.origins.isdisjoint({origin, ANY})
        if _is_preflight(request):
            return Response(HTTPStatus.NO_CONTENT, self._preflight(request) if allowed else ())
        response = await rest(request)
        # The app's own Access-Control headers are dropped: browsers reject duplicates.
        others = (
            each for each in response.headers if not each[0].lower().startswith("access-control-")
        )
        return replace(response, headers=(*others, *(self._allow(origin) if allowed else ())))

    def _allow(self, origin: str) -> tuple[tuple[str, str], ...]:
        if ANY in self.origins:
            return (("Access-Control-Allow-Origin", ANY),)
        return (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))

    def _preflight(self, request: Request) -> tuple[tuple[str, str], ...]:
        requested = (
            ("Access-Control-Allow-Headers", request.headers.get("access-control-request-headers")),
            ("Access-Control-Allow-Methods", request.headers.get("access-control-request-method")),
        )
        granted = tuple((name, value) for name, value in requested if value)
        return (*self._allow(request.headers["origin"]), *granted)


def _is_preflight(request: Request) -> bool:
    required = {"origin", "access-control-request-method"}
    return request.method == "OPTIONS" and required <= request.headers.keys()
