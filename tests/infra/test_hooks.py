"""The hooks of azd: the role on an existing ACS resource, and what can go wrong when deploying."""

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
from tools.package.checks import app_functions

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
APP = "func-chat-dev-abc"
SITE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-chat-dev/providers/Microsoft.Web/sites/{APP}"
)
FUNCTIONS = [f"{APP}/{name}" for name in sorted(app_functions())]
LOCKS = [f"{SITE}/providers/Microsoft.Authorization/locks/keep-{name}" for name in "ab"]

SHOW = f"az resource show --ids {RESOURCE} --output none"
CREATE = (
    f"az role assignment create --name {NAME} --assignee-object-id {PRINCIPAL}"
    f" --assignee-principal-type ServicePrincipal --role {OWNER} --scope {RESOURCE}"
    f" --subscription {SUBSCRIPTION} --output none"
)
DELETE = f"az role assignment delete --ids {ASSIGNMENT} --subscription {SUBSCRIPTION} --output none"

# Records each call. The first answer whose command the call begins with is its output: used once,
# unless it is the last one for this command. An ERROR goes to standard error.
_STUB = f"""#!{sys.executable}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
name = pathlib.Path(__file__).name
with (folder / "calls").open("a") as calls:
    calls.write(" ".join([name, *sys.argv[1:]]) + "\\n")
if name == "azd":
    values = json.loads((folder / "env.json").read_text())
    (folder / "env.json").write_text(json.dumps(values | {{sys.argv[3]: sys.argv[4]}}))
answers = json.loads((folder / "answers.json").read_text())
for command, outputs in answers.items():
    if name == "az" and " ".join(sys.argv[1:]).startswith(command):
        output = outputs.pop(0) if len(outputs) > 1 else outputs[0]
        (folder / "answers.json").write_text(json.dumps(answers))
        if output.startswith("ERROR"):
            sys.exit(output)
        print(output)
        break
"""
# The stub of `sleep` takes the place of PowerShell's own command too.
_NO_SLEEP = "function Start-Sleep { & sleep @args }\n"


class Deployment:
    """Runs the hooks as azd does, with stubs of `az` and `azd`.

    Attributes:
        env: The values of azd's environment, which hooks get as environment variables.
    """

    def __init__(self, folder: Path, system: str) -> None:
        self._folder = folder
        self._system = system
        self._answers: dict[str, list[str]] = {}
        self.env: dict[str, str] = {
            "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        }
        for name in ("az", "azd", "sleep"):
            (folder / name).write_text(_STUB)
            (folder / name).chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """The calls of `az` so far."""
        return [line for line in self._recorded if line.startswith("az ")]

    @property
    def slept(self) -> list[str]:
        """The seconds of each wait so far."""
        return [line.split()[-1] for line in self._recorded if line.startswith("sleep ")]

    @property
    def _recorded(self) -> list[str]:
        calls = self._folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def attach(self) -> None:
        """Sets the values of a deployment next to an existing resource."""
        self.env |= {
            "COMMUNICATION_RESOURCE_ID": RESOURCE,
            "APP_PRINCIPAL_ID": PRINCIPAL,
            "COMMUNICATION_ROLE_ASSIGNMENT_ID": ASSIGNMENT,
        }

    def deploy(self) -> None:
        """Sets the values of a deployed app."""
        self.env |= {
            "AZURE_RESOURCE_GROUP": "rg-chat-dev",
            "FUNCTION_APP_NAME": APP,
            "FUNCTION_APP_URL": f"https://{APP}.azurewebsites.net",
            "CHECK_TRIES": "3",
        }

    def answer(self, command: str, *outputs: str) -> None:
        """Sets what a command of `az` prints, call by call. With an ERROR it fails."""
        self._answers[command] = list(outputs)

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
        (self._folder / "answers.json").write_text(json.dumps(self._answers))
        run = HOOKS[hook][self._system]
        shell = SHELLS[self._system]
        assert run["shell"] == shell
        script = self._folder / {"sh": "hook.sh", "pwsh": "hook.ps1"}[shell]
        script.write_text((_NO_SLEEP if shell == "pwsh" else "") + run["run"])
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


@pytest.fixture
def deployed(deployment: Deployment) -> Deployment:
    """A deployed app."""
    deployment.deploy()
    return deployment


def reported(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The functions that the hook misses."""
    _, _, missing = " ".join(done.stderr.split()).partition("these functions do not exist: ")
    return missing.partition(" If none exists")[0].split()


@pytest.mark.parametrize("hook", ["preprovision", "postprovision", "predown", "postdown"])
def test_a_new_resource_needs_no_hook(deployment: Deployment, hook: str) -> None:
    """Without an existing resource no hook calls `az`, which need not be installed."""
    deployment.remove_az()

    done = deployment.run(hook)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_system_has_every_hook() -> None:
    """Each hook has a command on Linux, macOS and Windows."""
    assert {hook: set(systems) for hook, systems in HOOKS.items()} == {
        hook: set(SHELLS)
        for command in ("provision", "deploy", "down")
        for hook in (f"pre{command}", f"post{command}")
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
    attached.answer("resource show", "ERROR: (ResourceNotFound) The Resource was not found.")

    done = attached.run("preprovision")

    assert_fails(done, "(ResourceNotFound)", "must name an existing ACS resource", "Reader")


def test_a_missing_az_is_reported(attached: Deployment) -> None:
    """Before anything is deployed, the message says what to install."""
    attached.remove_az()

    assert_fails(attached.run("preprovision"), "The Azure CLI is missing", "az login")


@pytest.mark.parametrize("hook", ["preprovision", "postprovision"])
def test_az_must_be_signed_in(attached: Deployment, hook: str) -> None:
    """The message says how: a sign-in of azd is not one of az."""
    attached.answer("r", "ERROR: Please run 'az login' to setup account.")

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
    attached.answer("role assignment create", "ERROR: (RoleAssignmentExists) It exists.")

    assert attached.run("postprovision").returncode == 0


def test_missing_rights_are_reported(attached: Deployment) -> None:
    """The message has that of `az`, the roles that suffice, and a command for a colleague."""
    attached.answer("role assignment create", "ERROR: (AuthorizationFailed) The client 'x' ...")

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
    attached.answer("role assignment create", "ERROR: Connection reset by peer")
    attached.run("postprovision")

    assert attached.down().returncode == 0

    assert attached.calls == [CREATE, DELETE]


def test_a_lock_keeps_the_role(attached: Deployment) -> None:
    """The message has the command. Until it succeeds, each `azd down` tries again."""
    attached.run("postprovision")
    attached.answer("role assignment delete", "ERROR: (ScopeLocked) Remove the lock.")

    done = attached.down()

    assert_fails(
        done, "(ScopeLocked)", "Remove a lock", f"role assignment delete --ids {ASSIGNMENT}"
    )
    assert attached.run("postdown").returncode == 1


def test_down_after_the_resource_was_deleted(attached: Deployment) -> None:
    """Its assignments went with it."""
    attached.run("postprovision")
    attached.answer("role assignment delete", "ERROR: (ResourceNotFound) It was not found.")

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


@pytest.mark.parametrize("listed", ["", "ERROR: (NotFound) The host is not running."])
def test_the_first_publication_waits_for_the_roles(deployed: Deployment, listed: str) -> None:
    """A publication is not repeated by azd, and Azure refuses it until the roles have spread."""
    deployed.answer("functionapp function list", listed)

    done = deployed.run("predeploy")

    assert done.returncode == 0
    assert deployed.slept == ["120"]
    assert "If it fails with 403 all the same" in done.stdout


def test_the_wait_can_be_set(deployed: Deployment) -> None:
    """Where roles take longer, or were assigned long before."""
    deployed.env["ROLES_WAIT_SECONDS"] = "7"

    deployed.run("predeploy")

    assert deployed.slept == ["7"]


def test_a_later_publication_does_not_wait(deployed: Deployment) -> None:
    """An app that has a function has been published with its roles."""
    deployed.answer("functionapp function list", FUNCTIONS[0])

    done = deployed.run("predeploy")

    assert (done.returncode, done.stdout) == (0, "")
    assert deployed.slept == []


def test_the_publication_is_checked(deployed: Deployment) -> None:
    """Azure reads the app's functions again, every function is listed, and `health` responds."""
    deployed.answer("functionapp function list", "\n".join(FUNCTIONS))

    done = deployed.run("postdeploy")

    assert done.returncode == 0
    assert "every function exists" in done.stdout
    assert [call.split(" --")[0] for call in deployed.calls] == [
        *("az rest", "az functionapp function list", "az rest")
    ]
    assert f"--url {SITE}/host/default/sync?" in deployed.calls[0]
    assert f"--url https://{APP}.azurewebsites.net/api/health" in deployed.calls[2]


def test_the_check_waits_for_the_functions(deployed: Deployment) -> None:
    """The list is often incomplete right after a publication."""
    deployed.answer(
        "functionapp function list",
        f"{APP}/WarmUp",
        "ERROR: (ServiceUnavailable)",
        "\n".join(FUNCTIONS),
    )

    assert deployed.run("postdeploy").returncode == 0
    assert deployed.slept == ["10", "10"]


def test_a_missing_function_is_reported(deployed: Deployment) -> None:
    """Another function whose name contains its name does not take its place."""
    listed = [each for each in FUNCTIONS if each != f"{APP}/create_identity"]
    deployed.answer("functionapp function list", "\n".join(listed))

    assert reported(deployed.run("postdeploy")) == ["create_identity"]


def test_an_app_without_functions_is_reported(deployed: Deployment) -> None:
    """The message has every function, the app's Python, and how to publish a package for it."""
    deployed.answer("functionapp function list", "")
    deployed.answer("functionapp show", "3.12")

    done = deployed.run("postdeploy")

    assert set(reported(done)) == app_functions()
    assert deployed.slept == ["10", "10"]
    assert_fails(
        done,
        "built it for another Python than the app's, which is 3.12.",
        "make package PACKAGE_PYTHON=3.12",
        "dist/acs-identity-service-python3.12.zip",
        f"func azure functionapp publish {APP} --no-build --python",
        "azd hooks run postdeploy",
    )


def test_a_health_that_fails_is_reported(deployed: Deployment) -> None:
    """The message has its response, and what to do."""
    deployed.answer("functionapp function list", "\n".join(FUNCTIONS))
    deployed.answer("rest --method get", 'ERROR: Service Unavailable({"status":"not_configured"})')

    done = deployed.run("postdeploy")

    assert_fails(done, "every function exists, but", '"not_configured"', "azd hooks run postdeploy")


@pytest.mark.parametrize("hook", ["predeploy", "postdeploy"])
def test_publishing_needs_az(deployed: Deployment, hook: str) -> None:
    """Without it nothing could be checked, so it is missed before the app is published."""
    deployed.remove_az()

    assert_fails(deployed.run(hook), "The Azure CLI is missing")


@pytest.mark.parametrize("hook", ["predeploy", "postdeploy"])
def test_publishing_needs_a_sign_in(deployed: Deployment, hook: str) -> None:
    """Without waiting: time does not sign anybody in."""
    deployed.answer("", "ERROR: Please run 'az login' to setup account.")

    assert_fails(deployed.run(hook), "Sign in with 'az login'")
    assert deployed.slept == []


def test_down_names_the_locks(deployed: Deployment) -> None:
    """Before azd asks for confirmation, with the command that removes them."""
    deployed.answer("lock list", "\n".join(["WARNING: a new release is available", *LOCKS]))

    done = deployed.run("predown")

    assert_fails(done, "cannot delete it", f"az lock delete --ids {' '.join(LOCKS)}")


@pytest.mark.parametrize("listed", ["", "ERROR: (AuthorizationFailed) The client 'x' ..."])
def test_down_without_a_known_lock(deployed: Deployment, listed: str) -> None:
    """The command continues, and Azure has the last word."""
    deployed.answer("lock list", listed)

    assert deployed.run("predown").returncode == 0


def test_the_outputs_that_the_hooks_read_exist() -> None:
    """main.bicep has the outputs; azd sets the values that begin with AZURE itself."""
    main = (INFRA / "main.bicep").read_text()
    scripts = [(INFRA / "hooks" / f"deployment.{kind}").read_text() for kind in ("sh", "ps1")]

    for name in ("AZURE_RESOURCE_GROUP", "FUNCTION_APP_NAME", "FUNCTION_APP_URL"):
        assert f"output {name} string" in main
        assert all(name in script for script in scripts)
