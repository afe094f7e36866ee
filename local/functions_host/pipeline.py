"""What passes through the host: a request, its answer, and the layers it goes through.

A layer is the seam for what the platform does before the host sees a request (authentication,
CORS): it gets the request and the rest of the pipeline, and may answer by itself, hand a changed
request on, or change the answer.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, decoded as the host decodes it before it looks for a route.

    Attributes:
        method: in upper case.
        path: percent-decoded by `urls.decode_path`; begins with a slash.
        query_string: as received, without the question mark.
        headers: by lower-case name; repeated ones joined by commas.
        query: decoded; repeated ones joined by commas, empty ones left out.
        body: empty where the client sent no Content-Length.
    """

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. Content-Length is added when it is sent."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Answer]]
Layer = Callable[[Request, Handler], Awaitable[Answer]]


def through(layers: Iterable[Layer], handler: Handler) -> Handler:
    """A handler that passes each request through `layers`, the first one outermost."""
    for layer in reversed(tuple(layers)):
        handler = partial(_pass, layer, handler)
    return handler


async def _pass(layer: Layer, handler: Handler, request: Request) -> Answer:
    return await layer(request, handler)


def fold(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Repeated names merged without regard to case, their values joined by commas.

    The first spelling of a name stays, empty values add nothing, as .NET's StringValues has it.
    """
    spelling: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
    return {name: ",".join(filter(None, given)) for name, given in values.items()}
