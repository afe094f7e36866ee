"""A local App Service front end: what Azure does before a request reaches the Functions host.

Each part is a layer. A layer receives the request and a handler for the rest. It can respond
itself, pass a changed request on, or change the response.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial, wraps
from uuid import uuid4

from msgspec.structs import replace

from local.front_end.cors import Cors
from local.front_end.easy_auth import EasyAuth
from local.front_end.landing import LandingPage
from local.front_end.pages import LocalSignIn, StaticFiles
from local.functions_host.http import Handler, Request, Response

STATIC_FILES = "LOCAL_HOST_STATIC_FILES"
LANDING_PAGE = "LOCAL_HOST_LANDING_PAGE"
SIGN_IN = "LOCAL_HOST_SIGN_IN"
CORS_ORIGINS = "LOCAL_HOST_CORS_ORIGINS"
EASY_AUTH = "LOCAL_HOST_EASY_AUTH"
# App Service sets this for every request from outside.
_LOG_ID = "x-arr-log-id"
# App Service sets this for every app, so that the app knows whether sign-ins are checked.
# Source: https://learn.microsoft.com/azure/app-service/reference-app-settings
AUTH_ENABLED = "WEBSITE_AUTH_ENABLED"
_LOCAL_NAMES = ("localhost", "127.0.0.1")

Layer = Callable[[Request, Handler], Awaitable[Response]]

# The outermost layer first. Pages and their sign-in come before CORS: they need no token, and no
# other origin may read them. CORS comes before Easy Auth: a preflight has no token, and a page of
# an allowed origin must be able to read a 401.
_LAYERS: dict[str, Callable[[str], Layer]] = {
    STATIC_FILES: lambda text: _local_names_only(StaticFiles.parse(text).layer),
    LANDING_PAGE: lambda text: _local_names_only(LandingPage.parse(text).layer),
    SIGN_IN: lambda text: _local_names_only(LocalSignIn.parse(text).layer),
    CORS_ORIGINS: lambda text: Cors.parse(text).layer,
    EASY_AUTH: lambda text: EasyAuth.parse(text).layer,
}
VARIABLES = tuple(_LAYERS)


def take_layers(environ: MutableMapping[str, str]) -> list[Layer]:
    """Create the layers that the environment configures, the outermost first.

    Removes their variables from the environment and sets WEBSITE_AUTH_ENABLED.

    Raises:
        ValueError: a variable is malformed; the message names it.
    """
    configured = {name: text for name in _LAYERS if (text := environ.pop(name, ""))}
    environ[AUTH_ENABLED] = str(EASY_AUTH in configured)
    layers = [_parse(name, text) for name, text in configured.items()]
    return [from_outside, *layers] if layers else []


async def from_outside(request: Request, rest: Handler) -> Response:
    """Mark a request as one from outside. Without the mark, the host trusts it more."""
    return await rest(replace(request, headers={**request.headers, _LOG_ID: str(uuid4())}))


def _parse(name: str, text: str) -> Layer:
    try:
        return _LAYERS[name](text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _local_names_only(layer: Layer) -> Layer:
    """Skip the layer for a request to another name than this machine's own.

    Otherwise a page on the internet could read keys and tokens: after its own name resolves to
    127.0.0.1, the browser takes this server for the page's origin (DNS rebinding).
    """

    @wraps(layer)
    async def guarded(request: Request, rest: Handler) -> Response:
        name = request.headers.get("host", "").partition(":")[0]
        return await (layer(request, rest) if name.lower() in _LOCAL_NAMES else rest(request))

    return guarded


def through(layers: Iterable[Layer], handler: Handler) -> Handler:
    """A handler that passes each request through `layers`, the first one outermost."""
    for layer in reversed(tuple(layers)):
        handler = partial(_pass, layer, handler)
    return handler


def _pass(layer: Layer, handler: Handler, request: Request) -> Awaitable[Response]:
    return layer(request, handler)
