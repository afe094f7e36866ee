"""The token refreshers for servers and bots, in Python and in Node, with a key and with Entra."""

import importlib.util
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.error import HTTPError

import pytest
from azure.identity import ManagedIdentityCredential

from local.entra import APP_AUDIENCE
from tests.support.client import claims
from tests.support.stack import PATIENCE, ROOT, App, Azure, running_app

# A user, and the minutes after the start at which their token is requested.
Request = tuple[float, str]
# Minutes after which a token that is valid for an hour is due.
DUE = 50


@dataclass(frozen=True)
class Server:
    """A server that uses a refresher: with a key, or else with its managed identity."""

    service: str
    key: str = ""
    application: str = ""


def run_python(server: Server, requests: Sequence[Request]) -> list[str]:
    """Runs examples/python/refresher.py."""
    path = ROOT / "examples" / "python" / "refresher.py"
    spec = importlib.util.spec_from_file_location("refresher", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    start = now = time.time()
    results = []
    with ManagedIdentityCredential() as credential:
        authenticate = (
            module.with_key(server.key)
            if server.key
            else module.with_entra(credential, server.application)
        )
        token_for = module.refresher(server.service, authenticate, lambda: now)
        for minutes, user in requests:
            now = start + minutes * 60
            try:
                results.append(token_for(user))
            except HTTPError as refused:
                with refused:
                    results.append(str(refused.code))
    return results


def run_node(server: Server, requests: Sequence[Request]) -> list[str]:
    """Runs examples/node/refresher.mjs."""
    lines = [json.dumps({"minutes": minutes, "user": user}) for minutes, user in requests]
    variables = {"SERVICE": server.service, "KEY": server.key, "APPLICATION": server.application}
    done = subprocess.run(  # noqa: S603 -- our own script
        ["node", str(Path(__file__).parent / "run_refresher.mjs")],  # noqa: S607 -- from PATH
        input="\n".join(lines),
        env={
            **{name: os.environ[name] for name in ("PATH", *MANAGED_IDENTITY)},
            **{name: value for name, value in variables.items() if value},
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return [each.get("token") or each["error"].split()[0] for each in results]


# The variables by which App Service tells an app where its managed identity is.
MANAGED_IDENTITY = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")
# Runs a refresher. Returns a token or the status of the error for each request.
Refresh = Callable[[Server, Sequence[Request]], list[str]]


@pytest.fixture(params=[run_python, run_node], ids=["python", "node"])
def refresh(
    request: pytest.FixtureRequest, azure: Azure, monkeypatch: pytest.MonkeyPatch
) -> Refresh:
    """Runs the refresher of one language, on a machine that has a managed identity."""
    for name in MANAGED_IDENTITY:
        monkeypatch.setenv(name, azure.env[name])
    run: Refresh = request.param
    return run


@pytest.fixture(scope="session")
def apps(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, App]]:
    """Two apps whose tokens are valid for an hour: services use keys, or Entra."""
    hour = {"SERVICE_TOKEN_DEFAULT_MINUTES": "60"}
    entra = {**hour, "SERVICE_AUTHENTICATION": "entra"}
    folders = [tmp_path_factory.mktemp(name) for name in ("keys", "entra")]
    with (
        running_app(azure, folders[0], hour) as with_keys,
        running_app(azure, folders[1], entra) as with_entra,
    ):
        yield {"keys": with_keys, "entra": with_entra}


@pytest.fixture(params=["keys", "entra"])
def server(request: pytest.FixtureRequest, apps: dict[str, App]) -> Server:
    """A server that may call the service."""
    app = apps[request.param]
    if request.param == "keys":
        return Server(app.url, key=app.function_key)
    return Server(app.url, application=APP_AUDIENCE)


def test_a_user_gets_a_token(refresh: Refresh, server: Server, user: str) -> None:
    """It has the scope chat."""
    [token] = refresh(server, [(0, user)])

    assert claims(token)["acsScope"] == "chat"


def test_a_token_is_kept_until_it_is_due(refresh: Refresh, server: Server, user: str) -> None:
    """After `refreshAfter` the user gets another token for the same identity."""
    requests = [(minutes, user) for minutes in (0, 0, DUE - 1, DUE + 1)]

    first, second, third, due = refresh(server, requests)

    assert first == second == third != due
    assert claims(first)["skypeid"] == claims(due)["skypeid"]


def test_each_user_has_a_token(refresh: Refresh, server: Server, user: str) -> None:
    """Tokens are kept per user."""
    requests = [(0, user), (0, f"other-{user}"), (0, user)]

    mine, others, mine_again = refresh(server, requests)

    assert mine == mine_again
    assert claims(mine)["skypeid"] != claims(others)["skypeid"]


@pytest.mark.parametrize(
    "wrong", [Server("keys", key="wrong"), Server("entra", application="another-application")]
)
def test_an_error_is_raised_and_not_kept(
    refresh: Refresh, apps: dict[str, App], wrong: Server, user: str
) -> None:
    """With a wrong key, or a token for another application, every request is 401."""
    server = replace(wrong, service=apps[wrong.service].url)

    assert refresh(server, [(0, user), (0, user)]) == ["401", "401"]
