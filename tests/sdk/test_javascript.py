"""Microsoft's JavaScript SDK: every operation, with each kind of credential."""

import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.sdk.conftest import Azure

HERE = Path(__file__).parent
CREDENTIALS = ["connectionString", "key", "defaultAzureCredential"]


@pytest.fixture(scope="session", params=CREDENTIALS)
def results(azure: Azure, request: pytest.FixtureRequest) -> Any:
    """The results of all operations with one credential, and the verification of each token."""
    results = run_all_operations(azure, request.param)
    # Tokens are verified here, because a later test may reset the emulator.
    verified = {name: azure.client.verify(token) for name, token in results["tokens"].items()}
    return {**results, "verified": verified}


def run_all_operations(azure: Azure, credential: str) -> Any:
    """Run all operations in Node and return the results."""
    process = run_node(azure, "all_operations.mjs", credential)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def run_node(azure: Azure, *call: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run a script of this folder in Node, with these changes to the environment."""
    node = shutil.which("node")
    assert node, "Node is missing"
    assert (HERE / "node_modules").is_dir(), "the SDK is missing: run make setup"
    variables = {**azure.environment, **changes}
    return subprocess.run(  # noqa: S603 -- our own script
        [node, *call],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "")} | variables,
    )


@pytest.mark.parametrize(
    ("name", "scopes"), [("created", "chat.join,voip.join"), ("createdWithToken", "chat,voip")]
)
def test_a_token_is_issued_as_requested(results: Any, name: str, scopes: str) -> None:
    """It has the user, the scopes and the lifetime of the request."""
    claims = results["verified"][name]["claims"]

    assert f"8:{claims['skypeid']}" == results["users"][name]
    assert (claims["acsScope"], claims["exp"] - claims["iat"]) == (scopes, 3600)


def test_a_token_is_valid_until_it_is_revoked(results: Any) -> None:
    """Revoking it or deleting its user makes it invalid."""
    assert {name: result["reason"] for name, result in results["verified"].items()} == {
        "created": None,
        "createdWithToken": None,
        "revoked": "revoked",
        "deleted": "deleted",
        "exchanged": None,
    }


def test_the_sdk_reads_the_expiry(results: Any) -> None:
    """The SDK can parse the time format of the emulator."""
    expires_on = datetime.fromisoformat(results["expiresOn"])

    assert timedelta(0) < expires_on - datetime.now(UTC) <= timedelta(hours=1)


def test_an_error_has_status_and_code(results: Any) -> None:
    """The SDK returns status and code of the service."""
    assert results["errors"] == {
        "deletedUser": [404, "IdentityNotFound"],
        "unknownUser": [401, "IdentityNotOwned"],
        "noScopes": [400, "ValidationError"],
        "lifetimeTooShort": [400, "ValidationError"],
        "expiredTeamsToken": [401, "InvalidAccessToken"],
    }


def test_a_wrong_key_is_denied(azure: Azure) -> None:
    """The SDK reports the message of the service."""
    process = run_node(azure, "all_operations.mjs", "key", ACS_KEY="d3Jvbmc=")

    assert "Denied by the resource provider." in process.stderr
    assert process.returncode != 0


def test_the_default_credential_is_the_managed_identity(azure: Azure) -> None:
    """Without a key, the SDK gets one token, and none with a wrong identity header."""
    before = azure.identity_requests()

    script, credential = "all_operations.mjs", "defaultAzureCredential"
    refused = run_node(azure, script, credential, IDENTITY_HEADER="wrong")
    run_all_operations(azure, credential)

    assert refused.returncode != 0
    assert azure.identity_requests() == before + 1


def exchange(azure: Azure, entra_token: str, scope: str) -> "subprocess.CompletedProcess[str]":
    """Exchange a user's Entra token, with a new credential."""
    return run_node(azure, "entra_user.mjs", scope, ENTRA_TOKEN=entra_token)


def test_a_client_sdk_exchanges_its_users_entra_token(azure: Azure) -> None:
    """The token is valid, and has only the scope that the user has."""
    user = {"userId": str(uuid4()), "scopes": ["VoIP"]}
    entra_token = azure.client.control("POST", "/entra-user", user).document["token"]

    process = exchange(azure, entra_token, "https://communication.azure.com/clients/VoIP")

    assert process.returncode == 0, process.stderr
    exchanged = json.loads(process.stdout)
    verified = azure.client.verify(exchanged["token"])
    assert (verified["valid"], verified["claims"]["acsScope"]) == (True, "voip")
    assert 0 < exchanged["minutes"] <= 24 * 60


def test_a_client_sdk_gets_a_token_while_its_user_is_assigned(azure: Azure) -> None:
    """Before and after, ACS refuses the same Entra token. Removing the user revokes the token."""
    env = azure.environment
    path = f"tenants/{env['ACS_TEAMS_TENANT_ID']}/assignments/{env['ACS_TEAMS_USER_ID']}"
    assignment = f"/access/teamsExtension/{path}?api-version=2025-06-30"
    body = {"principalType": "user", "clientIds": [env["ACS_TEAMS_APP_ID"]]}
    scope = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"

    never_assigned = exchange(azure, env["ACS_TEAMS_USER_TOKEN"], scope)
    azure.client.signed("PUT", assignment, body)
    assigned = exchange(azure, env["ACS_TEAMS_USER_TOKEN"], scope)
    token = json.loads(assigned.stdout)["token"]
    valid = azure.client.verify(token)["valid"]
    azure.client.signed("DELETE", assignment)
    removed = exchange(azure, env["ACS_TEAMS_USER_TOKEN"], scope)

    refusal = "Service request failed. Status: 403"
    assert (refusal in never_assigned.stderr, refusal in removed.stderr) == (True, True)
    assert (valid, azure.client.verify(token)["reason"]) == (True, "revoked")
