"""Facts about requests and answers, over HTTP."""

import gzip
import re
from http.client import HTTPConnection
from socket import create_connection

import pytest

from tests.local.functions_host.running import (
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
TASKS, LET_GO, OVER = set(), asyncio.Event(), asyncio.Event()

def answer(**fields):
    return func.HttpResponse(json.dumps(fields), mimetype="application/json")

@app.route(route="echo/{*rest}")
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return answer(method=req.method, url=req.url, headers=dict(req.headers), query=dict(req.params),
                  route=dict(req.route_params), body=req.get_body().decode("latin-1"))

@app.route(route="context", methods=["GET"])
async def context(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    LOOPS.add(asyncio.get_running_loop())
    return answer(id=context.invocation_id, name=context.function_name,
                  directory=context.function_directory, loops=len(LOOPS),
                  trace=context.trace_context.trace_parent,
                  state=context.trace_context.trace_state,
                  retries=context.retry_context.retry_count, cwd=os.getcwd(),
                  keys=[name for name in os.environ if name.startswith("LOCAL_HOST")])

@app.route(route="thread", methods=["GET"])
def thread(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    logging.getLogger("my.logger").info("in a thread, %s", "formatted", extra={"secret": "dropped"})
    LOOPS.add("thread")
    return answer(id=context.invocation_id, name=threading.current_thread().name)

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

@app.route(route="outlives", methods=["GET"])
async def outlives(req: func.HttpRequest) -> func.HttpResponse:
    async def go_on() -> None:
        logging.info("before the answer")
        await LET_GO.wait()
        logging.info("after the answer")
        OVER.set()
    TASKS.add(asyncio.create_task(go_on()))
    await asyncio.sleep(0)
    return func.HttpResponse()

@app.route(route="lets_go", methods=["GET"])
async def lets_go(req: func.HttpRequest) -> func.HttpResponse:
    LET_GO.set()
    await OVER.wait()
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


def test_a_function_sees_the_request_as_the_host_hands_it_on(host: RunningHost) -> None:
    """Headers in lower case, query values joined, the URL with its query, the route decoded."""
    path = "/API/Echo/8%3Aacs/a%2Fb?a=1&A=2&empty=&code=k"
    reply = host.call("PUT", path, {"X-Custom": "é".encode().decode("latin-1")}, b"body")

    seen = reply.json()
    assert seen["method"] == "PUT"
    assert seen["url"] == (
        f"http://127.0.0.1:{host.port}/API/Echo/8:acs/a%2Fb?a=1&A=2&empty=&code=k"
    )
    assert seen["query"] == {"a": "1,2", "code": "k"}
    assert seen["route"] == {"rest": "8:acs/a%2Fb"}
    assert seen["headers"]["x-custom"] == "é"
    assert seen["body"] == "body"


def test_repeated_headers_are_joined_by_commas(host: RunningHost) -> None:
    """In the order in which they came."""
    connection = HTTPConnection("127.0.0.1", host.port)
    connection.putrequest("GET", "/api/echo")
    connection.putheader("X-Twice", "1")
    connection.putheader("x-twice", "2")
    connection.endheaders()

    body = connection.getresponse().read()
    connection.close()

    assert b'"x-twice": "1,2"' in body


def test_a_chunked_body_arrives_empty(host: RunningHost) -> None:
    """The host reads no body without a Content-Length."""
    reply = host.call("POST", "/api/echo", {"Transfer-Encoding": "chunked"}, iter([b"a", b"b"]))

    assert (reply.status, reply.json()["body"]) == (200, "")


def test_a_compressed_body_is_left_as_it_is(host: RunningHost) -> None:
    """The host unpacks nothing."""
    packed = gzip.compress(b"text")

    reply = host.call("POST", "/api/echo", {"Content-Encoding": "gzip"}, packed)

    assert reply.json()["body"].encode("latin-1") == packed


def test_a_body_may_be_as_large_as_the_limit(host: RunningHost) -> None:
    """And no larger: 413, with or without its length being told."""
    taken = host.call("POST", "/api/echo", body=b"x" * BODY_LIMIT)
    refused = host.call("POST", "/api/echo", body=b"x" * (BODY_LIMIT + 1))
    chunked = host.call(
        *("POST", "/api/echo", {"Transfer-Encoding": "chunked"}), iter([b"x" * (BODY_LIMIT + 1)])
    )

    assert (taken.status, len(taken.json()["body"])) == (200, BODY_LIMIT)
    assert (refused.status, refused.body) == (413, b"")
    assert (chunked.status, chunked.body) == (413, b"")


def test_a_client_that_asks_whether_to_continue_may(host: RunningHost) -> None:
    """As curl does before a large body."""
    with create_connection(("127.0.0.1", host.port), timeout=30) as client:
        client.sendall(
            b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
            b"Connection: close\r\n\r\n"
        )
        told = client.recv(100)
        client.sendall(b"body")
        with client.makefile("rb") as rest:
            answer = rest.read()

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"body": "body"' in answer


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/echo/" + "x" * 8_200, {}, 414),
        ("/api/echo", {"X-Long": "x" * 33_000}, 431),
        ("/api/echo/a%00b", {}, 400),
    ],
)
def test_kestrel_refuses_what_is_too_long_or_no_path(
    host: RunningHost, path: str, headers: dict[str, str], status: int
) -> None:
    """Before any function sees it."""
    reply = host.call("GET", path, headers)

    assert (reply.status, reply.body) == (status, b"")


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
def test_what_no_route_fits_is_404_and_empty(host: RunningHost, method: str, path: str) -> None:
    """An unknown path, a wrong method, a constraint that does not hold."""
    reply = host.call(method, path)

    assert (reply.status, reply.body) == (404, b"")
    assert "Content-Type" not in reply.headers


def test_the_root_is_a_home_page(host: RunningHost) -> None:
    """It shows that the app is up, and nothing about it."""
    reply = host.call("GET", "/")

    assert reply.status == 200
    assert b"up and running" in reply.body


@pytest.mark.parametrize("path", ["raises", "cancelled", "nothing", "status/204?body=x"])
def test_a_function_that_gives_no_answer_is_500_and_empty(host: RunningHost, path: str) -> None:
    """Nothing of the reason leaves the host; the log has its traceback."""
    reply = host.call("GET", f"/api/{path}")

    assert (reply.status, reply.body) == (500, b"")
    assert f"'Functions.{path.partition('/')[0]}' (Failed)\n    Traceback" in host.log()


def test_an_answer_tells_its_length(host: RunningHost) -> None:
    """Even an empty one; only 204 and 304 cannot."""
    assert host.call("GET", "/api/status/200?body=abc").headers["Content-Length"] == "3"
    assert host.call("GET", "/api/status/202").headers["Content-Length"] == "0"
    assert "Content-Length" not in host.call("GET", "/api/status/204").headers


def test_text_is_answered_with_its_charset(host: RunningHost) -> None:
    """As the worker encodes it."""
    reply = host.call("GET", "/api/status/200?body=abc")

    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


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
    """FUNCTION takes either key, ADMIN and disabled functions the master key only."""
    reply = host.call("GET", path, headers)

    assert reply.status == status
    assert status == 200 or reply.body == b""


def test_a_function_gets_its_context_when_it_declares_one(host: RunningHost) -> None:
    """Its name, its folder, an id of its own, no retry; and the host's keys are nowhere."""
    one, other = (host.call("GET", "/api/context").json() for _ in range(2))

    assert one["name"] == "context"
    assert one["directory"] == one["cwd"]
    assert one["id"] != other["id"]
    assert (one["retries"], one["keys"]) == (0, [])


def test_a_trace_is_continued(host: RunningHost) -> None:
    """With a span of the host's own; without a caller's trace a new one begins."""
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    caller = {"traceparent": f"00-{trace}-{span}-01", "tracestate": "a=b"}

    continued = host.call("GET", "/api/context", caller).json()
    begun = host.call("GET", "/api/context", {"traceparent": "nonsense"}).json()

    assert re.fullmatch(rf"00-{trace}-[0-9a-f]{{16}}-01", continued["trace"])
    assert span not in continued["trace"]
    assert continued["state"] == "a=b"
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", begun["trace"])


def test_all_functions_share_one_loop(host: RunningHost) -> None:
    """For the life of the process."""
    loops = [host.call("GET", "/api/context").json()["loops"] for _ in range(3)]

    assert loops[0] == loops[-1]


def test_a_sync_function_runs_in_a_thread_and_logs_for_its_invocation(host: RunningHost) -> None:
    """One line: time, level, logger, invocation, and the formatted message alone."""
    seen = host.call("GET", "/api/thread").json()

    assert seen["name"].startswith("function_")
    line = f" INFO my.logger [{seen['id']}] in a thread, formatted\n"
    assert re.search(r"(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z" + re.escape(line), host.log())
    assert "dropped" not in host.log()


def test_a_message_cannot_pass_for_a_record_of_its_own(host: RunningHost) -> None:
    """Further lines are indented; what is printed is there too, what is below INFO is not."""
    host.call("GET", "/api/forges")

    assert "] first\n    2000-01-01T00:00:00.000Z ERROR forged\n" in host.log()
    assert "\nprinted\n" in host.log()
    assert "too much" not in host.log()


def test_nothing_is_heard_of_an_invocation_that_has_ended(host: RunningHost) -> None:
    """Whatever it has left behind goes on, and logs in vain."""
    host.call("GET", "/api/outlives")

    assert host.call("GET", "/api/lets_go").status == 200

    assert "before the answer" in host.log()
    assert "after the answer" not in host.log()


def test_a_caller_who_hangs_up_cancels_nothing(host: RunningHost) -> None:
    """The function goes on to its end."""
    caller = HTTPConnection("127.0.0.1", host.port)
    caller.request("GET", "/api/waits")
    assert host.call("GET", "/api/started").status == 200
    caller.close()

    assert host.call("GET", "/api/release").body == b"finished"
