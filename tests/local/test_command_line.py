"""`python -m local`: what it says, what it writes, and that it leaves nothing behind."""

import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.communication.identity import CommunicationIdentityClient
from azure.communication.identity import CommunicationTokenScope as Scope
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.stack import SERVING, Command, command, read_env

# The files that may stay: for the next start, and for whoever wants to know what happened.
LEFT = {"keys.json", "lock", "app.log", "app-without-retention.log"}
VARIABLES = {
    "FUNCTIONS_URL",
    "FUNCTION_KEY",
    "MASTER_KEY",
    "ACS_ENDPOINT",
    "ACS_CONNECTION_STRING",
    "SSL_CERT_FILE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "ACS_CONTROL_URL",
    "ACS_CONTROL_KEY",
    "ACS_TEAMS_USER_TOKEN",
    "ACS_TEAMS_EXPIRED_TOKEN",
    "ACS_TEAMS_APP_ID",
    "ACS_TEAMS_USER_ID",
}
# What a developer may have in the shell that would lead the app elsewhere.
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
    """A `run` that serves."""
    with command(tmp_path_factory.mktemp("everything"), "run") as running:
        running.read_until(SERVING["run"])
        yield running


@pytest.fixture(scope="module")
def everything(run: Command) -> Path:
    """The folder of a `run` that serves."""
    return run.folder


def test_run_walks_shows_the_way_and_serves(run: Command, everything: Path) -> None:
    """Each step with what came back, then addresses, key and a curl line to paste, which works."""
    env = read_env(everything)
    pasted = run.output.partition("Try it:\n")[2].partition("\n\n")[0]

    answer = subprocess.run(  # noqa: S602 -- a person pastes it into a shell
        pasted, shell=True, capture_output=True, check=True, timeout=60
    )

    assert [f"\n{step}. " in run.output for step in range(1, 7)] == [True] * 6
    assert "its claims: " in run.output
    for name in ("FUNCTIONS_URL", "FUNCTION_KEY", "ACS_ENDPOINT", "IDENTITY_ENDPOINT"):
        assert env[name] in run.output
    assert json.loads(answer.stdout).keys() >= {"id", "token", "expiresOn"}


@pytest.mark.parametrize("name", ["run", "azure", "acs"])
def test_a_second_start_in_the_same_folder_is_refused_in_one_line(
    everything: Path, name: str
) -> None:
    """And it takes nothing from the first one."""
    before = read_env(everything)

    with command(everything, name) as second:
        code = second.wait()

    assert (code, second.output) == (1, "")
    assert second.errors == f"A local Azure is already running in {everything}: stop it first.\n"
    assert read_env(everything) == before


def test_the_env_file_is_for_its_owner_alone(everything: Path) -> None:
    """So are the keys."""
    modes = [mode(everything / ".local" / name) for name in ("env", "keys.json")]

    assert modes == [0o600, 0o600]
    assert mode(everything / ".local") == 0o700


def test_sh_reads_the_env_file(everything: Path) -> None:
    """Every variable, with its value, whatever characters are in it."""
    script = f'set -eu; set -a; . "{everything}/.local/env"; env -0'

    said = subprocess.run(  # noqa: S603 -- our own script
        ["/bin/sh", "-c", script], env={}, capture_output=True, text=True, check=True
    ).stdout

    read = dict(entry.split("=", 1) for entry in said.split("\0") if entry)
    assert {name: read[name] for name in VARIABLES} == read_env(everything)
    assert Path(read["SSL_CERT_FILE"]).is_absolute()


def test_nothing_in_the_env_file_chooses_a_credential(everything: Path) -> None:
    """Whoever has sourced it and starts the app still gets managed identity."""
    chosen = [name for name in read_env(everything) if name.startswith(("AZURE_", "COMM", "Azure"))]

    assert chosen == []


def test_the_key_of_the_authority_is_not_on_the_disk(everything: Path) -> None:
    """Of the private keys in the folder none belongs to the certificate that all trust."""
    bundle = (everything / ".local" / "ca-bundle.pem").read_bytes()
    authority = x509.load_pem_x509_certificate(bundle).public_key()

    found = [path for path in everything.rglob("*") if path.is_file() and b"PRIVATE" in head(path)]

    keys = [load_pem_private_key(path.read_bytes(), None).public_key() for path in found]
    assert authority not in keys
    assert [mode(path) for path in found] == [0o600] * len(found)


def test_everything_listens_on_loopback_alone(everything: Path) -> None:
    """Another address of this machine finds nobody, not even another one of loopback."""
    env = read_env(everything)
    urls = [env[name] for name in ("FUNCTIONS_URL", "ACS_ENDPOINT", "IDENTITY_ENDPOINT")]
    ports = [int(url.split(":")[2].partition("/")[0]) for url in urls]

    for port in ports:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with pytest.raises(OSError, match=r"refused|assign|timed"):
            socket.create_connection(("127.0.0.2", port), timeout=1)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("run", signal.SIGTERM),
        ("azure", signal.SIGINT),
        ("acs", signal.SIGTERM),
        ("acs", signal.SIGINT),
    ],
    ids=["run, SIGTERM", "azure, SIGINT", "acs, SIGTERM", "acs, SIGINT"],
)
def test_a_signal_ends_everything(tmp_path: Path, name: str, number: signal.Signals) -> None:
    """With exit code 0, without a word, a process, or a file but the keys."""
    with command(tmp_path, name) as running:
        running.read_until(SERVING[name])

        code = running.end(number)

        assert running.leaves_nothing_behind()
    assert (code, running.errors) == (0, "")
    assert left_in(tmp_path) <= LEFT


def test_ctrl_c_in_a_terminal_ends_everything(tmp_path: Path) -> None:
    """There every process of it gets the signal, and none complains."""
    with command(tmp_path, "run") as running:
        running.read_until(SERVING["run"])

        os.killpg(running.process.pid, signal.SIGINT)

        assert (running.wait(), running.errors) == (0, "")
        assert running.leaves_nothing_behind()


def test_a_signal_in_the_middle_of_the_walk_leaves_nothing_behind(tmp_path: Path) -> None:
    """Whoever is impatient finds no process, no address and no traceback afterwards."""
    with command(tmp_path, "quickstart") as running:
        running.read_until("Create an identity")

        running.end(signal.SIGTERM)

        assert running.leaves_nothing_behind()
    assert "Traceback" not in running.errors
    assert left_in(tmp_path) <= LEFT


def test_ctrl_c_in_a_terminal_during_the_walk_leaves_nothing_behind(tmp_path: Path) -> None:
    """There every process gets the signal: that the app goes first is nothing to read about."""
    with command(tmp_path, "run") as running:
        running.read_until("Create an identity")

        os.killpg(running.process.pid, signal.SIGINT)
        running.wait()

        assert running.leaves_nothing_behind()
    assert "Traceback" not in running.errors
    assert left_in(tmp_path) <= LEFT


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("acs", "acs"),
        ("azure", "identity"),
        ("azure", "blob"),
        ("azure", "queue"),
        ("azure", "table"),
        ("quickstart", "app"),
    ],
)
def test_a_port_that_is_taken_is_named_with_its_option(
    tmp_path: Path, name: str, port: str
) -> None:
    """In one line, and nothing keeps running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with command(tmp_path, name, f"--{port}-port={number}") as running:
            code = running.wait()

            assert running.leaves_nothing_behind()
    assert code == 1
    assert running.errors == f"Port {number} is taken: choose another with --{port}-port.\n"


def test_the_quickstart_ends_by_itself_whatever_the_shell_holds(tmp_path: Path) -> None:
    """With exit code 0: nothing has changed the app's credential or where it goes."""
    with command(tmp_path, "quickstart", environ=FOREIGN) as quickstart:
        code = quickstart.wait()

        assert quickstart.leaves_nothing_behind()
    assert (code, quickstart.errors) == (0, "")
    assert not (tmp_path / ".local" / "env").exists()


def test_the_emulator_alone_serves_microsofts_sdk(tmp_path: Path) -> None:
    """With the connection string and the authority that it prints."""
    with command(tmp_path, "acs") as acs:
        bundle = acs.read_until(SERVING["acs"]).split(": ")[1].strip()
        connection_string = said(acs, "connection string: ")
        client = CommunicationIdentityClient.from_connection_string(
            connection_string, connection_verify=bundle
        )
        user, token = client.create_user_and_token([Scope.CHAT])
        client.delete_user(user)
        client._identity_service_client.close()

    assert user.properties["id"].startswith("8:acs:")
    assert token.token.startswith("eyJ")


def test_the_keys_are_the_same_at_every_start(tmp_path: Path) -> None:
    """What a person has pasted somewhere goes on working."""
    seen = [keys_of_a_start(tmp_path) for _ in range(2)]

    assert seen[0] == seen[1]
    assert mode(tmp_path / ".local" / "keys.json") == 0o600


def test_the_keys_of_two_machines_differ(tmp_path: Path) -> None:
    """They are random."""
    first, second = [keys_of_a_start(tmp_path / name) for name in ("one", "two")]

    assert set(first).isdisjoint(second)


def test_azure_writes_the_settings_and_takes_them_away(tmp_path: Path) -> None:
    """Everything that the app needs against this Azure, for its owner's eyes alone."""
    path = tmp_path / "local.settings.json"
    with command(tmp_path, "azure", "--app-port=7099") as azure:
        azure.read_until(SERVING["azure"])
        document, access = json.loads(path.read_text()), mode(path)
        azure.end()

    values, env = document["Values"], azure_env_names()
    assert access == 0o600
    assert document["Host"] == {"LocalHttpPort": 7099}
    assert values["AZURE_TOKEN_CREDENTIALS"] == "ManagedIdentityCredential"
    assert values["AzureWebJobsStorage__tableServiceUri"].startswith("https://127.0.0.1:")
    assert values.keys() >= env
    assert not path.exists()


def test_azure_leaves_settings_alone_that_are_a_persons(tmp_path: Path) -> None:
    """From the first change on they are; it says so at the next start."""
    path = tmp_path / "local.settings.json"
    with command(tmp_path, "azure") as azure:
        azure.read_until(SERVING["azure"])
        changed = path.read_text().replace('PROTECTION": "false"', 'PROTECTION": "true"')
        path.write_text(changed)
        azure.end()

    with command(tmp_path, "azure") as again:
        again.read_until(SERVING["azure"])
        again.end()

    assert f"{path} is yours and was left alone" in again.output
    assert path.read_text() == changed


def test_azure_replaces_settings_that_it_left_behind_itself(tmp_path: Path) -> None:
    """When it was killed it could not take them away; the next start knows them as its own."""
    path, trace = tmp_path / "local.settings.json", tmp_path / ".local" / "written-settings.json"
    trace.parent.mkdir()
    for file in (path, trace):
        file.write_text('{"Values": {"of": "a start that was killed"}}')

    with command(tmp_path, "azure") as azure:
        azure.read_until(SERVING["azure"])
        written = json.loads(path.read_text())
        azure.end()

    assert "IDENTITY_ENDPOINT" in written["Values"]
    assert not path.exists()
    assert not trace.exists()


def keys_of_a_start(folder: Path) -> list[str]:
    """The secrets that the emulator alone tells."""
    with command(folder, "acs") as acs:
        acs.read_until(SERVING["acs"])
        env = read_env(folder)
        acs.end()
    return [env["ACS_CONTROL_KEY"], env["ACS_CONNECTION_STRING"].partition("accesskey=")[2]]


def azure_env_names() -> set[str]:
    """What the app cannot do without."""
    return {
        "COMMUNICATION_SERVICES_ENDPOINT",
        "AzureWebJobsStorage__tableServiceUri",
        "AzureWebJobsStorage__blobServiceUri",
        "AzureWebJobsStorage__queueServiceUri",
        "CLEANUP_SCHEDULE",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "SSL_CERT_FILE",
        "FUNCTIONS_WORKER_RUNTIME",
    }


def said(running: Command, label: str) -> str:
    """What it has said behind the label."""
    return running.output.partition(label)[2].partition("\n")[0]


def left_in(folder: Path) -> set[str]:
    """The names of the files below the folder."""
    return {path.name for path in folder.rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    """Who may do what with it."""
    return stat.S_IMODE(path.stat().st_mode)


def head(path: Path) -> bytes:
    """How the file begins."""
    with path.open("rb") as file:
        return file.read(100)
