"""Facts about the layers and their configuration in environment variables."""

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from local.entra import Issuer, SignIn
from local.front_end import take_layers, through
from local.functions_host.http import Handler, Request, Response
from local.servers import Authority
from tests.local.front_end.test_landing import CONTENT

ISSUER = {"issuer": "https://sts.example/", "audience": "api://app"}
KEYS = Issuer().jwks()
MALFORMED = {
    "LOCAL_HOST_CORS_ORIGINS": [
        "localhost",
        "localhost:5173",
        "http://localhost:5173/",
        "http://localhost:5173/path",
        "http://",
        "http://localhost:5173;x",
    ],
    "LOCAL_HOST_EASY_AUTH": [
        "nonsense",
        "[]",
        "{}",
        json.dumps({**ISSUER, "issuer": "", "jwks": KEYS}),
        json.dumps({**ISSUER, "audience": "", "jwks": KEYS}),
        json.dumps({**ISSUER, "jwks": {"keys": []}}),
        json.dumps({**ISSUER, "jwks": {"keys": [{"kty": "no"}]}}),
    ],
    "LOCAL_HOST_LANDING_PAGE": ["nonsense", "{}"],
    "LOCAL_HOST_SIGN_IN": [
        "nonsense",
        "{}",
        '{"url": "x", "key": "x", "certificates": "/nowhere.pem"}',
    ],
    "LOCAL_HOST_STATIC_FILES": ["nonsense", "[]", '{"/": 1}', '{"example/": "dist"}'],
}


async def test_layers_change_requests_from_the_outermost_in() -> None:
    """Each layer passes its changed request on to the next one."""

    async def echo(request: Request) -> Response:
        return Response(200, body=request.path.encode())

    async def first(request: Request, rest: Handler) -> Response:
        return await rest(replace(request, path=request.path + "1"))

    async def second(request: Request, rest: Handler) -> Response:
        return await rest(replace(request, path=request.path + "2"))

    response = await through([first, second], echo)(Request("GET", "/", "", {}, {}))

    assert response.body == b"/12"


def test_the_environment_configures_the_layers(tmp_path: Path) -> None:
    """Pages come before CORS, and CORS before sign-in; the app sees no variable of the host.

    Before all of them, a request is marked as one from outside.
    """
    Authority().write_bundle(tmp_path / "bundle.pem")
    endpoint = {"url": "x", "key": "x", "certificates": str(tmp_path / "bundle.pem")}
    environ = {
        "LOCAL_HOST_EASY_AUTH": SignIn(Issuer()).easy_auth(),
        "LOCAL_HOST_CORS_ORIGINS": "http://localhost:5173",
        "LOCAL_HOST_SIGN_IN": json.dumps(endpoint),
        "LOCAL_HOST_STATIC_FILES": "{}",
        "LOCAL_HOST_LANDING_PAGE": json.dumps(CONTENT),
    }

    layers = take_layers(environ)

    names = [layer.__qualname__.removesuffix(".layer") for layer in layers]
    pages = ["StaticFiles", "LandingPage", "LocalSignIn"]
    assert names == ["from_outside", *pages, "Cors", "EasyAuth"]
    assert environ == {"WEBSITE_AUTH_ENABLED": "True"}


@pytest.mark.parametrize("environ", [{}, {"LOCAL_HOST_CORS_ORIGINS": ""}])
def test_without_variables_there_is_no_layer(environ: dict[str, str]) -> None:
    """An empty variable counts as absent."""
    assert take_layers(environ) == []
    assert environ == {"WEBSITE_AUTH_ENABLED": "False"}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in MALFORMED.items() for text in texts]
)
def test_a_malformed_variable_is_rejected(name: str, text: str) -> None:
    """The message names the variable."""
    with pytest.raises(ValueError, match=f"^{name}: "):
        take_layers({name: text})
