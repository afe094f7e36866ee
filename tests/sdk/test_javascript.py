"""Microsoft's JavaScript SDK, unchanged: every operation, with each of its credentials."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.conftest import Azure

HERE = Path(__file__).parent
CREDENTIALS = ["connectionString", "key", "defaultAzureCredential"]

ERRORS = {
    "deletedUser": [404, "IdentityNotFound"],
    "stranger": [401, "IdentityNotOwned"],
    "noScopes": [400, "ValidationError"],
    "shortLife": [400, "ValidationError"],
    "expiredTeamsToken": [401, "InvalidAccessToken"],
}


@pytest.fixture(scope="session", params=CREDENTIALS)
def walk(azure: Azure, request: pytest.FixtureRequest) -> Any:
    """What came of one walk through all operations with one credential."""
    return walked(azure, request.param)


def walked(azure: Azure, credential: str, **others: str) -> Any:
    """Run the walk in Node; what it printed."""
    ran = run(azure, credential, **others)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def run(azure: Azure, credential: str, **others: str) -> "subprocess.CompletedProcess[str]":
    """Run the walk in Node, with these variables in place of the right ones."""
    node = shutil.which("node")
    assert node, "Node is missing"
    assert (HERE / "node_modules").is_dir(), "the SDK is missing: run make setup"
    variables = {**azure.environment, "NODE_EXTRA_CA_CERTS": str(azure.acs.bundle), **others}
    return subprocess.run(  # noqa: S603 -- our own script
        [node, str(HERE / "walk.mjs"), credential],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "")} | variables,
    )


@pytest.mark.parametrize("how", ["created", "createdWithToken"])
def test_a_token_is_its_users(azure: Azure, walk: Any, how: str) -> None:
    """A token works and names the user it was made for, whether made with the user or later."""
    verdict = azure.verify(walk[how]["token"])

    assert verdict["valid"]
    assert f"8:{verdict['claims']['skypeid']}" == walk[how]["id"]


@pytest.mark.parametrize(
    ("how", "scopes"), [("created", "chat.join,voip.join"), ("createdWithToken", "chat,voip")]
)
def test_a_token_has_its_scopes_and_lifetime(
    azure: Azure, walk: Any, how: str, scopes: str
) -> None:
    """Both are as they were asked for."""
    claims = azure.verify(walk[how]["token"])["claims"]

    assert (claims["acsScope"], claims["exp"] - claims["iat"]) == (scopes, 3600)


def test_the_sdk_reads_the_expiry(walk: Any) -> None:
    """It understands the emulator's way of writing a time."""
    expires_on = datetime.fromisoformat(walk["expiresOn"])

    assert timedelta(0) < expires_on - datetime.now(UTC) <= timedelta(hours=1)


@pytest.mark.parametrize("fate", ["revoked", "deleted"])
def test_a_token_dies(azure: Azure, walk: Any, fate: str) -> None:
    """After its user's tokens were revoked, or its user deleted."""
    verdict = azure.verify(walk[fate])

    assert verdict["reason"] == fate


def test_a_teams_token_is_exchanged(azure: Azure, walk: Any) -> None:
    """The Entra token of a Teams user becomes an access token that works."""
    verdict = azure.verify(walk["exchanged"])

    assert verdict["valid"]


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_has_status_and_code(walk: Any, case: str) -> None:
    """The SDK hands on the service's own."""
    error = walk["errors"][case]

    assert error == ERRORS[case]


def test_a_wrong_key_is_denied(azure: Azure) -> None:
    """A key that is not the resource's does not get in."""
    ran = run(azure, "key", ACS_KEY="d3Jvbmc=")

    assert "Denied by the resource provider." in ran.stderr
    assert ran.returncode != 0


def test_the_default_credential_is_the_managed_identity(azure: Azure) -> None:
    """Without a key, the SDK asks the managed identity endpoint for the token it sends."""
    before = azure.identity_requests().get("https://communication.azure.com", 0)

    walked(azure, "defaultAzureCredential")

    after = azure.identity_requests()["https://communication.azure.com"]
    assert after == before + 1


def test_a_wrong_identity_header_is_refused(azure: Azure) -> None:
    """Nobody gets a token without the app's own header."""
    ran = run(azure, "defaultAzureCredential", IDENTITY_HEADER="wrong")

    assert ran.returncode != 0


def test_the_lock_names_no_registry() -> None:
    """Packages come from whatever registry npm is configured with."""
    lock = json.loads((HERE / "package-lock.json").read_text())

    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
