"""The app registration lets Entra issue the tokens that the app demands."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from identity_service.policies import Role
from tests.infra.bicep import INFRA

SCRIPT = INFRA / "registration.sh"
ROLES: dict[str, Any] = json.loads((INFRA / "registration" / "roles.json").read_text())
SCOPE: dict[str, Any] = json.loads((INFRA / "registration" / "scope.json").read_text())
NAMES = set(Role)

CLIENT = "11111111-2222-3333-4444-555555555555"
PRINCIPAL = "99999999-8888-7777-6666-555555555555"
RESOURCE = "77777777-8888-7777-6666-555555555555"
ROLE = "33333333-8888-7777-6666-555555555555"
GRAPH = "https://graph.microsoft.com/v1.0"
JSON = "--headers Content-Type=application/json"

CREATE = (
    "az ad app create --display-name Identity service --sign-in-audience AzureADMyOrg"
    " --query appId --output tsv"
)
SHOW = "az ad app show"
PATCH = f"az rest --method PATCH --url {GRAPH}/applications(appId='{CLIENT}') {JSON}"
URIS = f"az ad app show --id {CLIENT} --query identifierUris[]"
UPDATE = f"az ad app update --id {CLIENT} --identifier-uris api://{CLIENT} --output none"
FIND_PRINCIPAL = f"az ad sp show --id {CLIENT} --output none"
CREATE_PRINCIPAL = f"az ad sp create --id {CLIENT} --output none"

# Records each call. The first answer whose command the call begins with is its output: used once,
# unless it is the last one for this command.
_STUB = f"""#!{sys.executable}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
call = " ".join([pathlib.Path(__file__).name, *sys.argv[1:]])
with (folder / "calls").open("a") as calls:
    calls.write(call + "\\n")
answers = json.loads((folder / "answers.json").read_text())
for command, outputs in answers.items():
    if call.startswith(command):
        output = outputs.pop(0) if len(outputs) > 1 else outputs[0]
        (folder / "answers.json").write_text(json.dumps(answers))
        if output.startswith("ERROR"):
            sys.exit(output)
        print(output, file=sys.stderr if output.startswith("WARNING") else sys.stdout)
        break
"""


class Shell:
    """Runs the script with a stub of `az`.

    Attributes:
        answers: The outputs of `az`, by the beginning of the call. One that begins with "ERROR"
            is a failure, and one that begins with "WARNING" is on standard error.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.answers: dict[str, list[str]] = {
            "az ad app create": [CLIENT],
            URIS: [""],
            FIND_PRINCIPAL: ["ERROR: it does not exist"],
            f"az ad sp show --id {CLIENT} --query id": [RESOURCE],
            f"az ad sp show --id {CLIENT} --query appRoles[?value=='Tokens.Issue'].id": [ROLE],
        }
        for name in ("az", "sleep"):
            (folder / name).write_text(_STUB)
            (folder / name).chmod(0o755)
        (folder / "grep").symlink_to(str(shutil.which("grep")))

    @property
    def calls(self) -> list[str]:
        """The calls of `az` and `sleep`."""
        return (self._folder / "calls").read_text().splitlines()

    @property
    def changes(self) -> list[str]:
        """The calls that change something."""
        return [call for call in self.calls if re.search(r" (create|update|PATCH|POST) ", call)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a step."""
        (self._folder / "calls").touch()
        (self._folder / "answers.json").write_text(json.dumps(self.answers))
        return subprocess.run(  # noqa: S603 -- our own script
            [str(shutil.which("sh")), str(SCRIPT), *arguments],
            env={"PATH": str(self._folder)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """An empty tenant."""
    return Shell(tmp_path)


def test_roles_are_for_applications_only() -> None:
    """No user can have a role that opens the operations of services."""
    roles = [
        (role["value"], role["allowedMemberTypes"], role["isEnabled"]) for role in ROLES["appRoles"]
    ]

    assert sorted(roles) == [(name, ["Application"], True) for name in sorted(NAMES)]


def test_ids_are_unique() -> None:
    """Entra refuses an application with a repeated id of a role or scope."""
    entries = [*ROLES["appRoles"], *SCOPE["api"]["oauth2PermissionScopes"]]

    assert len({entry["id"] for entry in entries}) == len(entries)


def test_tokens_show_who_they_are_for() -> None:
    """Tokens have version 2, and those of applications the claim `idtyp`."""
    assert ROLES["api"] == {"requestedAccessTokenVersion": 2}
    assert ROLES["optionalClaims"] == {"accessToken": [{"name": "idtyp", "essential": False}]}


def test_documentation_matches() -> None:
    """docs/deploy.md has every role, and every step of the script."""
    page = (INFRA.parent / "docs" / "deploy.md").read_text()

    assert set(re.findall(r"^  \| `(\w+\.\w+)` \|", page, re.MULTILINE)) == NAMES
    assert set(re.findall(r"registration\.sh (\w+)", page)) == {"create", "roles", "scope", "grant"}


def test_create(shell: Shell) -> None:
    """A new application gets roles, a URI and a service principal. It has no secret."""
    done = shell.run("create", "Identity service")

    assert done.returncode == 0, done.stderr
    assert shell.changes == [
        CREATE,
        f"{PATCH} --body @{INFRA}/registration/roles.json --output none",
        UPDATE,
        CREATE_PRINCIPAL,
    ]


def test_create_prints_how_to_deploy(shell: Shell) -> None:
    """The commands are those of docs/deploy.md."""
    done = shell.run("create", "Identity service")

    assert done.stdout.splitlines()[1:] == [
        f"azd env set SIGN_IN_CLIENT_ID {CLIENT}",
        "azd env set SERVICE_AUTHENTICATION entra",
        "azd up",
    ]


def test_create_does_not_change_an_application_of_that_name(shell: Shell) -> None:
    """`az ad app create` would. The message says how to add the roles to it."""
    shell.answers["az ad app list"] = [CLIENT]

    done = shell.run("create", "Identity service")

    assert done.returncode == 1
    assert f"registration.sh roles {CLIENT}" in done.stderr
    assert shell.changes == []


def test_roles_can_be_repeated(shell: Shell) -> None:
    """The application has the roles already, and its service principal exists."""
    shell.answers |= {SHOW: [f"{' '.join(NAMES)} idtyp"], FIND_PRINCIPAL: [""]}
    shell.answers[URIS] = [f"api://{CLIENT}"]

    done = shell.run("roles", CLIENT)

    assert done.returncode == 0, done.stderr
    assert shell.changes == [f"{PATCH} --body @{INFRA}/registration/roles.json --output none"]


def test_the_uris_of_an_application_are_kept(shell: Shell) -> None:
    """Clients that already request tokens for another URI continue to get them."""
    shell.answers[URIS] = ["https://contoso.com/app\napi://contoso"]

    done = shell.run("roles", CLIENT)

    assert done.returncode == 0, done.stderr
    assert (
        f"az ad app update --id {CLIENT}"
        f" --identifier-uris https://contoso.com/app api://contoso api://{CLIENT} --output none"
    ) in shell.changes


@pytest.mark.parametrize(
    ("step", "values"), [("roles", "Orders.Read"), ("scope", "access_as_user")]
)
def test_nothing_of_an_application_is_removed(shell: Shell, step: str, values: str) -> None:
    """A write replaces all roles and scopes, so other ones are refused."""
    shell.answers[SHOW] = [values]

    done = shell.run(step, CLIENT)

    assert done.returncode == 1
    assert f"has '{values}' already" in done.stderr
    assert shell.changes == []


def test_scope(shell: Shell) -> None:
    """Users can sign in to the same application once it has the scope."""
    done = shell.run("scope", CLIENT)

    assert done.returncode == 0, done.stderr
    assert shell.changes == [f"{PATCH} --body @{INFRA}/registration/scope.json --output none"]
    assert [scope["value"] for scope in SCOPE["api"]["oauth2PermissionScopes"]] == ["Identity.Use"]


def test_grant(shell: Shell) -> None:
    """A managed identity gets the role at the application's service principal."""
    done = shell.run("grant", CLIENT, PRINCIPAL, "Tokens.Issue")

    body = {"principalId": PRINCIPAL, "resourceId": RESOURCE, "appRoleId": ROLE}
    assert done.returncode == 0, done.stderr
    [call] = shell.changes
    assert call == (
        f"az rest --method POST --url {GRAPH}/servicePrincipals/{RESOURCE}/appRoleAssignedTo"
        f" {JSON} --output none --body {json.dumps(body, separators=(',', ':'))}"
    )


def test_grant_can_be_repeated(shell: Shell) -> None:
    """A role that the identity has is no failure."""
    shell.answers["az rest"] = ["ERROR: Permission being assigned already exists on the object"]

    assert shell.run("grant", CLIENT, PRINCIPAL, "Tokens.Issue").returncode == 0


def test_grant_of_a_role_that_does_not_exist(shell: Shell) -> None:
    """The message names it."""
    done = shell.run("grant", CLIENT, PRINCIPAL, "Tokens.Isue")

    assert done.returncode == 1
    assert "no role 'Tokens.Isue'" in done.stderr
    assert shell.changes == []


@pytest.mark.parametrize("call", [SHOW, "az rest --method PATCH", URIS])
def test_a_new_application_is_waited_for(shell: Shell, call: str) -> None:
    """For some seconds, parts of Entra do not know it."""
    unknown = f"ERROR: Resource '{CLIENT}' does not exist"
    shell.answers[call] = [unknown, unknown, ""]

    done = shell.run("create", "Identity service")

    assert done.returncode == 0, done.stderr
    assert [call for call in shell.calls if call.startswith("sleep")] == ["sleep 2", "sleep 4"]


def test_an_application_that_cannot_be_read(shell: Shell) -> None:
    """Nothing is written, because what a write would remove is not known."""
    shell.answers[SHOW] = [f"ERROR: Resource '{CLIENT}' does not exist"]

    done = shell.run("roles", CLIENT)

    assert done.returncode == 1
    assert done.stderr == f"ERROR: ERROR: Resource '{CLIENT}' does not exist\n"
    assert shell.changes == []


def test_a_warning_is_no_value(shell: Shell) -> None:
    """What `az` says on standard error is not taken for a role or a URI of the application."""
    shell.answers |= {SHOW: ["WARNING: update az"], URIS: ["WARNING: update az"]}

    done = shell.run("roles", CLIENT)

    assert done.returncode == 0, done.stderr
    assert UPDATE in shell.changes


def test_missing_rights_are_reported_at_once(shell: Shell) -> None:
    """The message is that of `az`, and nothing else is tried."""
    shell.answers["az rest"] = ["ERROR: Insufficient privileges to complete the operation."]

    done = shell.run("roles", CLIENT)

    assert done.returncode == 1
    assert "Insufficient privileges" in done.stderr
    assert len(shell.changes) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("create",),
        ("create", "x' or 'a' eq 'a"),
        ("roles", "Identity service"),
        ("scope", "api://app"),
        ("grant", CLIENT, PRINCIPAL),
        ("grant", CLIENT, "my-identity", "Tokens.Issue"),
        ("stop", "now"),
    ],
)
def test_wrong_arguments_are_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    """Nothing is called."""
    done = shell.run(*arguments)

    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: ")
    assert shell.calls == []
