"""A host in a process of its own, and what one says to it over HTTP."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from textwrap import dedent
from typing import IO, Any

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "local.functions_host", "--until-stdin-closes"]
FUNCTION_KEY, MASTER_KEY = "the-function-key", "the-master-key"
KEYS = {"LOCAL_HOST_FUNCTION_KEY": FUNCTION_KEY, "LOCAL_HOST_MASTER_KEY": MASTER_KEY}
WITH_FUNCTION_KEY = {"x-functions-key": FUNCTION_KEY}
WITH_MASTER_KEY = {"x-functions-key": MASTER_KEY}
PATIENCE = 30.0


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class RunningHost:
    """A host that listens."""

    port: int
    log_file: Path

    def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """Send one request on a connection of its own and wait for the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            chunked = "Transfer-Encoding" in (headers or {})
            connection.request(method, path, body, headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def log(self) -> str:
        """Everything on standard error so far."""
        return self.log_file.read_text()


def write_app(directory: Path, source: str, host_json: str | None = '{"version": "2.0"}') -> Path:
    """An app folder with this function_app.py."""
    (directory / "function_app.py").write_text(dedent(source))
    if host_json is not None:
        (directory / "host.json").write_text(host_json)
    return directory


def start_process(
    app: Path, stderr: int | IO[bytes], port: int = 0, settings: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A host that ends with its standard input, with `settings` added to the environment."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [*COMMAND, "--port", str(port), "--app", str(app)],
        cwd=ROOT,
        env={**os.environ, **KEYS, **(settings or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


@contextmanager
def running_host(app: Path, settings: Mapping[str, str] | None = None) -> Iterator[RunningHost]:
    """A host that serves the app in this folder until the end of the block."""
    log_file = app / "host.log"
    with log_file.open("wb") as log, start_process(app, log, settings=settings) as host:
        assert host.stdin
        assert host.stdout
        line = host.stdout.readline().decode()
        assert line.startswith("listening http://localhost:"), log_file.read_text()
        yield RunningHost(int(line.rpartition(":")[2]), log_file)
        host.stdin.close()
        assert host.wait(PATIENCE) == 0
