"""A local host in a process of its own, and an HTTP client for it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from textwrap import dedent
from typing import IO, Any

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "local.functions_host", "--until-stdin-closes"]
FUNCTION_KEY, MASTER_KEY = "the-function-key", "the-master-key"
KEYS = {"LOCAL_HOST_FUNCTION_KEY": FUNCTION_KEY, "LOCAL_HOST_MASTER_KEY": MASTER_KEY}
WITH_FUNCTION_KEY = {"x-functions-key": FUNCTION_KEY}
WITH_MASTER_KEY = {"x-functions-key": MASTER_KEY}
# Seconds.
TIMEOUT = 30.0


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

    status: int
    headers: HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class RunningHost:
    """A host that accepts requests."""

    port: int
    log_file: Path

    def call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send a request on a new connection and wait for the response."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            chunked = "Transfer-Encoding" in (headers or {})
            connection.request(method, path, body, headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())

    def log(self) -> str:
        """The standard error so far."""
        return self.log_file.read_text()


def write_app(directory: Path, source: str, host_json: str | None = '{"version": "2.0"}') -> Path:
    """Write an app's function_app.py and host.json."""
    (directory / "function_app.py").write_text(dedent(source))
    if host_json is not None:
        (directory / "host.json").write_text(host_json)
    return directory


def start_process(
    app: Path,
    stderr: int | IO[bytes],
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    files: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a host that stops when its standard input closes. It inherits the open `files`."""
    return subprocess.Popen(  # noqa: S603 -- our own module
        [*COMMAND, "--port", str(port), "--app", str(app)],
        cwd=ROOT,
        env={**os.environ, **KEYS, **(settings or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        pass_fds=files,
    )


def failed_start(
    app: Path, port: int = 0, settings: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The exit code and the standard error of a host that does not start."""
    with start_process(app, subprocess.PIPE, port, settings) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b""
        errors = process.stderr.read().decode()
        return process.wait(TIMEOUT), errors


@contextmanager
def running_host(app: Path, settings: Mapping[str, str] | None = None) -> Iterator[RunningHost]:
    """Serve an app until the end of the block."""
    log_file = app / "host.log"
    with log_file.open("wb") as log, start_process(app, log, settings=settings) as host:
        assert host.stdin
        assert host.stdout
        line = host.stdout.readline().decode()
        assert line.startswith("listening http://localhost:"), log_file.read_text()
        yield RunningHost(int(line.rpartition(":")[2]), log_file)
        host.stdin.close()
        assert host.wait(TIMEOUT) == 0
