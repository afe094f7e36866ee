"""Facts about the limits of the platform and of host.json, and about the worker's restart."""

import json
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from local.functions_host.host import CALLS_AT_ONCE
from tests.local.running_host import (
    TIMEOUT,
    WITH_FUNCTION_KEY,
    WITH_MASTER_KEY,
    RunningHost,
    running_host,
    write_app,
)
from tests.support.waiting import wait_until

APP = """
import asyncio, logging, uuid
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
WORKER = str(uuid.uuid4())
RUNNING, RELEASED = [], asyncio.Event()

@app.route(route="worker")
async def worker(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(WORKER, headers={"X-App": "app"})

@app.route(route="echo", methods=["POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body())

@app.route(route="hangs")
async def hangs(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.Event().wait()

@app.route(route="waits")
async def waits(req: func.HttpRequest) -> func.HttpResponse:
    RUNNING.append(1)
    logging.info("%s running", len(RUNNING))
    await RELEASED.wait()
    return func.HttpResponse(str(len(RUNNING)))

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *")
async def release(timer: func.TimerRequest) -> None:
    RELEASED.set()

@app.route(route="locked", auth_level=func.AuthLevel.FUNCTION)
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()
"""


def host_json(http: Mapping[str, object] | None = None, **settings: object) -> str:
    """A host.json with these settings."""
    return json.dumps({"version": "2.0", "extensions": {"http": http or {}}, **settings})


def test_a_function_that_takes_too_long_restarts_the_worker(tmp_path: Path) -> None:
    """It and everything else in flight gets 500. A new worker serves the same address and keys."""
    app = write_app(tmp_path, APP, host_json(functionTimeout="00:00:03"))
    with running_host(app) as host, ThreadPoolExecutor() as threads:
        before = host.call("GET", "/api/worker").body
        others = threads.submit(host.call, "GET", "/api/waits")

        late = host.call("GET", "/api/hangs")

        after = host.call("GET", "/api/worker")
        locked = host.call("GET", "/api/locked", WITH_FUNCTION_KEY)
        log = host.log()
    assert (late.status, late.body, others.result().status) == (500, b"", 500)
    assert (after.status, locked.status) == (200, 200)
    assert after.body != before
    assert "exceeded by function: 'Functions." in log


def test_a_body_that_is_still_being_read_ends_with_the_worker(tmp_path: Path) -> None:
    """The response is 500, and the connection ends without an error of the host."""
    app = write_app(tmp_path, APP, host_json(functionTimeout="00:00:03"))
    head = b"POST /api/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
    with running_host(app) as host:
        with socket.create_connection(("127.0.0.1", host.port), TIMEOUT) as client:
            client.sendall(head + b"ab")
            with client.makefile("rb") as stream:
                received = stream.read()

        assert host.call("GET", "/api/worker").status == 200
        log = host.log()
    assert received.startswith(b"HTTP/1.1 500 ")
    assert "Unhandled" not in log


def test_a_function_that_ends_in_time_restarts_nothing(tmp_path: Path) -> None:
    """The same worker still serves when the time of an earlier call is over."""
    app = write_app(tmp_path, APP, host_json(functionTimeout="00:00:03"))
    with running_host(app) as host:
        before = host.call("GET", "/api/worker").body
        time.sleep(3.5)

        assert host.call("GET", "/api/worker").body == before
        assert "exceeded" not in host.log()


def test_invocations_beyond_the_limits_wait_or_get_429(tmp_path: Path) -> None:
    """Two run, one waits, and the fourth is rejected."""
    limits = {"maxConcurrentRequests": 2, "maxOutstandingRequests": 3}
    app = write_app(tmp_path, APP, host_json(limits))
    with running_host(app) as host, ThreadPoolExecutor() as threads:
        calls = [threads.submit(host.call, "GET", "/api/waits") for _ in range(4)]
        first = next(as_completed(calls)).result()
        release(host)

        replies = [call.result() for call in calls]

    assert (first.status, first.body) == (429, b"")
    bodies = sorted(reply.body for reply in replies if reply.status == 200)
    assert bodies == [b"2", b"2", b"3"]


def test_an_instance_gets_a_limited_number_of_calls_at_once(tmp_path: Path) -> None:
    """Further ones wait until others end. Timers and the host's own endpoints do not count."""
    more = 8
    app = write_app(tmp_path, APP)
    with running_host(app) as host, ThreadPoolExecutor(CALLS_AT_ONCE + more) as threads:
        calls = [
            threads.submit(host.call, "GET", "/api/waits") for _ in range(CALLS_AT_ONCE + more)
        ]
        wait_until(lambda: f"{CALLS_AT_ONCE} running" in host.log(), host.log)
        release(host)

        running = sorted(int(call.result().body) for call in calls)

    assert running[:CALLS_AT_ONCE] == [CALLS_AT_ONCE] * CALLS_AT_ONCE
    assert len(running) == CALLS_AT_ONCE + more


def release(host: RunningHost) -> None:
    """Let the calls that wait end."""
    headers = WITH_MASTER_KEY | {"Content-Type": "application/json"}
    assert host.call("POST", "/admin/functions/release", headers, b"{}").status == 202


def test_custom_headers_are_added_to_responses_of_functions(tmp_path: Path) -> None:
    """They replace the app's own, and are not added to the host's other responses."""
    headers = {"customHeaders": {"X-App": "host", "X-Content-Type-Options": "nosniff"}}
    with running_host(write_app(tmp_path, APP, host_json(headers))) as host:
        added = host.call("GET", "/api/worker").headers
        other = host.call("GET", "/api/none").headers

    assert added.get_all("X-App") == ["host"]
    assert added["X-Content-Type-Options"] == "nosniff"
    assert "X-App" not in other
