"""CORS as the platform does it: in front of the app, which neither sees preflights nor has a say.

Source: CorsOptionsSetup.cs and JobHostCorsMiddleware.cs of Azure/azure-functions-host, which leave
the work to Microsoft.AspNetCore.Cors: any method, any header, no credentials.
"""

import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Self

from local.functions_host.pipeline import Answer, Handler, Request

ANY = "*"
# As browsers write them: in lower case, without a slash at the end.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[0-9]+)?")


@dataclass(frozen=True)
class Cors:
    """Lets pages of these origins read the answers."""

    origins: frozenset[str]

    @classmethod
    def read(cls, text: str) -> Self:
        """Read origins separated by commas; `*` stands for all of them.

        Raises:
            ValueError: one is no origin; a slash at its end, for one, is a path.
        """
        origins = frozenset(filter(None, (part.strip() for part in text.split(","))))
        for origin in origins - {ANY}:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin such as http://localhost:5173")
        return cls(origins)

    async def layer(self, request: Request, rest: Handler) -> Answer:
        """Answer preflights, and tell browsers whose pages may read an answer."""
        origin = request.headers.get("origin", "")
        allowed = bool(origin) and not self.origins.isdisjoint({origin, ANY})
        if _is_preflight(request):
            return Answer(HTTPStatus.NO_CONTENT, self._preflight(request) if allowed else ())
        answer = await rest(request)
        # What the app says about it does not count: both at once would be one too many.
        others = (
            each for each in answer.headers if not each[0].lower().startswith("access-control-")
        )
        return replace(answer, headers=(*others, *(self._allow(origin) if allowed else ())))

    def _allow(self, origin: str) -> tuple[tuple[str, str], ...]:
        if ANY in self.origins:
            return (("Access-Control-Allow-Origin", ANY),)
        return (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))

    def _preflight(self, request: Request) -> tuple[tuple[str, str], ...]:
        asked = (
            ("Access-Control-Allow-Headers", request.headers.get("access-control-request-headers")),
            ("Access-Control-Allow-Methods", request.headers.get("access-control-request-method")),
        )
        granted = tuple((name, value) for name, value in asked if value)
        return (*self._allow(request.headers["origin"]), *granted)


def _is_preflight(request: Request) -> bool:
    needed = {"origin", "access-control-request-method"}
    return request.method == "OPTIONS" and needed <= request.headers.keys()
