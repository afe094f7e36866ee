"""The local Azure and the app in processes of their own, as a person starts them."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from uuid import uuid4

from tests.catcher import leaks

ROOT = Path(__file__).parents[2]
FREE_PORTS = [f"--{name}-port=0" for name in ("app", "acs", "identity", "blob", "queue", "table")]
# Seconds within which a process begins or ends, on a machine that has much else to do.
PATIENCE = 60.0
# The sweep runs when a test says so.
NEVER = "0 0 0 1 1 *"


@dataclass
class Command:
    """A `python -m local` that runs.

    Attributes:
        mark: What stands in the environment of every process that it starts.
        output: What it has said so far.
    """

    folder: Path
    mark: str
    process: subprocess.Popen[str]
    _stderr: IO[str]
    output: str = ""
    _errors: str = ""

    @property
    def errors(self) -> str:
        """What is on its standard error so far, or was there at the end."""
        if not self._stderr.closed:
            self._stderr.seek(0)
            self._errors = self._stderr.read()
        return self._errors

    def read_until(self, text: str) -> str:
        """The line in which it says `text`."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if text in line:
                return line
        raise AssertionError(f"It ended without {text!r}: {self.output}{self.errors}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal; the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for the end; the exit code."""
        self.output += self.process.communicate(timeout=PATIENCE)[0]
        return self.process.returncode

    def leaves_nothing_behind(self) -> bool:
        """Whether no process is left of those that it started; to be asked after its end."""
        return not _marked(self.mark)


@contextmanager
def command(
    folder: Path, name: str, *options: str, environ: Mapping[str, str] | None = None
) -> Iterator[Command]:
    """`python -m local NAME` on free ports, in a process group of its own, as in a terminal.

    It is gone afterwards, with all that it has started.
    """
    mark = f"MARK_OF_A_TEST={uuid4()}"
    call = [sys.executable, "-u", "-m", "local", name, "--folder", str(folder), *FREE_PORTS]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(  # noqa: S603 -- our own module
            [*call, *options],
            cwd=ROOT,
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
            assert running.errors is not None  # read while the file is there


def _marked(mark: str) -> list[int]:
    """The processes that have inherited the mark, whoever their parent is by now (on Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


@dataclass(frozen=True)
class Azure:
    """The local Azure that runs.

    Attributes:
        env: What `.local/env` says.
        settings: What the app needs to know.
    """

    env: Mapping[str, str]
    settings: Mapping[str, str]


@contextmanager
def running_azure(folder: Path) -> Iterator[Azure]:
    """Everything but the app, until the end of the block."""
    with command(folder, "azure") as azure:
        azure.read_until("shell assignments")
        document = json.loads((folder / "local.settings.json").read_text())
        yield Azure(read_env(folder), document["Values"])
        assert azure.end() == 0, azure.errors


def read_env(folder: Path) -> dict[str, str]:
    """The assignments in `.local/env`."""
    lines = (folder / ".local" / "env").read_text().splitlines()
    pairs = (shlex.split(line)[0].partition("=") for line in lines)
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True)
class App:
    """An app that serves.

    Attributes:
        secrets: What has passed through it and must not be in its log.
    """

    url: str
    azure: Azure
    log_file: Path
    secrets: set[str] = field(default_factory=set)

    @property
    def function_key(self) -> str:
        """The key that opens every operation."""
        return self.azure.env["FUNCTION_KEY"]

    @property
    def master_key(self) -> str:
        """The key that opens the host's own doors."""
        return self.azure.env["MASTER_KEY"]

    @property
    def log(self) -> str:
        """Everything that it has logged so far."""
        return self.log_file.read_text()

    def leaks(self) -> list[str]:
        """The secrets that are in its log, shortened."""
        return leaks(self.log, self.secrets)


@contextmanager
def running_app(
    azure: Azure,
    folder: Path,
    changes: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
) -> Iterator[App]:
    """The app against this Azure, with its settings changed in that way, and nothing else.

    Whatever it goes through, neither its log nor its output tells a secret in the end.
    """
    settings = {**azure.settings, "CLEANUP_SCHEDULE": NEVER, **(changes or {})}
    for name in without:
        del settings[name]
    keys = {
        "LOCAL_HOST_FUNCTION_KEY": azure.env["FUNCTION_KEY"],
        "LOCAL_HOST_MASTER_KEY": azure.env["MASTER_KEY"],
    }
    log_file = folder / "app.log"
    call = [sys.executable, "-m", "local.functions_host", "--until-stdin-closes"]
    with (
        log_file.open("w") as log,
        subprocess.Popen(  # noqa: S603 -- our own module
            [*call, "--port=0", f"--app={ROOT}"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **settings, **keys},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line.startswith("listening "), log_file.read_text()
            running = App(line.split()[1], azure, log_file, secrets(azure))
            yield running
        finally:
            process.terminate()
        assert running.leaks() == [], running.leaks()
        assert process.stdout.read() == ""


def secrets(azure: Azure) -> set[str]:
    """What no log of an app against this Azure may hold."""
    names = ("FUNCTION_KEY", "MASTER_KEY", "IDENTITY_HEADER", "ACS_TEAMS_USER_TOKEN")
    access_key = azure.env["ACS_CONNECTION_STRING"].partition("accesskey=")[2]
    return {*(azure.env[name] for name in names), access_key}
