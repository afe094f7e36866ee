"""Facts about requests and responses, over HTTP."""

import gzip
import re
from http.client import HTTPConnection
from socket import create_connection

import pytest

from tests.local.running_host import (
    FUNCTION_KEY,
    MASTER_KEY,
    WITH_FUNCTION_KEY,
    WITH_MASTER_KEY,
    RunningHost,
)

BODY_LIMIT = 100_000
SETTINGS = {
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(BODY_LIMIT),
    "AzureWebJobs.switched_off.Disabled": "true",
}
APP = """
import asyncio, json, logging, os, threading
from pathlib import Path
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
LOOPS, STARTED, RELEASED, FINISHED = set(), asyncio.Event(), asyncio.Event(), asyncio.Event()
TASKS, RESUMED, LOGGED = set(), asyncio.Event(), asyncio.Event()

def respond(**fields):
    return func.HttpResponse(json.dumps(fields), mimetype="application/json")

@app.route(route="echo/{*rest}")
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return respond(method=req.method, url=req.url, headers=dict(req.headers),
                   query=dict(req.params), route=dict(req.route_params),
                   body=req.get_body().decode("latin-1"))

@app.route(route="context", methods=["GET"])
async def context(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    LOOPS.add(asyncio.get_running_loop())
    return respond(id=context.invocation_id, name=context.function_name,
                   directory=context.function_directory, loops=len(LOOPS),
                   trace=context.trace_context.trace_parent,
                   state=context.trace_context.trace_state,
                   retries=context.retry_context.retry_count, cwd=os.getcwd(),
                   keys=[name for name in os.environ if name.startswith("LOCAL_HOST")])

@app.route(route="thread", methods=["GET"])
def thread(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    logging.getLogger("my.logger").info("in a thread, %s", "formatted", extra={"secret": "dropped"})
    LOOPS.add("thread")
    return respond(id=context.invocation_id, name=threading.current_thread().name)

@app.route(route="raises", methods=["GET"])
async def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("deliberate")

@app.route(route="cancelled", methods=["GET"])
async def cancelled(req: func.HttpRequest) -> func.HttpResponse:
    raise asyncio.CancelledError

@app.route(route="nothing", methods=["GET"])
async def nothing(req: func.HttpRequest) -> func.HttpResponse:
    return None

@app.route(route="status/{code:int}")
async def status(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.params.get("body"), status_code=int(req.route_params["code"]))

@app.route(route="forges", methods=["GET"])
async def forges(req: func.HttpRequest) -> func.HttpResponse:
    logging.warning("first\\n2000-01-01T00:00:00.000Z ERROR forged")
    logging.debug("too much")
    print("printed")
    return func.HttpResponse()

@app.route(route="leaves_a_task", methods=["GET"])
async def leaves_a_task(req: func.HttpRequest) -> func.HttpResponse:
    async def log_later() -> None:
        logging.info("before the response")
        await RESUMED.wait()
        logging.info("after the response")
        LOGGED.set()
    TASKS.add(asyncio.create_task(log_later()))
    await asyncio.sleep(0)
    return func.HttpResponse()

@app.route(route="resume", methods=["GET"])
async def resume(req: func.HttpRequest) -> func.HttpResponse:
    RESUMED.set()
    await LOGGED.wait()
    return func.HttpResponse()

@app.route(route="locked", auth_level=func.AuthLevel.FUNCTION, methods=["GET"])
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()

@app.route(route="root", auth_level=func.AuthLevel.ADMIN, methods=["GET"])
async def root(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()

@app.route(route="off", methods=["GET"])
async def switched_off(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()

@app.route(route="waits", methods=["GET"])
async def waits(req: func.HttpRequest) -> func.HttpResponse:
    STARTED.set()
    await RELEASED.wait()
    FINISHED.set()
    return func.HttpResponse()

@app.route(route="started", methods=["GET"])
async def started(req: func.HttpRequest) -> func.HttpResponse:
    await STARTED.wait()
    return func.HttpResponse()

@app.route(route="release", methods=["GET"])
async def release(req: func.HttpRequest) -> func.HttpResponse:
    RELEASED.set()
    await FINISHED.wait()
    return func.HttpResponse("finished")
"""


def test_a_function_receives_the_request_as_the_host_decodes_it(host: RunningHost) -> None:
    """Header names are in lower case, query values joined, and the route is decoded."""
    path = "/API/Echo/8%3Aacs/a%2Fb?a=1&A=2&empty=&code=k"
    response = host.call("PUT", path, {"X-Custom": "é".encode().decode("latin-1")}, b"body")

    seen = response.json()
    assert seen["method"] == "PUT"
    assert seen["url"] == (
        f"http://127.0.0.1:{host.port}/API/Echo/8:acs/a%2Fb?a=1&A=2&empty=&code=k"
    )
    assert seen["query"] == {"a": "1,2", "code": "k"}
    assert seen["route"] == {"rest": "8:acs/a%2Fb"}
    assert seen["headers"]["x-custom"] == "é"
    assert seen["body"] == "body"


def test_repeated_headers_are_joined_by_commas(host: RunningHost) -> None:
    """Their order is kept."""
    connection = HTTPConnection("127.0.0.1", host.port)
    connection.putrequest("GET", "/api/echo")
    connection.putheader("X-Twice", "1")
    connection.putheader("x-twice", "2")
    connection.endheaders()

    body = connection.getresponse().read()
    connection.close()

    assert b'"x-twice": "1,2"' in body


def test_a_chunked_body_is_dropped(host: RunningHost) -> None:
    """The host ignores a body without Content-Length."""
    response = host.call("POST", "/api/echo", {"Transfer-Encoding": "chunked"}, iter([b"a", b"b"]))

    assert (response.status, response.json()["body"]) == (200, "")


def test_a_compressed_body_is_not_decompressed(host: RunningHost) -> None:
    """The app receives the compressed bytes."""
    packed = gzip.compress(b"text")

    response = host.call("POST", "/api/echo", {"Content-Encoding": "gzip"}, packed)

    assert response.json()["body"].encode("latin-1") == packed


def test_a_body_above_the_limit_is_rejected(host: RunningHost) -> None:
    """The response is 413, with or without a Content-Length."""
    allowed = host.call("POST", "/api/echo", body=b"x" * BODY_LIMIT)
    rejected = host.call("POST", "/api/echo", body=b"x" * (BODY_LIMIT + 1))
    chunked = host.call(
        *("POST", "/api/echo", {"Transfer-Encoding": "chunked"}), iter([b"x" * (BODY_LIMIT + 1)])
    )

    assert (allowed.status, len(allowed.json()["body"])) == (200, BODY_LIMIT)
    assert (rejected.status, rejected.body) == (413, b"")
    assert (chunked.status, chunked.body) == (413, b"")


def test_expect_100_continue_is_answered(host: RunningHost) -> None:
    """Curl sends this before a large body."""
    with create_connection(("127.0.0.1", host.port), timeout=30) as client:
        client.sendall(
            b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n"
        )
        interim = client.recv(100)
        client.sendall(b"body")
        with client.makefile("rb") as rest:
            response = rest.read()

    assert interim == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"body": "body"' in response


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/echo/" + "x" * 8_200, {}, 414),
        ("/api/echo", {"X-Long": "x" * 33_000}, 431),
        ("/api/echo/a%00b", {}, 400),
    ],
)
def test_an_oversized_or_malformed_request_is_rejected(
    host: RunningHost, path: str, headers: dict[str, str], status: int
) -> None:
    """Kestrel responds, and no function is called."""
    response = host.call("GET", path, headers)

    assert (response.status, response.body) == (status, b"")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/unknown"),
        ("GET", "/unknown"),
        ("GET", "/locked"),
        ("POST", "/api/context"),
        ("HEAD", "/api/context"),
        ("OPTIONS", "/api/context"),
        ("GET", "/api/status/x"),
        ("POST", "/"),
    ],
)
def test_without_a_matching_route_the_response_is_an_empty_404(
    host: RunningHost, method: str, path: str
) -> None:
    """The path is unknown, the method is wrong, or a constraint fails."""
    response = host.call(method, path)

    assert (response.status, response.body) == (404, b"")
    assert "Content-Type" not in response.headers


def test_the_root_has_a_home_page(host: RunningHost) -> None:
    """It says that the app is running, and nothing else."""
    response = host.call("GET", "/")

    assert response.status == 200
    assert b"up and running" in response.body


@pytest.mark.parametrize("path", ["raises", "cancelled", "nothing", "status/204?body=x"])
def test_a_function_without_a_valid_result_gets_an_empty_500(host: RunningHost, path: str) -> None:
    """The reason is only in the log."""
    response = host.call("GET", f"/api/{path}")

    assert (response.status, response.body) == (500, b"")
    assert f"'Functions.{path.partition('/')[0]}' (Failed)\n    Traceback" in host.log()


def test_a_response_has_its_length(host: RunningHost) -> None:
    """An empty one too. Only 204 and 304 have none."""
    assert host.call("GET", "/api/status/200?body=abc").headers["Content-Length"] == "3"
    assert host.call("GET", "/api/status/202").headers["Content-Length"] == "0"
    assert "Content-Length" not in host.call("GET", "/api/status/204").headers


def test_a_text_response_has_its_charset(host: RunningHost) -> None:
    """It is the charset that the worker uses."""
    response = host.call("GET", "/api/status/200?body=abc")

    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/locked", {}, 401),
        ("/api/locked", {"x-functions-key": "wrong"}, 401),
        ("/api/locked", {"x-functions-key": ""}, 401),
        ("/api/locked?code=", {}, 401),
        ("/api/locked?code=%C3%A9", {}, 401),
        ("/api/locked", WITH_FUNCTION_KEY, 200),
        ("/api/locked", WITH_MASTER_KEY, 200),
        (f"/api/locked?code={FUNCTION_KEY}", {}, 200),
        (f"/api/locked?CODE={MASTER_KEY}", {}, 200),
        (f"/api/locked?code={FUNCTION_KEY}", {"x-functions-key": "wrong"}, 401),
        ("/api/root", WITH_FUNCTION_KEY, 401),
        ("/api/root", WITH_MASTER_KEY, 200),
        ("/api/echo", {}, 200),
        ("/api/off", WITH_FUNCTION_KEY, 404),
        ("/api/off", WITH_MASTER_KEY, 200),
    ],
)
def test_a_key_opens_its_level(
    host: RunningHost, path: str, headers: dict[str, str], status: int
) -> None:
    """FUNCTION accepts either key. ADMIN and disabled functions need the master key."""
    response = host.call("GET", path, headers)

    assert response.status == status
    assert status == 200 or response.body == b""


def test_a_context_describes_the_invocation(host: RunningHost) -> None:
    """It has name, folder, an id and no retry. The app does not see the host's keys."""
    one, other = (host.call("GET", "/api/context").json() for _ in range(2))

    assert one["name"] == "context"
    assert one["directory"] == one["cwd"]
    assert one["id"] != other["id"]
    assert (one["retries"], one["keys"]) == (0, [])


def test_a_trace_is_continued(host: RunningHost) -> None:
    """The host adds a span. Without a valid traceparent it starts a new trace."""
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    caller = {"traceparent": f"00-{trace}-{span}-01", "tracestate": "a=b"}

    continued = host.call("GET", "/api/context", caller).json()
    started = host.call("GET", "/api/context", {"traceparent": "nonsense"}).json()

    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-01", continued["trace"])
    assert span not in continued["trace"]
    assert continued["state"] == "a=b"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", started["trace"])


def test_all_functions_share_one_loop(host: RunningHost) -> None:
    """There is one event loop in the process."""
    loops = [host.call("GET", "/api/context").json()["loops"] for _ in range(3)]

    assert loops[0] == loops[-1]


def test_a_sync_function_runs_in_a_thread_and_logs_for_its_invocation(host: RunningHost) -> None:
    """The line has time, level, logger, invocation and the formatted message, but no `extra`."""
    seen = host.call("GET", "/api/thread").json()

    assert seen["name"].startswith("function_")
    line = f" INFO my.logger [{seen['id']}] in a thread, formatted\n"
    assert re.search(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z" + re.escape(line), host.log())
    assert "dropped" not in host.log()


def test_a_message_cannot_forge_a_second_record(host: RunningHost) -> None:
    """Further lines are indented. Printed text is logged, and records below INFO are not."""
    host.call("GET", "/api/forges")

    assert "] first\n    2000-01-01T00:00:00.000Z ERROR forged\n" in host.log()
    assert "\nprinted\n" in host.log()
    assert "too much" not in host.log()


def test_logs_of_an_ended_invocation_are_dropped(host: RunningHost) -> None:
    """A task that it started goes on, but its log lines do not arrive."""
    host.call("GET", "/api/leaves_a_task")

    assert host.call("GET", "/api/resume").status == 200

    assert "before the response" in host.log()
    assert "after the response" not in host.log()


def test_a_disconnect_does_not_cancel_the_function(host: RunningHost) -> None:
    """The function runs to its end."""
    caller = HTTPConnection("127.0.0.1", host.port)
    caller.request("GET", "/api/waits")
    assert host.call("GET", "/api/started").status == 200
    caller.close()

    assert host.call("GET", "/api/release").body == b"finished"
