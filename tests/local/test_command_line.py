"""Facts about `python -m local`: its output, its files, and a clean stop."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.identity import CommunicationTokenScope as Scope
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from identity_service.settings_table import SETTINGS
from local.azure import NOT_LOCAL, setting_names
from local.quickstart import UnexpectedResponse, Walkthrough
from local.servers import listen, serving
from tests.support.stack import PATIENCE, ROOT, SERVING, Command, command, read_env, request_control
from tests.support.waiting import suspend, wait_until

# The files that may stay: keys for the next start, certificates for open shells, and logs.
LEFT = {"keys.json", "lock", "ca-bundle.pem", "app.log", "app-without-retention.log"}
VARIABLES = {
    "FUNCTIONS_URL",
    "FUNCTION_KEY",
    "MASTER_KEY",
    "ACS_ENDPOINT",
    "ACS_CONNECTION_STRING",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "ACS_CONTROL_URL",
    "ACS_CONTROL_KEY",
    "ACS_TEAMS_USER_TOKEN",
    "ACS_TEAMS_EXPIRED_TOKEN",
    "ACS_TEAMS_APP_ID",
    "ACS_TEAMS_TENANT_ID",
    "ACS_TEAMS_USER_ID",
}
# Only Core Tools need these. The end-to-end tests start the app with the other settings alone.
FOR_CORE_TOOLS = {
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "FUNCTIONS_WORKER_RUNTIME",
}
# Variables of a developer's shell that would make the app use another resource or credential.
FOREIGN = {
    "COMMUNICATION_SERVICES_ENDPOINT": "https://foreign.example",
    "COMMUNICATION_SERVICES_ACCESSKEY": "Zm9yZWlnbg==",
    "COMMUNICATION_SERVICES_CONNECTION_STRING": "endpoint=https://foreign.example;accesskey=a2V5",
    "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    "AZURE_TENANT_ID": "00000000-0000-0000-0000-000000000000",
    "AZURE_CLIENT_ID": "00000000-0000-0000-0000-000000000000",
    "AZURE_CLIENT_SECRET": "foreign",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
    "AzureWebJobsStorage__accountName": "foreign",
    "AzureWebJobs.create_identity.Disabled": "true",
    "REGISTRY_STORAGE__tableServiceUri": "https://foreign.example",
    "IDENTITY_ENDPOINT": "http://foreign.example",
    "IDENTITY_HEADER": "foreign",
    "MSI_ENDPOINT": "http://foreign.example",
    "SSL_CERT_FILE": "/foreign.pem",
    "CLEANUP_SCHEDULE": "never",
    "PURGE_PROTECTION": "true",
    "LOCAL_HOST_FUNCTION_KEY": "foreign",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A `run` that is serving."""
    folder = tmp_path_factory.mktemp("everything") / "a user's folder"
    with command(folder, "run") as running:
        running.read_until(SERVING["run"])
        yield running


@pytest.fixture(scope="module")
def run_with_entra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A `run` whose services authenticate with Entra."""
    folder = tmp_path_factory.mktemp("entra") / "a user's folder"
    with command(folder, "run", "--set=SERVICE_AUTHENTICATION=entra") as running:
        running.read_until(SERVING["run"])
        yield running


@pytest.fixture(scope="module")
def everything(run: Command) -> Path:
    """The folder of a `run` that is serving."""
    return run.folder


@pytest.mark.usefixtures("curl")
def test_run_walks_through_and_serves(run: Command) -> None:
    """It prints each step with its response, addresses, the key, and a curl command that works."""
    env = read_env(run.folder)
    pasted = run.output.partition("Try it:\n")[2].partition("\n\n")[0]

    done = subprocess.run(  # noqa: S602 -- a user pastes it into a shell
        pasted, shell=True, capture_output=True, check=True, timeout=60
    )

    assert [f"\n{step}. " in run.output for step in range(1, 7)] == [True] * 6
    assert "its claims: " in run.output
    for name in ("FUNCTIONS_URL", "FUNCTION_KEY", "ACS_ENDPOINT", "IDENTITY_ENDPOINT"):
        assert env[name] in run.output
    assert json.loads(done.stdout).keys() >= {"id", "token", "expiresOn"}


@pytest.mark.parametrize("start", ["run", "run_with_entra"])
def test_run_prints_a_command_for_operators(start: str, request: pytest.FixtureRequest) -> None:
    """The line for acsid works as it is printed, in the folder of the project."""
    running: Command = request.getfixturevalue(start)
    pasted = running.output.partition("with the command line:\n")[2].partition("\n\n")[0]

    done = subprocess.run(  # noqa: S602 -- a user pastes it into a shell
        pasted, shell=True, cwd=ROOT, capture_output=True, check=True, timeout=60
    )

    assert done.stdout.split()[:2] == [b"id", b"state"]


@pytest.mark.usefixtures("curl")
def test_run_works_with_entra_instead_of_keys(run_with_entra: Command) -> None:
    """The walkthrough succeeds without a key, and the printed command gets its token by itself."""
    pasted = run_with_entra.output.partition("Try it:\n")[2].partition("\n\n")[0]

    done = subprocess.run(  # noqa: S602 -- a user pastes it into a shell
        pasted, shell=True, cwd=ROOT, capture_output=True, check=True, timeout=60
    )

    assert run_with_entra.errors == ""
    assert json.loads(done.stdout).keys() >= {"id", "token", "expiresOn"}
    assert read_env(run_with_entra.folder)["FUNCTION_KEY"] not in run_with_entra.output


async def test_after_a_reset_the_app_has_identities_that_acs_does_not_know(run: Command) -> None:
    """Its tokens are 503 wrong_resource until the app forgets it. acs/README.md says so."""
    env = read_env(run.folder)
    request = {"userId": "bob", "scopes": ["chat"]}
    headers = {"x-functions-key": env["FUNCTION_KEY"]}

    async with aiohttp.ClientSession(f"{env['FUNCTIONS_URL']}/api/", headers=headers) as session:
        before = await _post(session, "identities/with-token", request)
        request_control(env, "POST", "reset")
        known = await _post(session, "identities/with-token", request)
        new = await _post(session, "identities/with-token", {"scopes": ["chat"]})
        forgotten = await session.delete(f"identities/{before['id']}/registration")
        after = await _post(session, "identities/with-token", request)

    assert known["code"] == "wrong_resource"
    assert forgotten.ok
    assert {"token"} <= new.keys() & after.keys()
    assert after["id"] != before["id"]


@pytest.mark.parametrize("name", ["run", "azure", "acs"])
def test_a_second_start_in_the_same_folder_is_rejected(everything: Path, name: str) -> None:
    """The error is one line, and the first start is not affected."""
    before = read_env(everything)

    with command(everything, name) as second:
        code = second.wait()

    assert (code, second.output) == (1, "")
    assert second.errors == f"A local Azure is already running in {everything}: stop it first.\n"
    assert read_env(everything) == before


def test_only_the_owner_can_read_the_env_file(everything: Path) -> None:
    """The same holds for the keys."""
    paths = (everything / ".local" / name for name in ("env", "keys.json", "."))

    assert [_mode(path) for path in paths] == [0o600, 0o600, 0o700]


def test_sh_can_read_the_env_file(everything: Path) -> None:
    """It exports every variable, with any characters in its value."""
    script = f'set -eu; . "{everything}/.local/env"; not_exported=1; env -0'

    output = subprocess.run(  # noqa: S603 -- our own script
        ["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True
    ).stdout

    read = dict(entry.split("=", 1) for entry in output.split("\0") if entry)
    assert read.keys() - VARIABLES <= {"PWD", "SHLVL", "_", "OLDPWD"}
    assert {name: read[name] for name in VARIABLES} == read_env(everything)
    assert Path(read["SSL_CERT_FILE"]).is_absolute()


def test_the_authoritys_key_is_not_on_disk(everything: Path) -> None:
    """No private key in the folder belongs to the certificate that clients trust."""
    bundle = (everything / ".local" / "ca-bundle.pem").read_bytes()
    authority = x509.load_pem_x509_certificate(bundle).public_key()

    files = (path for path in everything.rglob("*") if path.is_file())
    found = [path for path in files if b"PRIVATE KEY" in path.read_bytes()[:100]]

    keys = [load_pem_private_key(path.read_bytes(), None).public_key() for path in found]
    assert authority not in keys
    assert [_mode(path) for path in found] == [0o600] * len(found)


def test_everything_listens_on_loopback_only(everything: Path) -> None:
    """Other addresses of the machine refuse connections, even other loopback addresses."""
    env = read_env(everything)
    urls = [env[name] for name in ("FUNCTIONS_URL", "ACS_ENDPOINT", "IDENTITY_ENDPOINT")]
    ports = [int(url.split(":")[2].partition("/")[0]) for url in urls]

    for port in ports:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError, match=r"refused|assign|timed"):
            socket.create_connection(("127.0.0.2", port), timeout=1)


Send = Callable[[int, int], None]


@pytest.mark.parametrize(
    ("name", "number", "send"),
    [
        ("run", signal.SIGTERM, os.kill),
        ("run", signal.SIGINT, os.killpg),
        ("azure", signal.SIGHUP, os.killpg),  # the terminal has been closed
        ("acs", signal.SIGTERM, os.kill),
        ("acs", signal.SIGINT, os.kill),
    ],
)
def test_a_signal_stops_everything(
    tmp_path: Path, name: str, number: signal.Signals, send: Send
) -> None:
    """The exit code is 0. There is no error, no process and no file except keys and logs."""
    with command(tmp_path, name) as running:
        running.read_until(SERVING[name])

        send(running.process.pid, number)

        assert running.wait() == 0
        assert running.leaves_nothing_behind()
    assert running.errors == ""
    assert _left_in(tmp_path) <= LEFT


@pytest.mark.parametrize(
    ("name", "number", "send"),
    [("quickstart", signal.SIGTERM, os.kill), ("run", signal.SIGINT, os.killpg)],
)
def test_a_signal_during_the_walkthrough_leaves_nothing_behind(
    tmp_path: Path, name: str, number: signal.Signals, send: Send
) -> None:
    """No process, no address file and no traceback is left, even if the app stops first."""
    with command(tmp_path, name) as running:
        running.read_until("Create an identity")

        send(running.process.pid, number)

        running.wait()
        assert running.leaves_nothing_behind()
    assert "Traceback" not in running.errors
    assert _left_in(tmp_path) <= LEFT


@pytest.mark.parametrize(
    ("name", "seen", "code"),
    [
        ("run", "Create an identity", 0),  # it still writes
        ("run", SERVING["run"], 0),
        ("acs", SERVING["acs"], 0),
        ("quickstart", "Create an identity", 130),
    ],
)
def test_the_end_of_its_reader_stops_everything(
    tmp_path: Path, name: str, seen: str, code: int
) -> None:
    """`python -m local | head` ends like a closed terminal: no error and no process."""
    with command(tmp_path, name) as running:
        running.read_until(seen)
        assert running.process.stdout

        running.process.stdout.close()

        assert running.process.wait(PATIENCE) == code
        assert running.leaves_nothing_behind()
        assert running.errors == ""
    assert _left_in(tmp_path) <= LEFT


def test_output_that_nothing_reads_is_no_error(tmp_path: Path) -> None:
    """This also holds if Python still has the output in its buffer when it ends."""
    script = f"{sys.executable} -m local acs --folder '{tmp_path}' --acs-port 0 | head -n 1"

    done = subprocess.run(  # noqa: S602 -- a user types it into a shell
        script, shell=True, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE
    )

    assert done.stdout.startswith("ACS emulator at ")
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["run", "quickstart"])
def test_an_app_that_ends_stops_the_walkthrough(tmp_path: Path, name: str) -> None:
    """The exit code is 1, and no process is left."""
    with command(tmp_path, name) as running:
        running.read_until("Create an identity")

        os.kill(_recorded(tmp_path)[1], signal.SIGKILL)

        code = running.wait()
        assert running.leaves_nothing_behind()
    assert code == 1
    assert "Traceback" not in running.errors
    reasons = ("The app has stopped unexpectedly", "The walkthrough failed at step")
    assert running.errors.splitlines()[-1].startswith(reasons)


@pytest.mark.parametrize("name", ["run", "azure"])
def test_storage_that_ends_stops_everything(tmp_path: Path, name: str) -> None:
    """The error says so, the exit code is 1, and no process is left."""
    with command(tmp_path, name) as running:
        running.read_until(SERVING[name])

        os.kill(_recorded(tmp_path)[0], signal.SIGKILL)

        code = running.wait()
        assert running.leaves_nothing_behind()
    assert (code, running.errors) == (1, "Azurite has stopped unexpectedly: exit code -9\n")
    assert _left_in(tmp_path) <= LEFT


def test_storage_that_ends_stops_the_walkthrough(tmp_path: Path) -> None:
    """It does not wait for a purge that can no longer happen."""
    with command(tmp_path, "run") as running:
        running.read_until("Create an identity")

        os.kill(_recorded(tmp_path)[0], signal.SIGKILL)

        code = running.wait()
        assert running.leaves_nothing_behind()
    assert code == 1
    assert running.errors.endswith("Azurite has stopped unexpectedly: exit code -9\n")


def test_nothing_outlives_a_start_that_is_killed(tmp_path: Path) -> None:
    """Both apps and Azurite end by themselves, because nothing else could end them."""
    with command(tmp_path, "run") as running:
        running.read_until("Create an identity")

        running.process.kill()

        running.wait()
        wait_until(running.leaves_nothing_behind)


def test_the_next_start_ends_what_a_killed_one_has_left(tmp_path: Path) -> None:
    """A process that is suspended cannot end by itself."""
    with command(tmp_path, "azure") as killed:
        killed.read_until(SERVING["azure"])
        suspend(_recorded(tmp_path)[0])
        killed.process.kill()
        killed.wait()
        left_behind = not killed.leaves_nothing_behind()

        with command(tmp_path, "acs") as acs:
            acs.read_until(SERVING["acs"])
            acs.end()

        assert left_behind
        assert killed.leaves_nothing_behind()
    assert acs.output.startswith("Ended what an earlier run has left behind: 1 process(es).\n")
    assert acs.errors == ""


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("acs", ["acs"]),
        ("azure", ["acs", "identity", "blob", "queue", "table"]),
        ("run", ["app", "acs", "identity", "blob", "queue", "table"]),
    ],
)
def test_all_ports_in_use_are_reported_with_their_options(
    tmp_path: Path, name: str, ports: list[str]
) -> None:
    """There is one line for each, and nothing has been started."""
    with socket.create_server(("127.0.0.1", 0)) as used:
        number = used.getsockname()[1]
        with command(tmp_path, name, *(f"--{port}-port={number}" for port in ports)) as running:
            code = running.wait()

    assert code == 1
    assert running.errors.splitlines() == [
        f"Port {number} is in use: choose another with --{port}-port." for port in ports
    ]
    assert _left_in(tmp_path) == {"lock"}


def test_ports_must_differ(tmp_path: Path) -> None:
    """The second one is reported."""
    with socket.create_server(("127.0.0.1", 0)) as used:
        free = used.getsockname()[1]

    with command(tmp_path, "azure", f"--acs-port={free}", f"--blob-port={free}") as running:
        code = running.wait()

    assert code == 1
    assert running.errors == f"Port {free} is in use: choose another with --blob-port.\n"


def test_the_quickstart_ignores_variables_of_the_shell(tmp_path: Path) -> None:
    """It succeeds: they change neither the app's credential nor its resources."""
    with command(tmp_path, "quickstart", environ=FOREIGN) as quickstart:
        code = quickstart.wait()

        assert quickstart.leaves_nothing_behind()
    assert (code, quickstart.errors) == (0, "")
    assert not (tmp_path / ".local" / "env").exists()


def test_the_walkthrough_leaves_out_a_purge_that_is_held(tmp_path: Path) -> None:
    """It says so, and the other steps succeed."""
    with command(tmp_path, "quickstart", "--set=PURGE_HOLD=True") as quickstart:
        code = quickstart.wait()

    assert (code, quickstart.errors) == (0, "")
    assert quickstart.output.endswith("The purge is left out, because PURGE_HOLD is true.\n")
    assert "Run the sweep" not in quickstart.output


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize(
    ("allowed", "requested"),
    [("voip", ["voip"]), ("chat.join,voip.join", ["chat.join", "voip.join"])],
)
def test_the_walkthrough_requests_allowed_scopes(
    tmp_path: Path, allowed: str, requested: list[str]
) -> None:
    """It succeeds with the settings of docs/retirement.md, and so does the printed command."""
    with command(tmp_path, "run", f"--set=SERVICE_TOKEN_SCOPES={allowed}") as running:
        running.read_until(SERVING["run"])
        pasted = running.output.partition("Try it:\n")[2].partition("\n\n")[0]
        done = subprocess.run(  # noqa: S602 -- a user pastes it into a shell
            pasted, shell=True, capture_output=True, check=True, timeout=60
        )

    assert running.errors == ""
    assert f'/tokens {{"scopes": {json.dumps(requested)}}}' in running.output
    assert json.loads(done.stdout).keys() >= {"id", "token", "expiresOn"}


def test_a_refused_step_is_explained(tmp_path: Path) -> None:
    """The error has the step, the problem and the changed settings. The app keeps running."""
    option = f"--set=COMMUNICATION_SERVICES_RESOURCE_ID={uuid4()}"
    with command(tmp_path, "run", option) as running:
        running.read_until(SERVING["run"])

        assert running.end() == 0
    assert running.errors == (
        "The walkthrough failed at step 1, Create an identity: expected 201, got 503"
        " wrong_resource: The registry belongs to another ACS resource than this app uses.\n"
        "It does not work with every setting. You set: COMMUNICATION_SERVICES_RESOURCE_ID.\n"
        "The app keeps running.\n"
    )


async def test_a_purge_that_does_not_happen_is_explained() -> None:
    """The error has the step, how long it waited, and what the registry still has."""

    async def respond(request: web.Request) -> web.Response:
        status = HTTPStatus.OK if request.method == "GET" else HTTPStatus.ACCEPTED
        return web.json_response({"state": "deleted"}, status=status)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", respond)
    async with serving(application, listen(0, "-")) as served, aiohttp.ClientSession() as session:
        url = f"http://localhost:{served.port}"
        walkthrough = Walkthrough(session, lambda _: None, ["voip"], patience=0.1)

        with pytest.raises(UnexpectedResponse, match="is not purged") as raised:
            await walkthrough.purge(url, "8:acs:a", f"{url}/sweep", {})

    assert str(raised.value).endswith('not purged after 0.1 seconds: {"state": "deleted"}')
    assert walkthrough.step == "step 2, Run the sweep"


def test_set_changes_a_setting_of_the_app(tmp_path: Path) -> None:
    """The case of the name does not matter. A value may contain `=`, and the last one wins."""
    options = ("SIGN_IN_SCOPE=first", "sign_in_scope=a=b", "PURGE_HOLD=true")
    with command(tmp_path, "azure", *(f"--set={option}" for option in options)) as azure:
        azure.read_until(SERVING["azure"])
        values = json.loads((tmp_path / "local.settings.json").read_text())["Values"]
        azure.end()

    assert (values["SIGN_IN_SCOPE"], values["PURGE_HOLD"]) == ("a=b", "true")
    assert "sign_in_scope" not in values


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["PURGE_HOLD"], "PURGE_HOLD does not have the form NAME=VALUE"),
        (
            ["=true", "PURGE_HOLDS=true", "PURGE_HOLD=true"],
            (
                "=true does not have the form NAME=VALUE;"
                " PURGE_HOLDS is not a setting: did you mean PURGE_HOLD?"
            ),
        ),
        (
            ["website_auth_enabled=True", "OTHER=1"],
            (
                "WEBSITE_AUTH_ENABLED cannot be set locally: the local front end sets it;"
                " OTHER is not a setting: see docs/settings.md"
            ),
        ),
    ],
)
def test_unknown_settings_are_rejected(tmp_path: Path, options: list[str], error: str) -> None:
    """Each is named, and nothing is started. A setting that cannot be set locally has a reason."""
    with command(tmp_path, "run", *(f"--set={option}" for option in options)) as running:
        code = running.wait()

    assert (code, running.output) == (2, "")
    assert running.errors.endswith(f"error: argument --set: {error}\n")
    assert _left_in(tmp_path) == set()


def test_every_setting_can_be_set_or_has_a_reason() -> None:
    """The README lists those that cannot be set, and no setting of docs/settings.md is unknown."""
    readme = (ROOT / "local" / "README.md").read_text()
    listed = readme.partition("cannot be set locally:")[2].partition("Each port")[0]

    assert {*setting_names(), *NOT_LOCAL} == {setting.name for setting in SETTINGS}
    assert not set(setting_names()) & set(NOT_LOCAL)
    assert [name for name in NOT_LOCAL if f"`{name}`" not in listed] == []


@pytest.mark.parametrize("name", ["run", "azure", "telemetry"])
def test_invalid_settings_stop_the_start(tmp_path: Path, name: str) -> None:
    """The message names each and how to fix it, also those that only do not fit each other."""
    options = (
        *("PURGE_PROTECTION=maybe", "CLEANUP_MAX_ATTEMPTS=0"),
        *("SERVICE_TOKEN_DEFAULT_MINUTES=600", "SERVICE_TOKEN_MAX_MINUTES=60"),
    )
    with command(tmp_path, name, *(f"--set={option}" for option in options)) as running:
        code = running.wait()

        assert running.leaves_nothing_behind()
    assert (code, running.output) == (1, "")
    assert running.errors.startswith("Invalid settings: ")
    assert set(running.errors.removeprefix("Invalid settings: ").strip().split(". ")) == {
        "PURGE_PROTECTION must be true or false",
        "CLEANUP_MAX_ATTEMPTS must be a whole number from 1 to 1000",
        "SERVICE_TOKEN_DEFAULT_MINUTES must not be more than SERVICE_TOKEN_MAX_MINUTES.",
    }


def test_the_emulator_alone_has_no_settings(tmp_path: Path) -> None:
    """It starts no app."""
    with command(tmp_path, "acs", "--set=PURGE_HOLD=true") as acs:
        code = acs.wait()

    assert (code, acs.output) == (1, "")
    assert acs.errors == "--set changes a setting of the app, which `acs` does not start.\n"


def test_the_sdk_can_use_the_emulator_alone(tmp_path: Path) -> None:
    """It needs only the connection string and the authority that the command prints."""
    with command(tmp_path, "acs") as acs:
        bundle = acs.read_until(SERVING["acs"]).split(": ")[1].strip()
        connection_string = acs.output.partition("connection string: ")[2].partition("\n")[0]
        client = CommunicationIdentityClient.from_connection_string(
            connection_string, connection_verify=bundle
        )
        user, token = client.create_user_and_token([Scope.CHAT])
        client.delete_user(user)
        client._identity_service_client.close()

    assert user.properties["id"].startswith("8:acs:")
    assert token.token.startswith("eyJ")


def test_azure_writes_the_settings_and_removes_them(tmp_path: Path) -> None:
    """Core Tools can start the app with the file, and only its owner can read it."""
    path = tmp_path / "local.settings.json"
    with command(tmp_path, "azure", "--app-port=7099") as azure:
        azure.read_until(SERVING["azure"])
        document, access = json.loads(path.read_text()), _mode(path)
        azure.end()

    values = document["Values"]
    assert access == 0o600
    assert document["Host"] == {"LocalHttpPort": 7099}
    assert values["AZURE_TOKEN_CREDENTIALS"] == "ManagedIdentityCredential"
    assert values["AzureWebJobsStorage__tableServiceUri"].startswith("https://127.0.0.1:")
    assert values.keys() >= FOR_CORE_TOOLS
    assert not path.exists()


AZ = """#!{python}
# The Azure CLI of a developer who has signed in to the other local Azure.
import json, sys, urllib.request
resource = sys.argv[sys.argv.index("--resource") + 1]
request = urllib.request.Request(
    f"{endpoint}?api-version=2019-08-01&resource={{resource}}",
    headers={{"X-IDENTITY-HEADER": "{header}"}},
)
token = json.load(urllib.request.urlopen(request))
print(json.dumps({{"accessToken": token["access_token"], "expires_on": int(token["expires_on"])}}))
"""


def test_the_app_can_use_another_acs_resource(run: Command, tmp_path: Path) -> None:
    """It signs in with the Azure CLI. Here, the resource is the emulator of another local Azure."""
    resource = read_env(run.folder)
    az = tmp_path / "bin" / "az"
    az.parent.mkdir()
    az.write_text(
        AZ.format(
            python=sys.executable,
            endpoint=resource["IDENTITY_ENDPOINT"],
            header=resource["IDENTITY_HEADER"],
        )
    )
    az.chmod(0o755)
    options = [
        f"--set=COMMUNICATION_SERVICES_ENDPOINT={resource['ACS_ENDPOINT']}",
        "--set=AZURE_TOKEN_CREDENTIALS=AzureCliCredential",
    ]
    environ = {
        "PATH": f"{az.parent}:{os.environ['PATH']}",
        "SSL_CERT_FILE": resource["SSL_CERT_FILE"],
    }
    with command(tmp_path, "run", *options, environ=environ) as laptop:
        laptop.read_until(SERVING["run"])
        pasted = laptop.output.partition("Try it:\n")[2].partition("\n\n")[0]
        done = subprocess.run(  # noqa: S602 -- a user pastes it into a shell
            pasted, shell=True, capture_output=True, check=True, timeout=60
        )

    identity_id = json.loads(done.stdout)["id"]
    state = json.loads(request_control(resource, "GET", f"identities/{identity_id}"))["state"]
    assert state == "active"
    assert "Create an identity" not in laptop.output


async def _post(session: aiohttp.ClientSession, path: str, body: object) -> dict[str, str]:
    async with session.post(path, json=body) as response:
        document: dict[str, str] = await response.json(content_type=None)
    return document


def _recorded(folder: Path) -> list[int]:
    """The processes that run, in the order of their start: Azurite, and then the app."""
    record = (folder / ".local" / "processes").read_text().splitlines()
    return [int(line.split()[0]) for line in record]


def _left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
