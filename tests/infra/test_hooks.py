"""azd's hooks give the app its role on an existing ACS resource, and take it back."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.infra.bicep import INFRA

ROOT = INFRA.parent
HOOKS = msgspec.yaml.decode((ROOT / "azure.yaml").read_bytes())["hooks"]
# azd runs the first on Linux and macOS, the second on Windows. Each is tested where its shell is
# installed. GitHub's machines have both.
SHELLS = {"posix": "sh", "windows": "pwsh"}
INSTALLED = [system for system, shell in SHELLS.items() if shutil.which(shell)]

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
RESOURCE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-chat"
    "/providers/Microsoft.Communication/communicationServices/contoso"
)
PRINCIPAL = "99999999-8888-7777-6666-555555555555"
NAME = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
ASSIGNMENT = f"{RESOURCE}/providers/Microsoft.Authorization/roleAssignments/{NAME}"
OWNER = "09976791-48a7-449e-bb21-39d1a415f350"

SHOW = f"az resource show --ids {RESOURCE} --output none"
CREATE = (
    f"az role assignment create --name {NAME} --assignee-object-id {PRINCIPAL}"
    f" --assignee-principal-type ServicePrincipal --role {OWNER} --scope {RESOURCE}"
    f" --subscription {SUBSCRIPTION} --output none"
)
DELETE = f"az role assignment delete --ids {ASSIGNMENT} --subscription {SUBSCRIPTION} --output none"

# Records each call. A file with the name of the command is the message with which it fails.
_STUB = f"""#!{sys.executable}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
name = pathlib.Path(__file__).name
with (folder / "calls").open("a") as calls:
    calls.write(" ".join([name, *sys.argv[1:]]) + "\\n")
if name == "azd":
    values = json.loads((folder / "env.json").read_text())
    (folder / "env.json").write_text(json.dumps(values | {{sys.argv[3]: sys.argv[4]}}))
for message in folder.glob("*.fails"):
    if " ".join(sys.argv[1:]).startswith(message.stem):
        sys.exit(message.read_text())
"""


class Deployment:
    """Runs the hooks as azd does, with stubs of `az` and `azd`.

    Attributes:
        env: The values of azd's environment, which hooks get as environment variables.
    """

    def __init__(self, folder: Path, system: str) -> None:
        self._folder = folder
        self._system = system
        self.env: dict[str, str] = {"AZURE_SUBSCRIPTION_ID": SUBSCRIPTION}
        for name in ("az", "azd"):
            (folder / name).write_text(_STUB)
            (folder / name).chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """The calls of `az` so far."""
        calls = self._folder / "calls"
        lines = calls.read_text().splitlines() if calls.exists() else []
        return [line for line in lines if line.startswith("az ")]

    def attach(self) -> None:
        """Sets the values of a deployment next to an existing resource."""
        self.env |= {
            "COMMUNICATION_RESOURCE_ID": RESOURCE,
            "APP_PRINCIPAL_ID": PRINCIPAL,
            "COMMUNICATION_ROLE_ASSIGNMENT_ID": ASSIGNMENT,
        }

    def fail(self, command: str, message: str) -> None:
        """Lets a command of `az` fail."""
        (self._folder / f"{command}.fails").write_text(message)

    def remove_az(self) -> None:
        """Uninstalls `az`."""
        (self._folder / "az").unlink()

    def down(self) -> subprocess.CompletedProcess[str]:
        """Removes the outputs, as `azd down` does, and runs the hook."""
        del self.env["APP_PRINCIPAL_ID"], self.env["COMMUNICATION_ROLE_ASSIGNMENT_ID"]
        return self.run("postdown")

    def run(self, hook: str) -> subprocess.CompletedProcess[str]:
        """Runs a hook from a script, as azd does with a command."""
        values = self._folder / "env.json"
        values.write_text(json.dumps(self.env))
        run = HOOKS[hook][self._system]
        shell = SHELLS[self._system]
        assert run["shell"] == shell
        script = self._folder / {"sh": "hook.sh", "pwsh": "hook.ps1"}[shell]
        script.write_text(run["run"])
        tools = os.pathsep.join([str(self._folder), str(self._shell_only())])
        done = subprocess.run(  # noqa: S603 -- our own script
            [str(shutil.which(shell)), str(script)],
            cwd=ROOT,
            env={"PATH": tools, "HOME": str(self._folder), "NO_COLOR": "1", **self.env},
            capture_output=True,
            text=True,
            check=False,
        )
        self.env = json.loads(values.read_text())
        return done

    def _shell_only(self) -> Path:
        """A folder with the tools that the hooks use, and without a real `az` or `azd`."""
        folder = self._folder / "tools"
        folder.mkdir(exist_ok=True)
        for tool in ("sh", "grep", "tr", "cut"):
            if not (folder / tool).exists():
                (folder / tool).symlink_to(str(shutil.which(tool)))
        return folder


@pytest.fixture(params=INSTALLED)
def deployment(tmp_path: Path, request: pytest.FixtureRequest) -> Deployment:
    """A deployment that creates its own ACS resource."""
    return Deployment(tmp_path, request.param)


@pytest.fixture
def attached(deployment: Deployment) -> Deployment:
    """A deployment next to an existing ACS resource."""
    deployment.attach()
    return deployment


def assert_fails(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    """Asserts that a hook failed, and that its message has these texts."""
    assert done.returncode == 1
    message = " ".join(done.stderr.split())
    assert [text for text in texts if text not in message] == []


@pytest.mark.parametrize("hook", HOOKS)
def test_a_new_resource_needs_no_hook(deployment: Deployment, hook: str) -> None:
    """Without an existing resource no hook calls `az`, which need not be installed."""
    deployment.remove_az()

    done = deployment.run(hook)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_system_has_every_hook() -> None:
    """Each hook has a command on Linux, macOS and Windows."""
    assert {hook: set(systems) for hook, systems in HOOKS.items()} == {
        hook: set(SHELLS) for hook in ("preprovision", "postprovision", "postdown")
    }


def test_check_reads_the_resource(attached: Deployment) -> None:
    """Before a deployment the resource is read, and nothing else."""
    done = attached.run("preprovision")

    assert done.returncode == 0
    assert attached.calls == [SHOW]


def test_check_before_azd_knows_the_subscription(attached: Deployment) -> None:
    """Before the first deployment azd may not have asked for it."""
    del attached.env["AZURE_SUBSCRIPTION_ID"]

    assert attached.run("preprovision").returncode == 0


@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_case_of_the_id_does_not_matter(attached: Deployment, case: Callable[[str], str]) -> None:
    """Azure's tools differ in the case of `resourceGroups`."""
    attached.env["COMMUNICATION_RESOURCE_ID"] = case(RESOURCE)

    assert attached.run("preprovision").returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        "contoso",
        "https://contoso.communication.azure.com",
        RESOURCE.rpartition("/")[0],
        f"{RESOURCE}/",
        f"{RESOURCE}/providers/Microsoft.Authorization/locks/keep",
        RESOURCE.replace("Communication/communicationServices", "Storage/storageAccounts"),
    ],
)
def test_a_malformed_id_is_refused(attached: Deployment, wrong: str) -> None:
    """The message has the id, and says how to get the right one. `az` is not called."""
    attached.env["COMMUNICATION_RESOURCE_ID"] = wrong

    done = attached.run("preprovision")

    assert_fails(done, "is not the id of an ACS resource", "az communication show --name ACS")
    assert attached.calls == []


def test_a_resource_of_another_subscription_is_refused(attached: Deployment) -> None:
    """The deployment cannot read it. The message names the deployment's subscription."""
    attached.env["AZURE_SUBSCRIPTION_ID"] = PRINCIPAL

    done = attached.run("preprovision")

    assert_fails(done, f"another subscription than this deployment ({PRINCIPAL})")
    assert attached.calls == []


def test_a_missing_resource_is_reported(attached: Deployment) -> None:
    """The message has that of `az` and what is required."""
    attached.fail("resource show", "ERROR: (ResourceNotFound) The Resource was not found.")

    done = attached.run("preprovision")

    assert_fails(done, "(ResourceNotFound)", "must name an existing ACS resource", "Reader")


def test_a_missing_az_is_reported(attached: Deployment) -> None:
    """Before anything is deployed, the message says what to install."""
    attached.remove_az()

    assert_fails(attached.run("preprovision"), "The Azure CLI is missing", "az login")


@pytest.mark.parametrize("hook", ["preprovision", "postprovision"])
def test_az_must_be_signed_in(attached: Deployment, hook: str) -> None:
    """The message says how: a sign-in of azd is not one of az."""
    attached.fail("r", "ERROR: Please run 'az login' to setup account.")

    assert_fails(attached.run(hook), "Sign in with 'az login'", "separately")


def test_the_role_is_assigned(attached: Deployment) -> None:
    """The app's identity gets the role on the resource, and on nothing else."""
    done = attached.run("postprovision")

    assert done.returncode == 0
    assert attached.calls == [CREATE]


def test_assigning_is_repeatable(attached: Deployment) -> None:
    """Each deployment makes the same call. Its name is fixed, so Azure changes nothing."""
    for _ in range(2):
        assert attached.run("postprovision").returncode == 0

    assert attached.calls == [CREATE, CREATE]


def test_a_role_assigned_by_hand_is_enough(attached: Deployment) -> None:
    """The same role under another name is no failure."""
    attached.fail("role assignment create", "ERROR: (RoleAssignmentExists) It exists.")

    assert attached.run("postprovision").returncode == 0


def test_missing_rights_are_reported(attached: Deployment) -> None:
    """The message has that of `az`, the roles that suffice, and a command for a colleague."""
    attached.fail("role assignment create", "ERROR: (AuthorizationFailed) The client 'x' ...")

    done = attached.run("postprovision")

    assert_fails(
        done,
        "(AuthorizationFailed)",
        "Owner or Role Based Access Control Administrator",
        CREATE.removesuffix(" --output none"),
    )


def test_down_removes_the_role(attached: Deployment) -> None:
    """`azd down` forgets the outputs; the hook still removes what it assigned, once."""
    attached.run("postprovision")

    assert attached.down().returncode == 0
    assert attached.run("postdown").returncode == 0

    assert attached.calls == [CREATE, DELETE]


def test_down_after_a_failed_assignment(attached: Deployment) -> None:
    """An assignment whose result is unknown is removed too."""
    attached.fail("role assignment create", "ERROR: Connection reset by peer")
    attached.run("postprovision")

    assert attached.down().returncode == 0

    assert attached.calls == [CREATE, DELETE]


def test_a_lock_keeps_the_role(attached: Deployment) -> None:
    """The message has the command. Until it succeeds, each `azd down` tries again."""
    attached.run("postprovision")
    attached.fail("role assignment delete", "ERROR: (ScopeLocked) Remove the lock.")

    done = attached.down()

    assert_fails(
        done, "(ScopeLocked)", "Remove a lock", f"role assignment delete --ids {ASSIGNMENT}"
    )
    assert attached.run("postdown").returncode == 1


def test_down_after_the_resource_was_deleted(attached: Deployment) -> None:
    """Its assignments went with it."""
    attached.run("postprovision")
    attached.fail("role assignment delete", "ERROR: (ResourceNotFound) It was not found.")

    assert attached.down().returncode == 0


def test_a_detached_resource_loses_the_role(attached: Deployment) -> None:
    """A deployment without the id removes the assignment of the one before."""
    attached.run("postprovision")
    attached.env |= {"COMMUNICATION_RESOURCE_ID": "", "COMMUNICATION_ROLE_ASSIGNMENT_ID": ""}

    done = attached.run("postprovision")

    assert done.returncode == 0
    assert attached.calls == [CREATE, DELETE]


def test_the_hooks_know_the_role_and_the_outputs() -> None:
    """They assign the same role as for a new resource, and main.bicep has the outputs they read."""
    scripts = [(INFRA / "hooks" / f"communication.{kind}").read_text() for kind in ("sh", "ps1")]
    main = (INFRA / "main.bicep").read_text()

    assert OWNER in (INFRA / "communication.bicep").read_text()
    assert all(OWNER in script for script in scripts)
    assert all(
        f"output {name} string" in main and all(name in script for script in scripts)
        for name in ("APP_PRINCIPAL_ID", "COMMUNICATION_ROLE_ASSIGNMENT_ID")
    )
