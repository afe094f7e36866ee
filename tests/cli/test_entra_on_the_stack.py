"""`acsid` with Entra tokens, the real app and the local Azure."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_on_the_stack import Begin
from tests.support.client import OF_ANOTHER_RESOURCE, Control
from tests.support.stack import App, Azure, running_app

ENTRA = {"SERVICE_AUTHENTICATION": "entra"}


@pytest.fixture(scope="module")
def app(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app that accepts applications of Entra, and no keys."""
    with running_app(azure, tmp_path_factory.mktemp("app"), ENTRA) as started:
        yield started


def operator(run_in: Begin, app: App, folder: Path, token: str) -> Run:
    """Returns an operator who has this token, and no key."""
    return run_in({"ACSID_URL": app.url, "ACSID_TOKEN": token, "HOME": str(folder)})


async def test_an_application_with_its_roles(
    run_in: Begin, app: App, control: Control, tmp_path: Path
) -> None:
    """It can do what its roles allow."""
    token = await control.app_token("operator", "Identities.Manage", "Identities.Read")
    acsid = operator(run_in, app, tmp_path, token)
    created = acsid("create", "--json")
    identity_id = created.json()["id"]
    ended = [acsid("suspend", identity_id, "--yes"), acsid("find", identity_id, "--json")]

    assert [each.code for each in ended] == [0, 0], ended
    assert ended[1].json()["state"] == "suspended"


async def test_a_missing_role(run_in: Begin, app: App, control: Control, tmp_path: Path) -> None:
    """The error names the role: exit code 5. The work on a file ends at once."""
    acsid = operator(run_in, app, tmp_path, await control.app_token("reader", "Identities.Read"))
    (tmp_path / "ids.csv").write_text(f"id\n{OF_ANOTHER_RESOURCE}\n")
    one = acsid("suspend", OF_ANOTHER_RESOURCE, "--yes", "--json")
    many = acsid("suspend", "--file", "ids.csv", "--yes", "--json")

    assert (one.code, one.error()["allowed"]) == (5, "Identities.Manage")
    assert (many.code, many.json()["left"]) == (5, 1)


async def test_a_person(
    run_in: Begin, app: App, control: Control, tmp_path: Path, user: str
) -> None:
    """The token of a person opens nothing, and the error says why: exit code 5."""
    acsid = operator(run_in, app, tmp_path, await control.sign_in(user))
    ended = acsid("list")

    assert ended.code == 5
    assert "the token of an application" in ended.errors


async def test_an_expired_token(run_in: Begin, app: App, control: Control, tmp_path: Path) -> None:
    """ACSID_TOKEN cannot be renewed: exit code 5."""
    token = await control.app_token("operator", "Identities.Read", minutes=-1)
    ended = operator(run_in, app, tmp_path, token)("list")

    assert ended.code == 5
    assert "ACSID_TOKEN may have expired" in ended.errors


def test_a_key(run_in: Begin, app: App, tmp_path: Path) -> None:
    """A key opens nothing either, and the error says what does: exit code 5."""
    environ = {"ACSID_URL": app.url, "ACSID_KEY": app.function_key, "HOME": str(tmp_path)}
    ended = run_in(environ)("list")

    assert ended.code == 5
    assert "acsid --entra" in ended.errors
