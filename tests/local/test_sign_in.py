"""Facts about users on loopback, and about `python -m local token`."""

import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import jwt
import pytest

from local.certificates import Authority
from local.entra import Issuer
from local.functions_host.easy_auth import EasyAuth
from local.sign_in import AUDIENCE, SignIn, object_id
from local.workplace import Workplace
from tests.support.stack import PATIENCE, ROOT, running

ALICES_OBJECT_ID = "3bbfeb8a-3c64-5f4f-b068-832fa50644e4"


def token_command(folder: Path, *options: str) -> tuple[int, str, str]:
    """`python -m local token`: exit code, standard output and standard error."""
    call = [sys.executable, "-m", "local", "token", "--folder", str(folder), *options]
    done = subprocess.run(  # noqa: S603 -- our own module
        call, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout, done.stderr


def ask(env: Mapping[str, str], body: object = None) -> tuple[int, Any]:
    """What the control endpoint says about sign-in."""
    request = urllib.request.Request(  # noqa: S310 -- our own address
        f"{env['ACS_CONTROL_URL']}/sign-in",
        data=None if body is None else json.dumps(body).encode(),
        headers={"x-acs-control-key": env["ACS_CONTROL_KEY"]},
    )
    tls = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
    try:
        with urllib.request.urlopen(request, context=tls) as response:  # noqa: S310 -- the same
            return response.status, json.load(response)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the local Azure of these tests runs."""
    return tmp_path_factory.mktemp("azure")


@pytest.fixture(scope="module")
def env(folder: Path) -> Iterator[dict[str, str]]:
    """Everything, started as `make run` does; what `.local/env` says."""
    environ = {"LOCAL_HOST_CORS_ORIGINS": "http://localhost:5173"}
    with running(folder, "run", environ) as env:
        yield env


def test_a_name_has_one_object_id_for_ever() -> None:
    """On every machine and at every start; another name has another one."""
    assert object_id("alice") == ALICES_OBJECT_ID
    assert UUID(object_id("alice")).version == 5
    assert object_id("bob") != object_id("alice") != object_id("Alice")


def test_a_users_token_says_who_they_are() -> None:
    """To the app and to nobody else, for as long as asked for."""
    issuer = Issuer()

    said = issuer.verify(SignIn(issuer).token("alice", 5), AUDIENCE)

    assert said["oid"] == ALICES_OBJECT_ID
    assert (said["tid"], said["iss"]) == (issuer.tenant, issuer.url)
    assert (said["name"], said["preferred_username"]) == ("alice", "alice@localhost")
    assert said["exp"] - said["iat"] == 300
    assert UUID(said["sub"]) != UUID(said["oid"])


def test_the_stand_in_reads_what_sign_in_says_of_itself() -> None:
    """Public keys, and no private one."""
    issuer = Issuer()
    configuration = SignIn(issuer).easy_auth()

    read = EasyAuth.read(configuration)

    assert (read.issuer, read.audience) == (issuer.url, AUDIENCE)
    [key] = json.loads(configuration)["jwks"]["keys"]
    assert key.keys().isdisjoint({"d", "p", "q", "dp", "dq", "qi"})


def test_the_command_prints_a_token_and_nothing_else(folder: Path, env: dict[str, str]) -> None:
    """Signed by the tenant that the app's front end knows."""
    code, printed, said = token_command(folder, "--user", "alice", "--minutes", "10")

    assert (code, said) == (0, "")
    _, configuration = ask(env)
    [key] = jwt.PyJWKSet.from_dict(configuration["jwks"]).keys
    claims = jwt.decode(
        printed.rstrip("\n"),
        key,
        algorithms=["RS256"],
        audience=configuration["audience"],
        issuer=configuration["issuer"],
    )
    assert claims["oid"] == ALICES_OBJECT_ID
    assert claims["exp"] - claims["iat"] == 600


def test_the_app_that_runs_takes_it(folder: Path, env: dict[str, str]) -> None:
    """Sign-in is on, and the platform's part of CORS where the environment asks for it."""
    _, printed, _ = token_command(folder)
    bearer = {"Authorization": f"Bearer {printed.strip()}", "Origin": "http://localhost:5173"}
    request = urllib.request.Request(  # noqa: S310 -- our own address
        f"{env['FUNCTIONS_URL']}/api/me/tokens", method="POST", headers=bearer
    )

    with urllib.request.urlopen(request) as response:  # noqa: S310 -- the same
        issued = json.load(response)

    assert issued["token"].count(".") == 2
    assert response.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": ""},
        {"user": 1},
        {"user": "x" * 65},
        {"user": "alice", "minutes": 1441},
        {"user": "alice", "minutes": "ten"},
        {"user": "alice", "oid": "bob"},
        [],
    ],
)
def test_what_is_no_sign_in_is_refused(env: dict[str, str], body: object) -> None:
    """In the words of the control endpoint."""
    status, answer = ask(env, body)

    assert (status, answer["error"]["code"]) == (400, "ControlError")


def test_the_command_says_what_is_wrong_with_what_was_asked(
    folder: Path, env: dict[str, str]
) -> None:
    """In one line."""
    code, printed, said = token_command(folder, "--minutes", "100000")

    assert (code, printed) == (1, "")
    assert said.startswith("There is no such token: ")
    assert said.count("\n") == 1


def test_where_nothing_runs_the_command_says_so(tmp_path: Path) -> None:
    """In one line, and it makes nothing."""
    code, printed, said = token_command(tmp_path, "--user", "alice")

    assert (code, printed) == (1, "")
    assert said == (f"No local Azure is running in {tmp_path}: start one with `python -m local`.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_bundle", [True, False])
def test_where_something_ran_and_was_killed_it_says_so_too(
    tmp_path: Path, *, has_bundle: bool
) -> None:
    """What it left behind leads nowhere."""
    workplace = Workplace(tmp_path)
    workplace.folder.mkdir()
    if has_bundle:
        Authority().write_bundle(workplace.bundle)
    workplace.write_env(
        {
            "ACS_CONTROL_URL": "https://localhost:1/_control",
            "ACS_CONTROL_KEY": "key",
            "SSL_CERT_FILE": str(workplace.bundle),
        }
    )

    code, _, said = token_command(tmp_path)

    assert code == 1
    assert said.startswith("No local Azure is running in ")


def test_the_emulator_alone_signs_nobody_in(tmp_path: Path) -> None:
    """There is no app to sign in to."""
    with running(tmp_path, "acs"):
        code, printed, said = token_command(tmp_path)

    assert (code, printed) == (1, "")
    assert said == "The ACS emulator alone signs nobody in: start `python -m local`.\n"
