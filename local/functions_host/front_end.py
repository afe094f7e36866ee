"""What Azure's front end does before the host sees a request: CORS and sign-in, where asked for."""

from collections.abc import MutableMapping

from local.functions_host.cors import Cors
from local.functions_host.easy_auth import EasyAuth
from local.functions_host.pipeline import Layer

CORS_ORIGINS = "LOCAL_HOST_CORS_ORIGINS"
EASY_AUTH = "LOCAL_HOST_EASY_AUTH"
# Where sign-ins are checked the platform tells the app so, in every app's environment.
# Source: https://learn.microsoft.com/azure/app-service/reference-app-settings
SIGN_IN_CHECKED = "WEBSITE_AUTH_ENABLED"


def take_layers(environ: MutableMapping[str, str]) -> list[Layer]:
    """The layers that the environment asks for, the outermost first; what it is told on the way.

    CORS comes first: a preflight brings no token, and a page must be able to read a refusal.

    Raises:
        ValueError: a variable is not of its form; the message names it.
    """
    layers: list[Layer] = []
    cors_origins, easy_auth = environ.pop(CORS_ORIGINS, ""), environ.pop(EASY_AUTH, "")
    environ[SIGN_IN_CHECKED] = str(bool(easy_auth))
    try:
        if cors_origins:
            layers.append(Cors.read(cors_origins).layer)
    except ValueError as error:
        raise ValueError(f"{CORS_ORIGINS}: {error}") from error
    try:
        if easy_auth:
            layers.append(EasyAuth.read(easy_auth).layer)
    except ValueError as error:
        raise ValueError(f"{EASY_AUTH}: {error}") from error
    return layers
