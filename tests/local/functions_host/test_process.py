"""Facts about the process: its start and its end."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from textwrap import dedent

import pytest

from local.functions_host.server import bind
from tests.local.running_host import (
    COMMAND,
    KEYS,
    ROOT,
    TIMEOUT,
    RunningHost,
    failed_start,
    running_host,
    start_process,
    write_app,
)
from tests.support.waiting import wait_until

APP = """
import threading
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="hello", methods=["GET"])
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("hello")
"""
HANGS = APP + "threading.Thread(target=threading.Event().wait).start()\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_host(tmp_path: Path, number: signal.Signals) -> None:
    """A thread of the app that never ends does not keep it alive."""
    with start_process(write_app(tmp_path, HANGS), subprocess.DEVNULL) as host:
        assert host.stdout
        assert host.stdout.readline().startswith(b"listening ")

        host.send_signal(number)

        assert host.wait(TIMEOUT) == 0


def test_the_host_stops_with_its_parent(tmp_path: Path) -> None:
    """This holds even if the parent is killed: its end of the pipe closes."""
    parent = f"""
        import subprocess, sys
        command = {COMMAND!r} + ["--port", "0", "--app", {str(write_app(tmp_path, HANGS))!r}]
        subprocess.Popen(command, cwd={str(ROOT)!r}, stdin=subprocess.PIPE).wait()
    """
    with subprocess.Popen(  # noqa: S603 -- our own code
        [sys.executable, "-c", dedent(parent)], env=KEYS, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"listening ")

        process.kill()

        # The output ends when no process that could write to it is left.
        assert process.communicate(timeout=TIMEOUT)[0] == b""


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit('gone')", "SystemExit: gone"),
        ("", "defines 0 function apps"),
        (
            APP + "@app.route(route='x')\ndef bad(req, id): pass\n",
            "cannot load the bad function: its parameters ['id'] have no binding of that name",
        ),
    ],
)
def test_an_app_that_cannot_be_served_stops_the_host(
    tmp_path: Path, source: str, error: str
) -> None:
    """The exit code is 3, and the reason is on standard error."""
    code, errors = failed_start(write_app(tmp_path, source))

    assert code == 3
    assert error in errors


def test_a_port_in_use_stops_the_host(tmp_path: Path) -> None:
    """The exit code is 4. The error is one line, and the app is not imported."""
    with bind(0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        code, errors = failed_start(write_app(tmp_path, "raise RuntimeError"), port)

    assert code == 4
    assert errors == f"cannot use port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("LOCAL_HOST_MASTER_KEY", "", "LOCAL_HOST_FUNCTION_KEY and LOCAL_HOST_MASTER_KEY must be"),
        ("LOCAL_HOST_EASY_AUTH", "nonsense", "LOCAL_HOST_EASY_AUTH: "),
    ],
)
def test_the_host_does_not_start_with_invalid_variables(
    tmp_path: Path, name: str, value: str, error: str
) -> None:
    """Without keys or sign-in, every request would be allowed. The exit code is 2."""
    code, errors = failed_start(write_app(tmp_path, APP), settings={name: value})

    assert code == 2
    assert error in errors


def test_packages_are_imported_before_the_apps_own_modules(tmp_path: Path) -> None:
    """The app's folder is last on sys.path. An empty prefix in its host.json applies."""
    source = APP + "import sys, msgspec\nprint(msgspec.__file__, sys.path)\n"
    host_json = '{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}'
    (tmp_path / "msgspec.py").write_text("raise RuntimeError")

    with running_host(write_app(tmp_path, source, host_json)) as host:
        assert host.call("GET", "/hello").body == b"hello"
        assert f"{str(tmp_path)!r}]\n" in host.log()
        assert f"{str(ROOT)!r}," not in host.log()


def test_functions_run_on_the_event_loop_of_azures_worker(tmp_path: Path) -> None:
    """It is uvloop, as on Python 3.13 and newer in Azure."""
    source = APP + dedent("""
        import asyncio

        @app.route(route="loop", methods=["GET"])
        async def loop(req: func.HttpRequest) -> func.HttpResponse:
            return func.HttpResponse(type(asyncio.get_running_loop()).__module__)
    """)

    with running_host(write_app(tmp_path, source)) as host:
        assert host.call("GET", "/api/loop").body == b"uvloop"


def test_a_process_that_ends_leaves_new_connections_to_the_next_one(tmp_path: Path) -> None:
    """After SIGQUIT it finishes its requests. A request that comes later waits for the next one."""
    source = APP + dedent("""
        import asyncio, logging, os, pathlib

        @app.route(route="process", methods=["GET"])
        async def process(req: func.HttpRequest) -> func.HttpResponse:
            return func.HttpResponse(str(os.getpid()))

        @app.route(route="slow", methods=["GET"])
        async def slow(req: func.HttpRequest) -> func.HttpResponse:
            logging.info("begun")
            while not pathlib.Path("released").exists():
                await asyncio.sleep(0.01)
            return func.HttpResponse(str(os.getpid()))
    """)
    app, log = write_app(tmp_path, source), tmp_path / "host.log"
    with ExitStack() as started, ThreadPoolExecutor() as threads:
        shared, stderr = started.enter_context(bind(0)), started.enter_context(log.open("wb"))
        host = RunningHost(shared.getsockname()[1], log)

        def start() -> subprocess.Popen[bytes]:
            number = shared.fileno()
            settings = {"LOCAL_HOST_SOCKET": str(number)}
            process = start_process(app, stderr, settings=settings, files=[number])
            assert started.enter_context(process).stdout.readline()  # type: ignore[union-attr]  # piped
            return process

        first = start()
        before = threads.submit(host.call, "GET", "/api/slow")
        wait_until(lambda: "begun" in host.log())
        with closing(HTTPConnection("127.0.0.1", host.port, timeout=TIMEOUT)) as connection:
            assert not _asks_to_close(connection)
            first.send_signal(signal.SIGQUIT)
            wait_until(lambda: _asks_to_close(connection))
        after = threads.submit(host.call, "GET", "/api/process")
        (app / "released").touch()

        assert first.wait(TIMEOUT) == 0
        second = start()

        assert before.result().body == str(first.pid).encode()
        assert after.result().body == str(second.pid).encode()


def _asks_to_close(connection: HTTPConnection) -> bool:
    """Whether the response to a request says that the connection ends with it."""
    connection.request("GET", "/api/process")
    with connection.getresponse() as response:
        response.read()
        return response.getheader("Connection") == "close"
