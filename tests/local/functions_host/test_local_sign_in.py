"""Facts about the local way to sign in to a page beside the app."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest

from local.certificates import Authority
from local.functions_host.front_end import take_layers
from local.functions_host.pipeline import Answer, Request, through
from local.sign_in import AUDIENCE, object_id
from tests.local.functions_host.running import RunningHost, running_host, write_app
from tests.support.stack import running

ELSEWHERE = "http://localhost:5173"
APP = """
import os
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
NAMES = [name for name in os.environ if name.startswith("LOCAL_HOST")]

@app.route(route="names", methods=["GET"])
async def names(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(str(NAMES))
"""
ALICE = b'{"user": "alice"}'


@dataclass(frozen=True)
class Page:
    """A page beside the app, before the local Azure."""

    host: RunningHost
    control_key: str


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The local Azure, and a host that lets pages sign in there."""
    with running(tmp_path_factory.mktemp("azure"), "azure") as env:
        endpoint = {
            "url": f"{env['ACS_CONTROL_URL']}/sign-in",
            "key": env["ACS_CONTROL_KEY"],
            "certificates": env["SSL_CERT_FILE"],
        }
        settings = {
            "LOCAL_HOST_SIGN_IN": json.dumps(endpoint),
            "LOCAL_HOST_CORS_ORIGINS": ELSEWHERE,
        }
        app = write_app(tmp_path_factory.mktemp("app"), APP)
        with running_host(app, settings) as host:
            yield Page(host, endpoint["key"])


def claims(token: str) -> dict[str, object]:
    """What the token says, unverified: the tenant's key is in another process."""
    said: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return said


def test_a_page_signs_a_user_in(page: Page) -> None:
    """The token is that user's, for the app; no cache keeps it."""
    reply = page.host.call("POST", "/.local/sign-in", body=ALICE)

    assert reply.status == 200
    assert reply.headers["Cache-Control"] == "no-store"
    said = claims(reply.json()["token"])
    assert (said["oid"], said["aud"]) == (object_id("alice"), AUDIENCE)
    assert reply.json().keys() == {"token"}


@pytest.mark.parametrize("body", [b"", b"nonsense", b"{}", b'{"user": ""}', b"[]"])
def test_what_is_no_sign_in_is_told_as_a_problem(page: Page, body: bytes) -> None:
    """As the app tells its own."""
    reply = page.host.call("POST", "/.local/sign-in", body=body)

    assert (reply.status, reply.headers["Content-Type"]) == (400, "application/problem+json")
    assert reply.json()["title"] == "Nobody was signed in"
    assert reply.json()["detail"]


def test_no_page_of_another_origin_reads_a_token(page: Page) -> None:
    """Though it may call the app: CORS is not asked about sign-ins."""
    reply = page.host.call("POST", "/.local/sign-in", {"Origin": ELSEWHERE}, ALICE)
    app = page.host.call("GET", "/api/names", {"Origin": ELSEWHERE})

    assert "Access-Control-Allow-Origin" not in reply.headers
    assert app.headers["Access-Control-Allow-Origin"] == ELSEWHERE


def test_the_app_sees_none_of_it(page: Page) -> None:
    """Neither the endpoint nor its key; and no answer tells the key."""
    reply = page.host.call("POST", "/.local/sign-in", body=ALICE)

    assert page.host.call("GET", "/api/names").body == b"[]"
    assert page.control_key not in reply.body.decode() + page.host.log()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/.local/sign-in"), ("POST", "/.local/sign-in/"), ("POST", "/")]
)
def test_everything_else_goes_on_to_the_host(page: Page, method: str, path: str) -> None:
    """It has no such function, and says so."""
    assert page.host.call(method, path, body=ALICE).status == 404


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Some authority's certificate."""
    Authority().write_bundle(tmp_path / "bundle.pem")
    return tmp_path / "bundle.pem"


async def test_where_nobody_answers_it_says_so(bundle: Path) -> None:
    """The local Azure may have gone."""
    endpoint = {"url": "https://localhost:1", "key": "key", "certificates": str(bundle)}
    [layer] = take_layers({"LOCAL_HOST_SIGN_IN": json.dumps(endpoint)})

    async def app(_request: Request) -> Answer:
        return Answer(418)

    request = Request("POST", "/.local/sign-in", "", {}, {}, ALICE)
    answer = await through([layer], app)(request)

    assert answer.status == 502
    assert json.loads(answer.body)["detail"] == "The local Azure does not answer."


@pytest.mark.parametrize(
    "text", ["nonsense", "{}", '{"url": "x", "key": "x", "certificates": "/nowhere.pem"}']
)
def test_what_is_not_of_the_form_is_refused(text: str) -> None:
    """With the variable's name."""
    with pytest.raises(ValueError, match=r"^LOCAL_HOST_SIGN_IN: "):
        take_layers({"LOCAL_HOST_SIGN_IN": text})
