"""The local Azure and the app in processes of their own, as a person starts them."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.catcher import leaks

ROOT = Path(__file__).parents[2]
FREE_PORTS = [f"--{name}-port=0" for name in ("app", "acs", "identity", "blob", "queue", "table")]
# Seconds within which a process ends, on a machine that has much else to do.
PATIENCE = 60.0


@contextmanager
def started(
    call: Sequence[str], env: Mapping[str, str], errors: IO[bytes]
) -> Iterator[subprocess.Popen[str]]:
    """`python -m …` in a process group that is gone afterwards."""
    with subprocess.Popen(  # noqa: S603 -- our own modules
        [sys.executable, "-u", "-m", *call],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def running(
    folder: Path, command: str, until: str, environ: Mapping[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """`python -m local COMMAND` on free ports, once it has said `until`; what `.local/env` says."""
    log_file = folder / f"{command}.log"
    call = ["local", command, "--folder", str(folder), *FREE_PORTS]
    with (
        log_file.open("wb") as log,
        started(call, {**os.environ, **(environ or {})}, log) as process,
    ):
        assert process.stdout
        said = ""
        while until not in said:
            line = process.stdout.readline()
            assert line, said + log_file.read_text()
            said += line
        lines = (folder / ".local" / "env").read_text().splitlines()
        yield dict(shlex.split(line)[0].split("=", 1) for line in lines)
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, log_file.read_text()


@dataclass(frozen=True)
class Azure:
    """The local Azure that runs.

    Attributes:
        env: What `.local/env` says.
        settings: What `local.settings.json` says to the app.
        settings_file: The text of that file.
    """

    env: Mapping[str, str]
    settings: Mapping[str, str]
    settings_file: str


@contextmanager
def running_azure(folder: Path) -> Iterator[Azure]:
    """Everything but the app, until the end of the block."""
    with running(folder, "azure", "shell assignments") as env:
        text = (folder / "local.settings.json").read_text()
        yield Azure(env, json.loads(text)["Values"], text)


@dataclass(frozen=True)
class App:
    """An app that serves; whatever it is asked it must log no secret of."""

    url: str
    function_key: str
    master_key: str
    log_file: Path


@contextmanager
def running_app(
    azure: Azure, folder: Path, changes: Mapping[str, str], easy_auth: str = ""
) -> Iterator[App]:
    """The app against this Azure with changed settings, behind sign-in where that is configured.

    Whatever it goes through, neither its log nor its output tells a secret in the end.
    """
    keys = azure.env["FUNCTION_KEY"], azure.env["MASTER_KEY"]
    environ = {
        "PATH": os.environ["PATH"],
        **azure.settings,
        **changes,
        "LOCAL_HOST_FUNCTION_KEY": keys[0],
        "LOCAL_HOST_MASTER_KEY": keys[1],
        "LOCAL_HOST_EASY_AUTH": easy_auth,
    }
    log_file = folder / "app.log"
    call = ["local.functions_host", "--port=0", f"--app={ROOT}", "--until-stdin-closes"]
    with log_file.open("wb") as log, started(call, environ, log) as process:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("listening "), log_file.read_text()
        yield App(line.split()[1], *keys, log_file)
        process.terminate()
        log.flush()
        assert leaks(log_file.read_text(), [*keys, azure.env["IDENTITY_HEADER"]]) == []
        assert process.stdout.read() == ""
