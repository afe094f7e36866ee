"""Facts about requests and responses, over HTTP."""

import gzip
import re
from http.client import HTTPConnection
from pathlib import Path
from socket import create_connection

import pytest

from tests.local.running_host import (
    FUNCTION_KEY,
    MASTER_KEY,
    WITH_FUNCTION_KEY,
    WITH_MASTER_KEY,
    RunningHost,
    running_host,
    write_app,
)

BODY_LIMIT = 100_000
FAILED_ECHO = "Executed 'Functions.echo' (Failed)"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-00", "tracestate": "a=b"}
SETTINGS = {
    "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(BODY_LIMIT),
    "AzureWebJobs.switched_off.Disabled": "true",
}
APP = """
import asyncio, collections, json, logging, os, threading
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
LOOPS, TASKS, EVENTS = set(), set(), collections.defaultdict(asyncio.Event)

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
    return respond(id=context.invocation_id, name=threading.current_thread().name)

@app.route(route="raises/{error}", methods=["GET"])
async def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise {"error": RuntimeError, "cancelled": asyncio.CancelledError}[req.route_params["error"]]

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
        await EVENTS["resumed"].wait()
        logging.info("after the response")
        EVENTS["logged"].set()
    TASKS.add(asyncio.create_task(log_later()))
    await asyncio.sleep(0)
    return func.HttpResponse()

async def empty(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()

LEVELS = {"locked": "FUNCTION", "locked_too": "FUNCTION", "root": "ADMIN",
          "switched_off": "ANONYMOUS"}
for name, level in LEVELS.items():
    app.function_name(name)(app.route(auth_level=func.AuthLevel[level], methods=["GET"])(empty))

@app.route(route="set/{event}/wait/{other}", methods=["GET"])
async def set_and_wait(req: func.HttpRequest) -> func.HttpResponse:
    EVENTS[req.route_params["event"]].set()
    await EVENTS[req.route_params["other"]].wait()
    EVENTS["end of " + req.route_params["event"]].set()
    return func.HttpResponse()
"""


def test_a_function_receives_the_request_as_the_host_decodes_it(host: RunningHost) -> None:
    """Names are in lower case, values joined, the route decoded, and the body not decompressed."""
    path = "/API/Echo/8%3Aacs/a%2Fb?a=1&A=2&empty=&code=k"
    packed = gzip.compress(b"text")
    headers = {"X-Custom": "é".encode().decode("latin-1"), "Content-Encoding": "gzip"}

    seen = host.call("PUT", path, headers, packed).json()

    assert seen["method"] == "PUT"
    assert seen["url"] == (
        f"http://127.0.0.1:{host.port}/API/Echo/8:acs/a%2Fb?a=1&A=2&empty=&code=k"
    )
    assert seen["query"] == {"A": "1,2", "code": "k"}
    assert seen["route"] == {"rest": "8:acs/a%2Fb"}
    assert seen["headers"]["x-custom"] == "é"
    assert seen["body"].encode("latin-1") == packed


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


def test_a_body_above_the_limit_fails_the_invocation(host: RunningHost) -> None:
    """The response is an empty 500, and the app is not called."""
    before = host.log().count(FAILED_ECHO)

    allowed = host.call("POST", "/api/echo", body=b"x" * BODY_LIMIT)
    rejected = host.call("POST", "/api/echo", body=b"x" * (BODY_LIMIT + 1))

    assert (allowed.status, len(allowed.json()["body"])) == (200, BODY_LIMIT)
    assert (rejected.status, rejected.body) == (500, b"")
    assert host.log().count(FAILED_ECHO) == before + 1


@pytest.mark.parametrize(("path", "status"), [("/api/locked", 401), ("/api/unknown", 404)])
def test_key_and_route_are_checked_before_the_size(
    host: RunningHost, path: str, status: int
) -> None:
    """The rest of the body is skipped."""
    assert host.call("GET", path, body=b"x" * (BODY_LIMIT + 1)).status == status


def test_a_chunked_body_never_reaches_the_app(host: RunningHost) -> None:
    """The host reads only bodies with a Content-Length, so their size does not matter either."""
    chunked = {"Transfer-Encoding": "chunked"}

    response = host.call("POST", "/api/echo", chunked, b"x" * (BODY_LIMIT + 1))

    assert (response.status, response.json()["body"]) == (200, "")


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
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/echo/" + "x" * 8_200, {}, 414),
        ("GET", "/api/echo", {"X-Long": "x" * 33_000}, 431),
        ("GET", "/api/echo/a%00b", {}, 400),
        ("GET", "/api/unknown", {}, 404),
        ("GET", "/unknown", {}, 404),
        ("GET", "/locked", {}, 404),
        ("POST", "/api/context", {}, 404),
        ("HEAD", "/api/context", {}, 404),
        ("OPTIONS", "/api/context", {}, 404),
        ("GET", "/api/status/x", {}, 404),
    ],
)
def test_the_host_rejects_a_request_with_an_empty_response(
    host: RunningHost, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """It is too long, its path is malformed, or no route matches path, method and constraint."""
    response = host.call(method, path, headers)

    assert (response.status, response.body) == (status, b"")
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_root_has_a_home_page(host: RunningHost, method: str) -> None:
    """It says that the app is running, and nothing else. The platform does not get it."""
    response = host.call(method, "/", {"X-ARR-LOG-ID": "1"})

    assert response.status == 200
    assert b"up and running" in response.body
    assert host.call(method, "/").status == 204


@pytest.mark.parametrize("path", ["raises/error", "raises/cancelled", "nothing"])
def test_a_function_without_a_valid_result_gets_an_empty_500(host: RunningHost, path: str) -> None:
    """The reason is only in the log."""
    failure = f"'Functions.{path.partition('/')[0]}' (Failed)\n    Traceback"
    before = host.log().count(failure)

    response = host.call("GET", f"/api/{path}")

    assert (response.status, response.body) == (500, b"")
    assert host.log().count(failure) == before + 1


def test_a_response_is_chunked_unless_it_is_empty(host: RunningHost) -> None:
    """A text has its charset. Only 204 and 304 have neither chunks nor a length."""
    text = host.call("GET", "/api/status/200?body=abc").headers

    assert (text["Transfer-Encoding"], text["Content-Length"]) == ("chunked", None)
    assert text["Content-Type"] == "text/plain; charset=utf-8"
    assert host.call("GET", "/api/status/202").headers["Content-Length"] == "0"
    assert "Content-Length" not in host.call("GET", "/api/status/204").headers


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_the_status_forbids_is_dropped(host: RunningHost, status: int) -> None:
    """The connection ends, because the app has broken the protocol."""
    response = host.call("GET", f"/api/status/{status}?body=abc")

    assert (response.status, response.body) == (status, b"")
    assert response.headers["Connection"] == "close"


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
        (f"/api/locked?code={FUNCTION_KEY}&code=wrong", {}, 200),
        (f"/api/locked?code=wrong&code={FUNCTION_KEY}", {}, 401),
        ("/api/locked", {"x-functions-key": f"{FUNCTION_KEY},wrong"}, 401),
        ("/api/root", WITH_FUNCTION_KEY, 401),
        ("/api/root", WITH_MASTER_KEY, 200),
        ("/api/echo", {}, 200),
        ("/api/switched_off", WITH_FUNCTION_KEY, 404),
        ("/api/switched_off", WITH_MASTER_KEY, 200),
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
    """It has name, folder, an id and no retry. All share one loop. The host's keys are hidden."""
    one, other = (host.call("GET", "/api/context").json() for _ in range(2))

    assert one["name"] == "context"
    assert one["directory"] == one["cwd"]
    assert one["id"] != other["id"]
    assert (one["retries"], one["keys"]) == (0, [])
    assert one["loops"] == other["loops"] == 1


def test_a_function_has_a_key_of_its_own(host: RunningHost) -> None:
    """It opens only that function."""
    path = "/admin/functions/locked/keys/default"
    key = host.call("GET", path, WITH_MASTER_KEY).json()["value"]

    def status(function: str) -> int:
        return host.call("GET", f"/api/{function}", {"x-functions-key": key}).status

    assert (status("locked"), status("root"), status("locked_too")) == (200, 401, 401)


def test_without_telemetry_there_is_no_trace(host: RunningHost) -> None:
    """The host creates a context only if Application Insights or OpenTelemetry is on."""
    seen = host.call("GET", "/api/context", CALLER).json()

    assert (seen["trace"], seen["state"]) == ("", "")


def test_with_telemetry_a_trace_is_continued(tmp_path: Path) -> None:
    """The host adds a sampled span. Without a valid traceparent it starts a new trace."""
    settings = {"APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=x"}
    with running_host(write_app(tmp_path, APP), settings) as host:
        seen = host.call("GET", "/api/context", CALLER).json()
        started = host.call("GET", "/api/context", {"traceparent": "nonsense"}).json()

    assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-01", seen["trace"])
    assert SPAN not in seen["trace"]
    assert seen["state"] == "a=b"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", started["trace"])


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

    assert host.call("GET", "/api/set/resumed/wait/logged").status == 200

    assert "before the response" in host.log()
    assert "after the response" not in host.log()


def test_a_disconnect_does_not_cancel_the_function(host: RunningHost) -> None:
    """The function runs to its end."""
    caller = HTTPConnection("127.0.0.1", host.port)
    caller.request("GET", "/api/set/started/wait/released")
    assert host.call("GET", "/api/set/x/wait/started").status == 200
    caller.close()

    assert host.call("GET", "/api/set/released/wait/end%20of%20started").status == 200
