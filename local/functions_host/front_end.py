"""What answers before the host sees a request: pages, CORS and sign-in, where asked for."""

from collections.abc import Callable, MutableMapping

from local.functions_host.cors import Cors
from local.functions_host.easy_auth import EasyAuth
from local.functions_host.local_sign_in import LocalSignIn
from local.functions_host.pipeline import Layer
from local.functions_host.static_files import StaticFiles

STATIC_FILES = "LOCAL_HOST_STATIC_FILES"
SIGN_IN = "LOCAL_HOST_SIGN_IN"
CORS_ORIGINS = "LOCAL_HOST_CORS_ORIGINS"
EASY_AUTH = "LOCAL_HOST_EASY_AUTH"
# Where sign-ins are checked the platform tells the app so, in every app's environment.
# Source: https://learn.microsoft.com/azure/app-service/reference-app-settings
SIGN_IN_CHECKED = "WEBSITE_AUTH_ENABLED"

# The outermost first. A page needs no token, and who may sign in to it is not for CORS to say. A
# preflight brings no token, and a page elsewhere must be able to read a refusal: CORS comes before
# sign-ins are checked.
_LAYERS: dict[str, Callable[[str], Layer]] = {
    STATIC_FILES: lambda text: StaticFiles.read(text).layer,
    SIGN_IN: lambda text: LocalSignIn.read(text).layer,
    CORS_ORIGINS: lambda text: Cors.read(text).layer,
    EASY_AUTH: lambda text: EasyAuth.read(text).layer,
}


def take_layers(environ: MutableMapping[str, str]) -> list[Layer]:
    """The layers that the environment asks for, the outermost first; what it is told on the way.

    Raises:
        ValueError: a variable is not of its form; the message names it.
    """
    wanted = {name: text for name in _LAYERS if (text := environ.pop(name, ""))}
    environ[SIGN_IN_CHECKED] = str(EASY_AUTH in wanted)
    return [_read(name, text) for name, text in wanted.items()]


def _read(name: str, text: str) -> Layer:
    try:
        return _LAYERS[name](text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
