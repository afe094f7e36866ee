"""An outage on demand: for a while nobody gets through to the ACS emulator."""

from typing import Annotated

import msgspec
from aiohttp import web

from local.servers import Served


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """For how many seconds."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=600)]


class Outage:
    """Part of the control endpoint, which is out of reach itself meanwhile."""

    def __init__(self) -> None:
        self._served: Served | None = None

    def strikes(self, served: Served) -> None:
        """Say which server it strikes."""
        self._served = served

    def route(self) -> web.RouteDef:
        """`POST /outage {"seconds": 2}`."""
        return web.post("/outage", self._begin)

    async def _begin(self, request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=Wanted)
        if self._served is None:
            raise web.HTTPServiceUnavailable
        self._served.be_out(wanted.seconds)
        return web.Response(status=202)
