"""Starts the local Azure and the app as separate processes, on free ports."""

import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from uuid import uuid4

import pytest

from tests.support.leaks import leaks

ROOT = Path(__file__).parents[2]
FREE_PORTS = [f"--{name}-port=0" for name in ("app", "acs", "identity", "blob", "queue", "table")]
# Seconds that a process may take to start or to stop on a busy machine.
PATIENCE = 60.0
# The last text that each command prints before it serves.
SERVING = {"run": "Ctrl-C stops everything", "azure": "shell assignments", "acs": "authority"}
# The address of a running host, with the settings of a running `python -m local azure` and a front
# end that checks sign-ins. The end-to-end tests then start neither. Tests that need a host with
# other settings, its log or its process, are skipped. Run them in one process: they share that
# Azure.
HOST_URL = os.environ.get("TESTS_HOST_URL", "").rstrip("/")
# The project folder of that `python -m local azure`.
AZURE_FOLDER = Path(os.environ.get("TESTS_AZURE_FOLDER", ROOT))
# The settings that differ from the sample: the sweep runs only when a test starts it.
DEFAULTS = {"CLEANUP_SCHEDULE": "0 0 0 1 1 *"}


@dataclass
class Command:
    """A running `python -m local`.

    Attributes:
        mark: A variable in the environment of every process that the command starts.
        output: What the command has printed so far.
    """

    folder: Path
    mark: str
    process: subprocess.Popen[str]
    _stderr: IO[str]
    output: str = ""
    _errors: str = ""

    @property
    def errors(self) -> str:
        """What the command has written to standard error so far."""
        if not self._stderr.closed:
            self._stderr.seek(0)
            self._errors = self._stderr.read()
        return self._errors

    def read_until(self, text: str) -> str:
        """Reads the output up to the line that contains `text`, and returns that line."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return line
        raise AssertionError(f"It ended without {text!r}: {self.output}{self.errors}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends the signal and returns the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Waits for the command to end and returns its exit code."""
        self.output += self.process.communicate(timeout=PATIENCE)[0]
        return self.process.returncode

    def leaves_nothing_behind(self) -> bool:
        """Whether no process that the command started is left. Ask after it has ended."""
        return not _marked(self.mark)


@contextmanager
def command(
    folder: Path, name: str, *options: str, environ: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """Runs `python -m local NAME` in a process group of its own, as a terminal does.

    At the end of the block, every process that the command started is killed.
    """
    call = [sys.executable, "-u", "-m", "local", name, "--folder", str(folder), *FREE_PORTS]
    with program([*call, *options], folder, ROOT, environ) as running:
        yield running


@contextmanager
def program(
    call: Sequence[str], folder: Path, cwd: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """Runs a program in `cwd`, and at the end kills every process that it started."""
    mark = f"MARK_OF_A_TEST={uuid4()}"
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(  # noqa: S603 -- our own module
            call,
            cwd=cwd,
            env={**os.environ, **(environ or {}), **dict([mark.split("=")])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process,
    ):
        running = Command(folder, mark, process, errors)
        try:
            yield running
        finally:
            with suppress(subprocess.TimeoutExpired):
                if process.poll() is None:
                    running.end()
            for pid in _marked(mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            assert running.errors is not None  # read before the file is closed


def _marked(mark: str) -> list[int]:
    """Returns the processes that inherited the mark, even if their parent has ended (on Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@contextmanager
def running(
    folder: Path, name: str, environ: Mapping[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """Runs `python -m local NAME` until the end of the block; yields the content of `.local/env`.

    The command must end without an error.
    """
    with command(folder, name, environ=environ) as started:
        started.read_until(SERVING[name])
        yield read_env(folder)
        assert started.end() == 0, started.errors


def read_env(folder: Path) -> dict[str, str]:
    """Reads the assignments in `.local/env`."""
    first, *lines, last = (folder / ".local" / "env").read_text().splitlines()
    assert (first, last) == ("set -a", "set +a")
    pairs = (shlex.split(line)[0].partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class Azure:
    """The running local Azure.

    Attributes:
        env: The content of `.local/env`.
        settings_file: The text of `local.settings.json`.
        sign_in: What the front end needs to verify the tokens of signed-in users.
    """

    env: Mapping[str, str]
    settings_file: str
    sign_in: str

    @property
    def certificates(self) -> Path:
        """The folder with the certificate and the key of the storage account."""
        return Path(self.env["SSL_CERT_FILE"]).parent / "azurite"

    @property
    def settings(self) -> dict[str, str]:
        """The settings with which the app finds this Azure."""
        values: dict[str, str] = json.loads(self.settings_file)["Values"]
        return values


@contextmanager
def running_azure(folder: Path) -> Iterator[Azure]:
    """Runs everything but the app until the end of the block."""
    if HOST_URL:
        yield _read_azure(AZURE_FOLDER)
        return
    with running(folder, "azure"):
        yield _read_azure(folder)


def _read_azure(folder: Path) -> Azure:
    """Returns the Azure that runs in this folder."""
    env = read_env(folder)
    settings_file = (folder / "local.settings.json").read_text()
    return Azure(env, settings_file, request_control(env, "GET", "sign-in"))


def request_control(env: Mapping[str, str], method: str, path: str) -> str:
    """Sends a request to the emulator's control endpoint where no event loop runs."""
    request = urllib.request.Request(  # noqa: S310 -- our own address
        f"{env['ACS_CONTROL_URL']}/{path}",
        method=method,
        headers={"x-acs-control-key": env["ACS_CONTROL_KEY"]},
    )
    tls = ssl.create_default_context(cafile=env["SSL_CERT_FILE"])
    with urllib.request.urlopen(request, context=tls) as response:  # noqa: S310 -- our own address
        body: bytes = response.read()
    return body.decode()


@dataclass(frozen=True)
class App:
    """A running app.

    Attributes:
        log_file: None if the tests have not started the app.
        started: The same.
        secrets: Values that passed through the app and must not be in its log.
    """

    url: str
    azure: Azure
    log_file: Path | None = None
    started: subprocess.Popen[str] | None = None
    secrets: set[str] = field(default_factory=set)

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process of the app."""
        if not self.started:
            pytest.skip("looks at the process, which only an app that the tests start has")
        return self.started

    @property
    def function_key(self) -> str:
        """The key that a service sends."""
        return self.azure.env["FUNCTION_KEY"]

    @property
    def master_key(self) -> str:
        """The key for the host's own endpoints."""
        return self.azure.env["MASTER_KEY"]

    @property
    def log(self) -> str:
        """Everything that the app has logged so far."""
        if not self.log_file:
            pytest.skip("reads the log, which only an app that the tests start has")
        return self.log_file.read_text()

    def leaks(self) -> list[str]:
        """Returns the secrets in the log, shortened."""
        return leaks(self.log, self.secrets)


@contextmanager
def running_app(  # noqa: PLR0913 -- what tests vary, with a default for each
    azure: Azure,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    *,
    signs_in: bool = True,
    root: Path = ROOT,
) -> Iterator[App]:
    """Runs the app against this Azure until the end of the block.

    `settings` are added to those of this Azure, and those in `without` are removed. The app gets no
    other variable but PATH. `signs_in` says whether the front end verifies users' tokens, and
    `root` is the folder of the app. At the end, the app must have written no secret to its log and
    nothing to standard output.

    With TESTS_HOST_URL, this is the running app, and the test is skipped if it needs another one.
    """
    if HOST_URL:
        if settings:
            pytest.skip("needs an app with other settings")
        yield App(HOST_URL, azure)
        return
    environ = {**azure.settings, **DEFAULTS, **(settings or {})}
    for name in without:
        del environ[name]
    host = {
        "LOCAL_HOST_FUNCTION_KEY": azure.env["FUNCTION_KEY"],
        "LOCAL_HOST_MASTER_KEY": azure.env["MASTER_KEY"],
        "LOCAL_HOST_EASY_AUTH": azure.sign_in if signs_in else "",
    }
    log_file = folder / "app.log"
    call = ("local.functions_host", "--until-stdin-closes", "--port=0", f"--app={root}")
    with (
        log_file.open("w") as log,
        start_module(*call, environ={**environ, **host}, log=log) as process,
    ):
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line.startswith("listening "), log_file.read_text()
            app = App(line.split()[1], azure, log_file, process, _secrets(azure))
            yield app
        finally:
            process.terminate()
        assert app.leaks() == [], app.leaks()
        assert process.stdout.read() == ""


def start_module(
    name: str, *options: str, environ: Mapping[str, str], log: IO[str]
) -> subprocess.Popen[str]:
    """Starts one of our modules in a process group of its own. It gets PATH and `environ` only."""
    return subprocess.Popen(  # noqa: S603 -- our own module
        [sys.executable, "-m", name, *options],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def _secrets(azure: Azure) -> set[str]:
    """Returns the secrets of this Azure that no log of an app may contain."""
    names = ("FUNCTION_KEY", "MASTER_KEY", "IDENTITY_HEADER", "ACS_TEAMS_USER_TOKEN")
    access_key = azure.env["ACS_CONNECTION_STRING"].partition("accesskey=")[2]
    return {*(azure.env[name] for name in names), access_key}
