"""The token refreshers for servers and bots, in Python and in Node."""

import importlib.util
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.support.client import claims
from tests.support.stack import PATIENCE, ROOT, App, Azure, running_app

# A user, and the minutes after the start at which their token is requested.
Request = tuple[float, str]
# Runs a refresher with a key. Returns a token or the status of the error for each request.
Refresh = Callable[[Sequence[Request], str], list[str]]
# Minutes after which a token that is valid for an hour is due.
DUE = 50


@pytest.fixture(scope="session")
def app(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app whose tokens are valid for an hour."""
    settings = {"SERVICE_TOKEN_DEFAULT_MINUTES": "60"}
    with running_app(azure, tmp_path_factory.mktemp("app"), settings) as started:
        yield started


def run_python(service: str, requests: Sequence[Request], key: str) -> list[str]:
    """Runs examples/python/refresher.py."""
    path = ROOT / "examples" / "python" / "refresher.py"
    spec = importlib.util.spec_from_file_location("refresher", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    start = now = time.time()
    token_for = module.refresher(service, key, lambda: now)
    results = []
    for minutes, user in requests:
        now = start + minutes * 60
        try:
            results.append(token_for(user))
        except HTTPError as refused:
            with refused:
                results.append(str(refused.code))
    return results


def run_node(service: str, requests: Sequence[Request], key: str) -> list[str]:
    """Runs examples/node/refresher.mjs."""
    lines = [json.dumps({"minutes": minutes, "user": user}) for minutes, user in requests]
    done = subprocess.run(  # noqa: S603 -- our own script
        ["node", str(Path(__file__).parent / "run_refresher.mjs")],  # noqa: S607 -- from PATH
        input="\n".join(lines),
        env={"PATH": os.environ["PATH"], "SERVICE": service, "KEY": key},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    results = [json.loads(line) for line in done.stdout.splitlines()]
    return [each.get("token") or each["error"].split()[0] for each in results]


@pytest.fixture(params=[run_python, run_node], ids=["python", "node"])
def refresh(request: pytest.FixtureRequest, app: App) -> Refresh:
    """Runs the refresher of one language."""
    return partial(request.param, app.url)


def test_a_user_gets_a_token(refresh: Refresh, app: App, user: str) -> None:
    """It has the scope chat."""
    [token] = refresh([(0, user)], app.function_key)

    assert claims(token)["acsScope"] == "chat"


def test_a_token_is_kept_until_it_is_due(refresh: Refresh, app: App, user: str) -> None:
    """After `refreshAfter` the user gets another token for the same identity."""
    requests = [(minutes, user) for minutes in (0, 0, DUE - 1, DUE + 1)]

    first, second, third, due = refresh(requests, app.function_key)

    assert first == second == third != due
    assert claims(first)["skypeid"] == claims(due)["skypeid"]


def test_each_user_has_a_token(refresh: Refresh, app: App, user: str) -> None:
    """Tokens are kept per user."""
    requests = [(0, user), (0, f"other-{user}"), (0, user)]

    mine, others, mine_again = refresh(requests, app.function_key)

    assert mine == mine_again
    assert claims(mine)["skypeid"] != claims(others)["skypeid"]


def test_an_error_is_raised_and_not_kept(refresh: Refresh, user: str) -> None:
    """With a wrong key every request is 401."""
    assert refresh([(0, user), (0, user)], "wrong") == ["401", "401"]
