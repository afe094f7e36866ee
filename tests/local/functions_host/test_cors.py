"""Facts about CORS in front of the app."""

from collections.abc import Mapping

import pytest

from local.functions_host.cors import Cors
from local.functions_host.front_end import take_layers
from local.functions_host.pipeline import Answer, Request
from tests.local.functions_host.running import RunningHost

PAGE, OTHER_PAGE, STRANGER = "http://localhost:5173", "https://contoso.com", "https://evil.example"
SETTINGS = {"LOCAL_HOST_CORS_ORIGINS": f"{PAGE}, {OTHER_PAGE}"}
APP = """
import os
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
NAMES = [name for name in os.environ if name.startswith("LOCAL_HOST")]

@app.route(route="locked", methods=["GET", "OPTIONS"])
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()

@app.route(route="names", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def names(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(NAMES))
"""
PREFLIGHT = {
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization,content-type",
}


async def ask(
    origins: str, method: str, headers: Mapping[str, str], app_says: str = ""
) -> tuple[int, dict[str, str]]:
    """The status and the headers of the answer; 299 is the app's own."""

    async def app(_request: Request) -> Answer:
        return Answer(299, (("Access-Control-Allow-Origin", app_says),) if app_says else ())

    lower = {name.lower(): value for name, value in headers.items()}
    answer = await Cors.read(origins).layer(Request(method, "/", "", lower, {}), app)
    return answer.status, dict(answer.headers)


@pytest.mark.parametrize("origin", [PAGE, OTHER_PAGE])
async def test_a_page_that_is_named_may_read(origin: str) -> None:
    """Each by its own name, which caches have to know."""
    status, headers = await ask(f"{PAGE},{OTHER_PAGE}", "GET", {"Origin": origin})

    assert status == 299
    assert headers == {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


@pytest.mark.parametrize(
    "origin",
    [STRANGER, "null", f"{PAGE}/", f"{PAGE}0", "http://LOCALHOST:5173", f"{PAGE},{PAGE}", "*"],
)
async def test_no_other_page_may(origin: str) -> None:
    """It is answered all the same: it is the browser that keeps the answer from the page."""
    assert await ask(PAGE, "GET", {"Origin": origin}) == (299, {})


async def test_who_is_no_page_is_told_nothing() -> None:
    """A server's call has no origin."""
    assert await ask(PAGE, "GET", {}) == (299, {})


async def test_a_preflight_is_answered_without_the_app() -> None:
    """Any method and any header may follow."""
    status, headers = await ask(PAGE, "OPTIONS", {"Origin": PAGE, **PREFLIGHT})

    assert status == 204
    assert headers == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Headers": "authorization,content-type",
        "Access-Control-Allow-Methods": "DELETE",
        "Vary": "Origin",
    }


async def test_a_strangers_preflight_grants_nothing() -> None:
    """Nor does the app see it."""
    assert await ask(PAGE, "OPTIONS", {"Origin": STRANGER, **PREFLIGHT}) == (204, {})


@pytest.mark.parametrize("headers", [{}, {"Origin": PAGE}, PREFLIGHT])
async def test_options_alone_is_no_preflight(headers: dict[str, str]) -> None:
    """Then it is a request like any other."""
    status, _ = await ask(PAGE, "OPTIONS", headers)

    assert status == 299


async def test_a_star_lets_every_page_read() -> None:
    """Without naming it."""
    status, headers = await ask("*", "GET", {"Origin": STRANGER})

    assert (status, headers) == (299, {"Access-Control-Allow-Origin": "*"})


@pytest.mark.parametrize(("origin", "said"), [(PAGE, PAGE), (STRANGER, None)])
async def test_what_the_app_says_does_not_count(origin: str, said: str | None) -> None:
    """Two answers to one question would be none to a browser."""
    _, headers = await ask(PAGE, "GET", {"Origin": origin}, app_says="*")

    assert headers.get("Access-Control-Allow-Origin") == said


@pytest.mark.parametrize(
    "text", ["localhost", "localhost:5173", f"{PAGE}/", f"{PAGE}/path", "http://", f"{PAGE};x"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    """It would never match."""
    with pytest.raises(ValueError, match=r"^LOCAL_HOST_CORS_ORIGINS: .* is no origin"):
        take_layers({"LOCAL_HOST_CORS_ORIGINS": text})


def test_without_the_variable_there_is_no_cors() -> None:
    """Nor without an origin in it."""
    assert take_layers({}) == take_layers({"LOCAL_HOST_CORS_ORIGINS": ""}) == []


def test_a_preflight_needs_no_key(host: RunningHost) -> None:
    """Though what follows does, and a page may read that it was refused."""
    preflight = host.call("OPTIONS", "/api/locked", {"Origin": PAGE, **PREFLIGHT})
    refused = host.call("GET", "/api/locked", {"Origin": PAGE})

    assert (preflight.status, preflight.body) == (204, b"")
    assert refused.status == 401
    for reply in (preflight, refused):
        assert reply.headers["Access-Control-Allow-Origin"] == PAGE


def test_the_app_does_not_see_the_variable(host: RunningHost) -> None:
    """It is the stand-in's own."""
    assert host.call("GET", "/api/names").body == b"[]"
