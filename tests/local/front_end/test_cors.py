"""Facts about CORS in front of the app."""

import pytest

from tests.local.front_end.sending import FROM_THE_APP, send
from tests.local.running_host import RunningHost

PAGE, OTHER_PAGE, FOREIGN = "http://localhost:5173", "https://contoso.com", "https://evil.example"
SETTINGS = {"LOCAL_HOST_CORS_ORIGINS": f"{PAGE}, {OTHER_PAGE}"}
APP = """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

@app.route(route="locked", methods=["GET", "OPTIONS"])
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()
"""
PREFLIGHT = {
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization,content-type",
}


@pytest.mark.parametrize("origin", [PAGE, OTHER_PAGE])
async def test_an_allowed_page_can_read(origin: str) -> None:
    """The response names the page's origin and varies by it. A star allows every page."""
    exchange = await send(SETTINGS, headers={"Origin": origin})
    starred = await send({"LOCAL_HOST_CORS_ORIGINS": "*"}, headers={"Origin": origin})

    assert (exchange.status, starred.status) == (FROM_THE_APP, FROM_THE_APP)
    assert exchange.headers == {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
    assert starred.headers == {"Access-Control-Allow-Origin": "*"}


@pytest.mark.parametrize(
    "origin",
    [FOREIGN, "null", f"{PAGE}/", f"{PAGE}0", "http://LOCALHOST:5173", f"{PAGE},{PAGE}", "*", None],
)
async def test_other_callers_get_no_cors_headers(origin: str | None) -> None:
    """The app still responds: the browser hides the response. A server's call has no origin."""
    exchange = await send(SETTINGS, headers={"Origin": origin} if origin else {})

    assert (exchange.status, exchange.headers) == (FROM_THE_APP, {})


async def test_a_preflight_does_not_reach_the_app() -> None:
    """The front end allows the requested method and headers."""
    exchange = await send(SETTINGS, headers={"Origin": PAGE, **PREFLIGHT}, method="OPTIONS")

    assert exchange.status == 204
    assert exchange.headers == {
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Headers": "authorization,content-type",
        "Access-Control-Allow-Methods": "DELETE",
        "Vary": "Origin",
    }


async def test_a_foreign_preflight_grants_nothing() -> None:
    """It does not reach the app either."""
    exchange = await send(SETTINGS, headers={"Origin": FOREIGN, **PREFLIGHT}, method="OPTIONS")

    assert (exchange.status, exchange.headers) == (204, {})


@pytest.mark.parametrize("headers", [{}, {"Origin": PAGE}, PREFLIGHT])
async def test_other_options_requests_reach_the_app(headers: dict[str, str]) -> None:
    """A preflight has both an origin and a requested method."""
    exchange = await send(SETTINGS, headers=headers, method="OPTIONS")

    assert exchange.status == FROM_THE_APP


@pytest.mark.parametrize(("origin", "allowed"), [(PAGE, PAGE), (FOREIGN, None)])
async def test_the_apps_own_cors_headers_are_dropped(origin: str, allowed: str | None) -> None:
    """Only the front end decides who can read."""
    own = {"Access-Control-Allow-Origin": "*"}

    exchange = await send(SETTINGS, headers={"Origin": origin}, app_headers=own)

    assert exchange.headers.get("Access-Control-Allow-Origin") == allowed


def test_a_preflight_needs_no_key(host: RunningHost) -> None:
    """The request after it needs one, and the page can read its 401."""
    preflight = host.call("OPTIONS", "/api/locked", {"Origin": PAGE, **PREFLIGHT})
    rejected = host.call("GET", "/api/locked", {"Origin": PAGE})

    assert (preflight.status, preflight.body) == (204, b"")
    assert rejected.status == 401
    for response in (preflight, rejected):
        assert response.headers["Access-Control-Allow-Origin"] == PAGE
