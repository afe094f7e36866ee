"""Facts about pages on the app's own origin, and about the sign-in for them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest

from local.entra import APP_AUDIENCE, object_id
from local.servers import Authority
from tests.local.front_end.sending import FROM_THE_APP, send
from tests.local.running_host import RunningHost, running_host, write_app
from tests.support.stack import command, read_env

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FOREIGN_ORIGIN = "http://localhost:5173"
APP = """
import os
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
NAMES = [name for name in os.environ if name.startswith("LOCAL_HOST")]

@app.route(route="names", methods=["GET"])
async def names(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(NAMES))
"""
SIGN_IN, ALICE = "/.local/sign-in", b'{"user": "alice"}'


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A configuration with a folder and two files. Other files are next to them."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!DOCTYPE html>")
    (folder / "assets" / "page.js").write_text("run()")
    (folder / "keys.pem").write_text("secret")
    (folder / "way-out.html").symlink_to(tmp_path / "secret.html")
    (tmp_path / "secret.html").write_text("secret")
    (tmp_path / "single.css").write_text("body {}")
    (tmp_path / "page.html").write_text("a page")
    (tmp_path / "dist-of-another").mkdir()
    (tmp_path / "dist-of-another" / "index.html").write_text("secret")
    places = {
        "/example/": folder,
        "/docs/": tmp_path / "page.html",
        "/docs/style.css": tmp_path / "single.css",
    }
    text = json.dumps({path: str(place) for path, place in places.items()})
    return {"LOCAL_HOST_STATIC_FILES": text}


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/example/", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("/example/index.html", "text/html; charset=utf-8", b"<!DOCTYPE html>"),
        ("/example/assets/page.js", "text/javascript; charset=utf-8", b"run()"),
        ("/docs/style.css", "text/css; charset=utf-8", b"body {}"),
        ("/docs/", "text/html; charset=utf-8", b"a page"),
    ],
)
async def test_files_are_served_with_their_type(
    files: dict[str, str], path: str, media_type: str, body: bytes
) -> None:
    """A folder's path serves its index.html. A page may use only its own origin."""
    exchange = await send(files, path)

    assert (exchange.status, exchange.headers["Content-Type"]) == (200, media_type)
    assert exchange.response.body == body
    assert exchange.headers["Content-Security-Policy"] == POLICY
    assert exchange.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_missing_slash_is_redirected(files: dict[str, str]) -> None:
    """The page's relative links need the slash."""
    exchange = await send(files, "/example")

    assert (exchange.status, exchange.headers) == (308, {"Location": "/example/"})


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/example/", "POST"),
        ("/example/nothing.html", "GET"),
        ("/example/assets/", "GET"),
        ("/example/assets", "GET"),
        ("/example/index.html/", "GET"),
        ("/example/keys.pem", "GET"),
        ("/example/way-out.html", "GET"),
        ("/example/../secret.html", "GET"),
        ("/example/%2e%2e/secret.html", "GET"),
        ("/example//etc/hosts.html", "GET"),
        ("/example-of-another/index.html", "GET"),
        ("/docs/style.css/", "GET"),
        ("/docs/page.html", "GET"),
        ("/api/health", "GET"),
        ("/", "GET"),
    ],
)
async def test_other_requests_reach_the_app(files: dict[str, str], path: str, method: str) -> None:
    """Files outside the folder and files of an unknown type are not served."""
    assert (await send(files, path, method=method)).status == FROM_THE_APP


async def test_a_page_can_be_built_while_the_host_runs(tmp_path: Path) -> None:
    """The folder may be missing at the start."""
    files = {"LOCAL_HOST_STATIC_FILES": json.dumps({"/example/": str(tmp_path / "dist")})}
    before = await send(files, "/example/")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<!DOCTYPE html>")

    after = await send(files, "/example/")

    assert (before.status, after.status) == (FROM_THE_APP, 200)


async def test_another_name_has_no_files(files: dict[str, str]) -> None:
    """The name of a page on the internet can be made to resolve to this machine."""
    exchange = await send(files, "/example/", {"Host": "rebound.example:7071"})

    assert exchange.status == FROM_THE_APP


async def test_another_name_has_no_sign_in(tmp_path: Path) -> None:
    """Otherwise any page on the internet could get a user's token."""
    bundle = tmp_path / "bundle.pem"
    Authority().write_bundle(bundle)
    endpoint = {"url": "https://localhost:1", "key": "key", "certificates": str(bundle)}
    environ = {"LOCAL_HOST_SIGN_IN": json.dumps(endpoint)}

    host = {"Host": "rebound.example:7071"}
    exchange = await send(environ, SIGN_IN, host, method="POST", body=ALICE)

    assert exchange.status == FROM_THE_APP


@dataclass(frozen=True)
class SignInHost:
    """A host whose pages can sign in, and the control key that they must not see."""

    host: RunningHost
    control_key: str


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInHost]:
    """The local Azure, and a host that forwards sign-ins to it."""
    folder = tmp_path_factory.mktemp("azure")
    with command(folder, "azure") as azure:
        azure.read_until("shell assignments")
        env = read_env(folder)
        endpoint = {
            "url": f"{env['ACS_CONTROL_URL']}/sign-in",
            "key": env["ACS_CONTROL_KEY"],
            "certificates": env["SSL_CERT_FILE"],
        }
        settings = {
            "LOCAL_HOST_SIGN_IN": json.dumps(endpoint),
            "LOCAL_HOST_CORS_ORIGINS": FOREIGN_ORIGIN,
        }
        app = write_app(tmp_path_factory.mktemp("app"), APP)
        with running_host(app, settings) as host:
            yield SignInHost(host, endpoint["key"])


def test_a_page_signs_a_user_in(signing: SignInHost) -> None:
    """The response has the user's token for the app, and must not be cached."""
    response = signing.host.call("POST", SIGN_IN, body=ALICE)

    assert response.status == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json().keys() == {"token"}
    claims = jwt.decode(response.json()["token"], options={"verify_signature": False})
    assert (claims["oid"], claims["aud"]) == (object_id("alice"), APP_AUDIENCE)


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b'{"user": ""}', b"[]"])
def test_an_invalid_sign_in_gets_a_problem(signing: SignInHost, body: bytes) -> None:
    """It has the same form as the app's problems."""
    response = signing.host.call("POST", SIGN_IN, body=body)

    assert (response.status, response.headers["Content-Type"]) == (400, "application/problem+json")
    assert response.json()["title"] == "Sign-in failed"
    assert response.json()["detail"]


def test_a_foreign_page_cannot_read_a_token(signing: SignInHost) -> None:
    """CORS does not apply to sign-ins, even for an origin that may call the app."""
    response = signing.host.call("POST", SIGN_IN, {"Origin": FOREIGN_ORIGIN}, ALICE)
    app = signing.host.call("GET", "/api/names", {"Origin": FOREIGN_ORIGIN})

    assert "Access-Control-Allow-Origin" not in response.headers
    assert app.headers["Access-Control-Allow-Origin"] == FOREIGN_ORIGIN


def test_the_control_key_stays_in_the_host(signing: SignInHost) -> None:
    """Neither the app, nor the response, nor the log has it."""
    response = signing.host.call("POST", SIGN_IN, body=ALICE)

    assert signing.host.call("GET", "/api/names").body == b"[]"
    assert signing.control_key not in response.body.decode() + signing.host.log()


def test_other_requests_are_not_sign_ins(signing: SignInHost) -> None:
    """They reach the host, which has no such route."""
    assert signing.host.call("GET", SIGN_IN, body=ALICE).status == 404
    assert signing.host.call("POST", f"{SIGN_IN}/", body=ALICE).status == 404


async def test_without_a_local_azure_the_sign_in_fails(tmp_path: Path) -> None:
    """The problem says that the local Azure does not respond."""
    bundle = tmp_path / "bundle.pem"
    Authority().write_bundle(bundle)
    endpoint = {"url": "https://localhost:1", "key": "key", "certificates": str(bundle)}
    environ = {"LOCAL_HOST_SIGN_IN": json.dumps(endpoint)}

    exchange = await send(environ, SIGN_IN, method="POST", body=ALICE)

    assert exchange.status == 502
    detail = json.loads(exchange.response.body)["detail"]
    assert detail == "The local Azure does not respond."
