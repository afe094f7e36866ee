"""Facts about the users and applications of the local tenant, and `python -m local token`."""

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

from local.entra import (
    APP_AUDIENCE,
    ROLES,
    Issuer,
    SignIn,
    application_id,
    object_id,
    service_principal_id,
)
from local.servers import Authority
from local.workspace import Workspace
from tests.support.stack import ROOT, command, read_env

ALICES_OBJECT_ID = "3bbfeb8a-3c64-5f4f-b068-832fa50644e4"
BILLINGS_APPLICATION_ID = "969fc5b9-1a9a-59ab-b6db-a8a10f91eae6"
ORIGIN = "http://localhost:5173"


def token_command(folder: Path, *options: str) -> tuple[int, str, str]:
    """Run `python -m local token`. Returns its exit code, output and errors."""
    call = [sys.executable, "-m", "local", "token", "--folder", str(folder), *options]
    done = subprocess.run(  # noqa: S603 -- our own module
        call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def control(env: Mapping[str, str], body: object = None, path: str = "sign-in") -> tuple[int, Any]:
    """Call the control endpoint. Returns the status and the document."""
    request = urllib.request.Request(  # noqa: S310 -- our own address
        f"{env['ACS_CONTROL_URL']}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"x-acs-control-key": env["ACS_CONTROL_KEY"]},
    )
    tls = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
    try:
        with urllib.request.urlopen(request, context=tls) as response:  # noqa: S310 -- the same
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the local Azure of these tests."""
    return tmp_path_factory.mktemp("azure")


@pytest.fixture(scope="module")
def env(folder: Path) -> Iterator[dict[str, str]]:
    """Everything, started as by `make run`: the content of `.local/env`."""
    with command(folder, "run", environ={"LOCAL_HOST_CORS_ORIGINS": ORIGIN}) as running:
        running.read_until("Ctrl-C stops everything")
        yield read_env(folder)


def test_a_user_always_has_the_same_object_id() -> None:
    """It is the same on every machine and at every start. Other names have other ids."""
    assert object_id("alice") == ALICES_OBJECT_ID
    assert UUID(object_id("alice")).version == 5
    assert object_id("bob") != object_id("alice") != object_id("Alice")


def test_a_token_identifies_its_user() -> None:
    """It is for the app, and expires after the requested time."""
    issuer = Issuer()

    claims = issuer.verify(SignIn(issuer).token("alice", 5), APP_AUDIENCE)

    assert claims["oid"] == ALICES_OBJECT_ID
    assert (claims["tid"], claims["iss"]) == (issuer.tenant, issuer.version_2_url)
    assert (claims["scp"], claims["ver"]) == ("user_impersonation", "2.0")
    assert (claims["name"], claims["preferred_username"]) == ("alice", "alice@localhost")
    assert claims["exp"] - claims["iat"] == 300
    assert UUID(claims["sub"]) != UUID(claims["oid"])


def test_an_application_always_has_the_same_ids() -> None:
    """Its client id and its object id are GUIDs. Users and other applications have other ids."""
    assert application_id("billing") == BILLINGS_APPLICATION_ID
    ids = {
        identify(name)
        for identify in (application_id, service_principal_id, object_id)
        for name in ("billing", "Billing", "alice")
    }
    assert len(ids) == 9
    assert {UUID(each).version for each in ids} == {5}


def test_a_token_identifies_its_application() -> None:
    """It is a version 2 access token from client credentials: it has roles, and no scope."""
    issuer = Issuer()

    claims = issuer.verify(
        SignIn(issuer).application_token("billing", ["Tokens.Issue", "Tokens.Issue"], 5),
        APP_AUDIENCE,
    )

    assert claims.pop("exp") - claims.pop("iat") == 300
    assert claims.pop("nbf")
    assert claims == {
        "aud": APP_AUDIENCE,
        "iss": f"https://login.microsoftonline.com/{issuer.tenant}/v2.0",
        "tid": issuer.tenant,
        "ver": "2.0",
        "idtyp": "app",
        "azp": application_id("billing"),
        "oid": service_principal_id("billing"),
        "sub": service_principal_id("billing"),
        "roles": ["Tokens.Issue"],
    }


def test_an_application_without_roles_gets_a_token() -> None:
    """Entra leaves the claim out. It requires no assignment, so the app must check the roles."""
    issuer = Issuer()

    claims = issuer.verify(SignIn(issuer).application_token("billing", []), APP_AUDIENCE)

    assert claims["idtyp"] == "app"
    assert "roles" not in claims


def printed_claims(env: Mapping[str, str], output: str) -> dict[str, Any]:
    """The claims of a token that the command printed, verified as the front end does."""
    _, configuration = control(env)
    [key] = jwt.PyJWKSet.from_dict(configuration["jwks"]).keys
    claims: dict[str, Any] = jwt.decode(
        output.rstrip("\n"),
        key,
        algorithms=["RS256"],
        audience=configuration["audience"],
        issuer=configuration["issuer"],
    )
    return claims


def test_the_command_prints_a_token_and_nothing_else(folder: Path, env: dict[str, str]) -> None:
    """The tenant that the front end trusts has signed it."""
    code, output, errors = token_command(folder, "--user", "alice", "--minutes", "10")

    assert (code, errors) == (0, "")
    claims = printed_claims(env, output)
    assert claims["oid"] == ALICES_OBJECT_ID
    assert claims["exp"] - claims["iat"] == 600


@pytest.mark.parametrize("roles", [(), ROLES], ids=["no role", "all roles"])
def test_the_command_prints_an_applications_token(
    folder: Path, env: dict[str, str], roles: tuple[str, ...]
) -> None:
    """It has the roles of the command line, and no other."""
    options = [text for role in roles for text in ("--role", role)]

    code, output, errors = token_command(folder, "--app", "billing", "--minutes=10", *options)

    assert (code, errors) == (0, "")
    claims = printed_claims(env, output)
    assert (claims["azp"], claims["idtyp"]) == (application_id("billing"), "app")
    assert claims.get("roles", []) == list(roles)
    assert claims["exp"] - claims["iat"] == 600


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--user=alice", "--app=billing"], "argument --app: not allowed with argument --user"),
        (["--role=Tokens.Issue"], "--role needs --app: only applications have roles"),
    ],
)
def test_a_wrong_combination_of_options_is_rejected(options: list[str], error: str) -> None:
    """A token belongs to a user or to an application. The message says what is wrong."""
    code, output, errors = token_command(ROOT, *options)

    assert (code, output) == (2, "")
    assert errors.endswith(f"error: {error}\n")


def test_an_unknown_role_is_rejected() -> None:
    """The message lists the known ones."""
    code, output, errors = token_command(ROOT, "--app=billing", "--role=Tokens.Steal")

    assert (code, output) == (2, "")
    message = errors.partition("error: ")[2]
    assert [role for role in ("Tokens.Steal", *ROLES) if role not in message] == []


def test_the_running_app_accepts_the_token(folder: Path, env: dict[str, str]) -> None:
    """Sign-in is on, and CORS too if the environment configures it."""
    _, output, _ = token_command(folder)
    headers = {"Authorization": f"Bearer {output.strip()}", "Origin": ORIGIN}
    request = urllib.request.Request(  # noqa: S310 -- our own address
        f"{env['FUNCTIONS_URL']}/api/me/tokens", method="POST", headers=headers
    )

    with urllib.request.urlopen(request) as response:  # noqa: S310 -- the same
        issued = json.load(response)

    assert issued["token"].count(".") == 2
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN


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
def test_an_invalid_sign_in_is_rejected(env: dict[str, str], body: object) -> None:
    """The error has the form of the control endpoint's errors."""
    status, document = control(env, body)

    assert (status, document["error"]["code"]) == (400, "ControlError")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"app": ""},
        {"app": "billing", "roles": "Tokens.Issue"},
        {"app": "billing", "roles": ["Tokens.Steal"]},
        {"app": "billing", "minutes": 1441},
        {"app": "billing", "user": "alice"},
    ],
)
def test_an_invalid_request_for_an_application_is_rejected(
    env: dict[str, str], body: object
) -> None:
    """No token has a role that the app registration does not define."""
    status, document = control(env, body, "app-token")

    assert (status, document["error"]["code"]) == (400, "ControlError")


def test_the_command_reports_an_invalid_request(folder: Path, env: dict[str, str]) -> None:
    """The error is one line."""
    code, output, errors = token_command(folder, "--minutes", "100000")

    assert (code, output) == (1, "")
    assert errors.startswith("The request was rejected: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("left", [(), ("env",), ("env", "bundle")])
def test_without_a_local_azure_the_command_fails(tmp_path: Path, left: tuple[str, ...]) -> None:
    """The error is one line, also after a local Azure was killed. The command creates no file."""
    workspace = Workspace(tmp_path)
    if left:
        workspace.folder.mkdir()
        endpoint = {"ACS_CONTROL_URL": "https://localhost:1/_control", "ACS_CONTROL_KEY": "key"}
        workspace.write_env({**endpoint, "SSL_CERT_FILE": str(workspace.bundle)})
    if "bundle" in left:
        Authority().write_bundle(workspace.bundle)
    before = set(tmp_path.rglob("*"))

    code, output, errors = token_command(tmp_path, "--user", "alice")

    assert (code, output) == (1, "")
    assert errors == (f"No local Azure is running in {tmp_path}: start one with `make run`.\n")
    assert set(tmp_path.rglob("*")) == before


def test_the_emulator_alone_has_no_sign_in(tmp_path: Path) -> None:
    """It runs without an app to sign in to."""
    with command(tmp_path, "acs") as acs:
        acs.read_until("SSL_CERT_FILE")
        code, output, errors = token_command(tmp_path)

    assert (code, output) == (1, "")
    assert errors == "The ACS emulator alone has no sign-in: stop it, then start `make run`.\n"
