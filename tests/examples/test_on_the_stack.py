"""The refreshers and the backends call the app, with a key and with Entra."""

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

from local.entra import APP_AUDIENCE
from tests.examples.conftest import BACKENDS, Driver, new_user, running_backend
from tests.support.client import Control, claims
from tests.support.stack import ROOT, App, Azure, running_app

# Seconds after which a token that is valid for an hour is due.
DUE = 50 * 60


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


@pytest.fixture
def machine(started_driver: Driver, azure: Azure) -> Driver:
    """A machine that has a managed identity."""
    identity = {name: azure.env[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")}
    started_driver.do("environ", identity)
    return started_driver


@pytest.fixture(params=["keys", "entra"])
def driver(request: pytest.FixtureRequest, machine: Driver, apps: dict[str, App]) -> Driver:
    """A refresher that may call the app."""
    app = apps[request.param]
    key = app.function_key if request.param == "keys" else ""
    machine.do("new", app.url, key, APP_AUDIENCE, {})
    return machine


def test_a_user_gets_a_token(driver: Driver, user: str) -> None:
    """It has the scope chat."""
    [token] = driver.get(user)

    assert claims(token)["acsScope"] == "chat"


def test_a_token_is_kept_until_it_is_due(driver: Driver, user: str) -> None:
    """After `refreshAfter` the user gets another token for the same identity."""
    first, second = driver.get(user, user)
    driver.do("advance", DUE - 30)
    [third] = driver.get(user)
    driver.do("advance", 60)

    [due] = driver.get(user)

    assert first == second == third != due
    assert claims(first)["skypeid"] == claims(due)["skypeid"]


def test_each_user_has_a_token(driver: Driver, user: str) -> None:
    """Tokens are kept per user."""
    mine, others, mine_again = driver.get(user, f"other-{user}", user)

    assert mine == mine_again
    assert claims(mine)["skypeid"] != claims(others)["skypeid"]


async def test_revoking_ends_the_tokens(driver: Driver, control: Control, user: str) -> None:
    """The next call returns a new one."""
    [old] = driver.get(user)
    driver.do("revoke", user)

    [new] = driver.get(user)

    assert await control.token_state(old) == "revoked"
    assert await control.token_state(new) == "valid"


async def test_deleting_blocks_the_user(driver: Driver, user: str) -> None:
    """The tokens end, and there are no new ones."""
    driver.get(user)
    driver.do("delete", user)

    [blocked] = driver.get(user)

    assert blocked["code"] == "identity_deleted"


async def test_deleting_can_be_repeated(driver: Driver, user: str) -> None:
    """It succeeds again."""
    driver.do("delete", user)

    assert driver.do("delete", user) is None


@pytest.mark.parametrize("way", ["keys", "entra"])
def test_an_error_is_not_kept(machine: Driver, apps: dict[str, App], way: str, user: str) -> None:
    """With a wrong key, or a token for another application, every call gets 401."""
    wrong_key = "wrong" if way == "keys" else ""
    machine.do("new", apps[way].url, wrong_key, "another-application", {})

    assert [each["status"] for each in machine.get(user, user)] == [401, 401]


@pytest.mark.parametrize("language", BACKENDS)
def test_a_backend_needs_no_key(
    apps: dict[str, App], azure: Azure, tmp_path: Path, language: str
) -> None:
    """Without one, it calls with its managed identity."""
    # Node finds the package for Entra beside the backend, where `npm install` puts it.
    ours = tmp_path / "examples" / language
    # Another test may be writing to `__pycache__`.
    copytree(ROOT / "examples" / language, ours, ignore=ignore_patterns("__pycache__"))
    (tmp_path / "node_modules").symlink_to(ROOT / "tests" / "sdk" / "node_modules")
    identity = {name: azure.env[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")}
    environ = {"SERVICE_URL": apps["entra"].url, "SERVICE_APPLICATION": APP_AUDIENCE, **identity}
    with running_backend(language, environ, tmp_path) as client:
        token = new_user(client).token()

    assert claims(token)["acsScope"] == "chat"
