"""Sends requests through the layers of the front end, without a host."""

from collections.abc import Mapping
from dataclasses import dataclass

from local.front_end import take_layers, through
from local.functions_host.http import Request, Response

# The response of the app behind the front end.
FROM_THE_APP = 299


@dataclass(frozen=True)
class Exchange:
    """A response, and the headers that the app received; None if the app was not called.

    `Host` is left out: every request has one.
    """

    response: Response
    received: Mapping[str, str] | None

    @property
    def status(self) -> int:
        """The status of the response."""
        return self.response.status

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        return dict(self.response.headers)


async def send(  # noqa: PLR0913 -- the parts of a request, and what the app adds
    environ: Mapping[str, str],
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    body: bytes = b"",
    app_headers: Mapping[str, str] | None = None,
) -> Exchange:
    """Send a request through the layers that `environ` configures."""
    received: list[Request] = []

    async def app(request: Request) -> Response:
        received.append(request)
        return Response(FROM_THE_APP, tuple((app_headers or {}).items()))

    lower = {"host": "localhost:7071"}
    lower |= {name.lower(): value for name, value in (headers or {}).items()}
    handler = through(take_layers(dict(environ)), app)

    async def read_body() -> bytes:
        return body

    response = await handler(Request(method, path, "", lower, lower, read_body))
    if not received:
        return Exchange(response, None)
    seen = {name: value for name, value in received[0].headers.items() if name != "host"}
    return Exchange(response, seen)
