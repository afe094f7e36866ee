"""Facts about the landing page, and about who cannot read the key on it."""

import json
from html import unescape

import pytest

from tests.local.front_end.sending import FROM_THE_APP, send
from tests.local.front_end.test_pages import POLICY

CONTENT: dict[str, object] = {
    "authentication": "'x-functions-key: the-key'",
    "env": "/folder/.local/env",
    "functionKey": "the-key",
    "scopes": ["voip"],
    "places": {"ACS emulator": "https://localhost:7072"},
}
ENVIRON = {
    "LOCAL_HOST_LANDING_PAGE": json.dumps(CONTENT),
    "LOCAL_HOST_CORS_ORIGINS": "http://localhost:5173",
}
each_path = pytest.mark.parametrize("path", ["/", "/.local/key"])


async def test_the_page_shows_addresses_under_the_requested_name() -> None:
    """The app's address is the one in the browser."""
    page = (await send(ENVIRON, headers={"Host": "127.0.0.1:7171"})).response.body.decode()

    assert "curl -X POST http://127.0.0.1:7171/api/identities/with-token" in page
    assert "https://localhost:7072" in page
    assert "the-key" in page


async def test_the_command_requests_allowed_scopes() -> None:
    """It works as it is printed, whatever SERVICE_TOKEN_SCOPES is."""
    page = (await send(ENVIRON)).response.body.decode()

    assert unescape(page).count("""-d '{"scopes": ["voip"]}'""") == 1


async def test_the_key_is_json() -> None:
    """The page at /docs/ fetches it. A `<script>` of another origin cannot run it."""
    exchange = await send(ENVIRON, "/.local/key")

    assert json.loads(exchange.response.body) == {"functionKey": "the-key"}
    assert exchange.headers["Content-Type"] == "application/json"
    assert exchange.headers["X-Content-Type-Options"] == "nosniff"


async def test_without_keys_the_page_shows_none() -> None:
    """With SERVICE_AUTHENTICATION=entra, no key opens anything."""
    environ = {"LOCAL_HOST_LANDING_PAGE": json.dumps({**CONTENT, "functionKey": None})}

    page, key = await send(environ), await send(environ, "/.local/key")

    assert b"services authenticate with Entra" in page.response.body
    assert b"code=" not in page.response.body
    assert json.loads(key.response.body) == {"functionKey": None}


async def test_what_the_page_shows_is_escaped() -> None:
    """A folder's name cannot become HTML."""
    environ = {"LOCAL_HOST_LANDING_PAGE": json.dumps({**CONTENT, "env": "/<b>&amp;/env"})}

    assert b". /&lt;b&gt;&amp;amp;/env" in (await send(environ)).response.body


@each_path
@pytest.mark.parametrize("host", ["rebound.example:7071", "localhost.example", "", ":7071"])
async def test_no_other_name_gets_the_key(path: str, host: str) -> None:
    """A page whose name was made to resolve to this machine gets the app's own response."""
    assert (await send(ENVIRON, path, {"Host": host})).status == FROM_THE_APP


@each_path
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7071", "127.0.0.1:80"])
async def test_this_machine_gets_the_key(path: str, host: str) -> None:
    """Its names count in any case, with any port."""
    exchange = await send(ENVIRON, path, {"Host": host})

    assert b"the-key" in exchange.response.body


@each_path
async def test_no_other_origin_reads_the_key(path: str) -> None:
    """There are no CORS headers, even for an origin that may call the app. Nothing is cached."""
    exchange = await send(ENVIRON, path, {"Origin": "http://localhost:5173"})

    assert not [name for name in exchange.headers if name.startswith("Access-Control")]
    assert exchange.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert exchange.headers["Cache-Control"] == "no-store"


async def test_the_page_runs_only_its_own_script() -> None:
    """It has the policy of the other pages."""
    assert (await send(ENVIRON)).headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize(("method", "path"), [("POST", "/"), ("GET", "/api/health")])
async def test_other_requests_reach_the_app(method: str, path: str) -> None:
    """The page takes nothing else."""
    assert (await send(ENVIRON, path, method=method)).status == FROM_THE_APP
