"""Facts about the process: how it begins and how it ends."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from local.functions_host.server import take_port
from tests.local.functions_host.running import (
    COMMAND,
    KEYS,
    PATIENCE,
    ROOT,
    running_host,
    start_process,
    write_app,
)

APP = """
import threading, time
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="hello", methods=["GET"])
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")
"""
HANGS = APP + "threading.Thread(target=threading.Event().wait).start()\n"


def run(app: Path, port: int = 0, settings: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit code and the standard error of a host that does not come up."""
    with start_process(app, subprocess.PIPE, port, settings) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == b""
        errors = process.stderr.read().decode()
        return process.wait(PATIENCE), errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whatever_the_app_does(tmp_path: Path, number: signal.Signals) -> None:
    """A thread that never ends keeps nothing alive."""
    with start_process(write_app(tmp_path, HANGS), subprocess.DEVNULL) as host:
        assert host.stdout
        assert host.stdout.readline().startswith(b"listening ")

        host.send_signal(number)

        assert host.wait(PATIENCE) == 0


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """Even when the parent is killed: its end of the pipe closes, and so does the host's output."""
    parent = f"""
        import subprocess, sys
        command = {COMMAND!r} + ["--port", "0", "--app", {str(write_app(tmp_path, HANGS))!r}]
        subprocess.Popen(command, cwd={str(ROOT)!r}, stdin=subprocess.PIPE).wait()
    """
    with subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", dedent(parent)], env=KEYS, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"listening ")

        process.kill()

        # The end of the output comes when the last process that could write to it has gone.
        assert process.communicate(timeout=PATIENCE)[0] == b""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('gone')", "SystemExit: gone"),
        ("", "shows 0 function apps"),
        (
            APP + "@app.route(route='x')\ndef bad(req, id): pass\n",
            "cannot load the bad function: no binding has the name of its parameters ['id']",
        ),
    ],
)
def test_an_app_that_cannot_be_served_ends_it_with_3(
    tmp_path: Path, source: str, said: str
) -> None:
    """And with the reason on standard error."""
    code, errors = run(write_app(tmp_path, source))

    assert code == 3
    assert said in errors


def test_a_port_that_is_taken_ends_it_with_4(tmp_path: Path) -> None:
    """In one line, before the app is imported."""
    with take_port(0) as taken:
        port = taken.getsockname()[1]
        code, errors = run(write_app(tmp_path, "raise RuntimeError"), port)

    assert code == 4
    assert errors == f"port {port} cannot be had: Address already in use\n"


def test_it_does_not_start_without_keys(tmp_path: Path) -> None:
    """An empty key would open everything."""
    code, errors = run(write_app(tmp_path, APP), settings={"LOCAL_HOST_MASTER_KEY": ""})

    assert code == 2
    assert "LOCAL_HOST_FUNCTION_KEY and LOCAL_HOST_MASTER_KEY have to be set" in errors


def test_the_prefix_comes_from_host_json(tmp_path: Path) -> None:
    """Here it is empty."""
    host_json = '{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}'
    with running_host(write_app(tmp_path, APP, host_json)) as host:
        assert host.call("GET", "/hello").body == b"hello"


def test_packages_come_before_the_apps_own_modules(tmp_path: Path) -> None:
    """The app's folder is the last on sys.path, and the folder of the start is not there."""
    source = APP + "import sys, msgspec\nprint(msgspec.__file__, sys.path)\n"
    (tmp_path / "msgspec.py").write_text("raise RuntimeError")

    with running_host(write_app(tmp_path, source)) as host:
        assert f"{str(tmp_path)!r}]\n" in host.log()
        assert f"{str(ROOT)!r}," not in host.log()
