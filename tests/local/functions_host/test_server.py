"""Facts about connections, which only raw bytes can show, and about how requests are parsed."""

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from socket import IPPROTO_TCP, SHUT_WR, TCP_NODELAY, create_connection

import pytest

from local.functions_host.http import Request, Response
from local.functions_host.request_head import Rejection, parse_head, take_lines
from local.functions_host.server import bind, frame, serve
from tests.local.running_host import TIMEOUT, WITH_MASTER_KEY, RunningHost

APP = """
import asyncio
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

@app.route(route="echo")
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body() or req.method)

@app.route(route="late")
async def late(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(0.1)
    return func.HttpResponse("late")
"""
FAILED = "Executed 'Functions.echo' (Failed)"
GET = b"GET /api/echo HTTP/1.1\r\nHost: h\r\n\r\n"
LAST_GET = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
ADMIN = (
    b"POST /admin/functions/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    b"x-functions-key: %b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    % WITH_MASTER_KEY["x-functions-key"].encode()
)


def post(length: int, more: str = "") -> bytes:
    """The head of a request that announces a body of this length."""
    return f"POST /api/echo HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def exchange(host: RunningHost, sent: bytes, *, half_closes: bool = False) -> bytes:
    """Sends bytes on a new connection and reads until the host ends it."""
    with create_connection(("127.0.0.1", host.port), TIMEOUT) as client:
        client.sendall(sent)
        if half_closes:
            client.shutdown(SHUT_WR)
        with client.makefile("rb") as stream:
            return stream.read()


def exchange_slowly(host: RunningHost, sent: bytes) -> bytes:
    """Sends the bytes one by one."""
    with create_connection(("127.0.0.1", host.port), TIMEOUT) as client:
        client.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        for byte in sent:
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        with client.makefile("rb") as stream:
            return stream.read()


def statuses(received: bytes) -> list[int]:
    """The statuses of the responses on a connection."""
    lines = (part.partition(b"\r\n")[0] for part in received.split(b"HTTP/1.1 ")[1:])
    return [int(line.split(b" ")[0]) for line in lines]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (GET + LAST_GET, [200, 200]),
        (b"\r\n" + GET + post(1) + b"x" + LAST_GET, [200, 200, 200]),
        (LAST_GET + GET, [200]),
        (GET.replace(b"1.1", b"1.0") + GET, [200]),
        (GET.replace(b"1.1\r\n", b"1.0\r\nConnection: keep-alive\r\n") + LAST_GET, [200]),
        (GET + b"nonsense\r\n\r\n" + GET, [200, 400]),
        (GET + b"GET / HTTP/1.1\r\nHost: h\r\n", [200, 400]),
        # A body that the host did not read is skipped before the next request.
        (post(3).replace(b"echo", b"none") + b"abc" + LAST_GET, [404, 200]),
        (post(3).replace(b"Content-Length: 3", b"Transfer-Encoding: chunked")
         + b"3;x=y\r\nabc\r\n0\r\nTrailer: x\r\n\r\n" + LAST_GET, [200, 200]),
        (post(3).replace(b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"-3\r\n", [200]),
    ],
)  # fmt: skip
def test_requests_share_a_connection(host: RunningHost, sent: bytes, expected: list[int]) -> None:
    """Until one asks for its end, is malformed, or is of HTTP/1.0, whose bodies end with it."""
    assert statuses(exchange(host, sent, half_closes=True)) == expected


@pytest.mark.parametrize("head", [post(3), post(3, "Connection: close\r\n")])
def test_a_body_that_is_cut_off_fails_the_invocation(host: RunningHost, head: bytes) -> None:
    """The response is an empty 500 and the last one, the app is not called, and it is logged."""
    before = host.log().count(FAILED)

    received = exchange(host, head + b"ab", half_closes=True)

    assert statuses(received) == [500]
    assert b"\r\nConnection: close\r\n" in received
    assert received.endswith(b"\r\n\r\n")
    assert host.log().count(FAILED) == before + 1


def test_a_body_that_stalls_fails_the_invocation(host: RunningHost) -> None:
    """The host waits for five seconds, and longer only for a body that arrives fast enough."""
    started = time.monotonic()

    received = exchange(host, post(3) + b"ab")

    assert statuses(received) == [500]
    assert 4.5 < time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("sent", "expected", "seconds"),
    [
        (b"", [], 130),
        (b"GET / HTTP/1.1", [], 130),
        (b"GET / HTTP/1.1\r\nHost: h", [408], 30),
        (GET + b"\r\n", [200], 130),
        (GET + b"GET / HTTP/1.1\r\n", [200, 408], 30),
    ],
)
def test_a_head_must_arrive_in_time(
    virtual_time: asyncio.Runner, sent: bytes, expected: list[int], seconds: float
) -> None:
    """A connection may be idle for 130 seconds. Headers have 30 seconds after the request line."""

    async def respond(_: Request) -> Response:
        return Response(200)

    async def send() -> tuple[bytes, float]:
        with bind(0) as bound:
            async with await serve(bound, respond, 0):
                reader, writer = await asyncio.open_connection(*bound.getsockname())
                writer.write(sent)
                received = await reader.read()
                ended = asyncio.get_running_loop().time()
                writer.close()
                return received, ended

    received, ended = virtual_time.run(send())

    assert statuses(received) == expected
    assert ended == pytest.approx(seconds, abs=1)


def test_a_body_may_arrive_in_pieces(host: RunningHost) -> None:
    """Chunked or not. A function gets only one that is not."""
    chunked = ADMIN + b'a;x=y\r\n{"input":"\r\n2\r\n"}\r\n0\r\nTrailer: x\r\n\r\n'

    assert statuses(exchange_slowly(host, chunked)) == [202]
    assert b"abc" in exchange_slowly(host, post(3, "Connection: close\r\n") + b"abc")


def test_a_client_that_leaves_before_the_response_is_no_error(host: RunningHost) -> None:
    """Nothing is logged about it."""
    for sent in (GET, LAST_GET):
        with create_connection(("127.0.0.1", host.port), TIMEOUT) as client:
            client.sendall(sent.replace(b"echo", b"late"))
    exchange(host, LAST_GET.replace(b"echo", b"late"))
    exchange(host, LAST_GET)

    assert "Unhandled exception" not in host.log()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'c\r\n{"input":""}\r\n0\r\n\r\n', 202),
        (b'c\r\n{"input":""}x\r\n0\r\n\r\n', 500),
        (b'2\r\n{"\r\na\r\ninput":""}\r\n\r\n0\r\n\r\n', 500),
        (b"zz\r\n", 500),
    ],
)
def test_an_admin_endpoint_reads_a_chunked_body(
    host: RunningHost, body: bytes, status: int
) -> None:
    """A function never gets one."""
    assert statuses(exchange(host, ADMIN + body, half_closes=True)) == [status]


def test_a_body_is_asked_for_only_when_it_is_read(host: RunningHost) -> None:
    """Without the route, the client sends it in vain, so the connection ends."""
    expects = "Expect: 100-continue\r\n"

    unread = exchange(host, post(3, expects).replace(b"echo", b"none"))

    assert statuses(unread) == [404]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/1", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("G(T / HTTP/1.1", 400),
        (" / HTTP/1.1", 400),
        ("GET /é HTTP/1.1", 400),
        ("GET /a#b HTTP/1.1", 400),
        ("GET /a%00b HTTP/1.1", 400),
        ("GET a/b HTTP/1.1", 400),
        ("GET * HTTP/1.1", 405),
        ("options * HTTP/1.1", 405),
        ("connect h HTTP/1.1", 405),
        ("GET h:80 HTTP/1.1", 405),
        ("CONNECT x:80 HTTP/1.1", 400),
        ("GET http://x/ HTTP/1.1", 400),
        ("POST / HTTP/1.0", 400),
    ],
)
def test_a_request_line_is_rejected(line: str, status: int) -> None:
    """It is malformed, of another version, or its target does not fit to the method or the host."""
    with pytest.raises(Rejection) as raised:
        parse_head([line.encode(), b"Host: h"])

    assert raised.value.response.status == status


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"Host: a", b"Host: a"],
        [b"Host: a/b"],
        [b"Host: u@a"],
        [b"Host: a:"],
        [b"Host: :80"],
        [b"Host: a", b"X"],
        [b"Host: a", b": 1"],
        [b"Host: a", b"X A: 1"],
        [b"Host: a", b"X : 1"],
        [b"Host: a", b" folded"],
        [b"Host: a", b"X: \xe9"],
        [b"Host: a", b"X: a\0b"],
        [b"Host: a", b"X: a\rb"],
        [b"Host: a", b"Content-Length: x"],
        [b"Host: a", b"Content-Length: -1"],
        [b"Host: a", b"Content-Length: "],
        [b"Host: a", b"Content-Length: 9223372036854775808"],
        [b"Host: a", b"Content-Length: " + b"9" * 5000],
        [b"Host: a", b"Content-Length: 1", b"Content-Length: 1"],
        [b"Host: a", b"Transfer-Encoding: identity"],
        [b"Host: a", b"Transfer-Encoding: chunked, gzip"],
    ],
)
def test_headers_are_rejected(lines: list[bytes]) -> None:
    """Kestrel responds with 400."""
    with pytest.raises(Rejection) as raised:
        parse_head([b"GET / HTTP/1.1", *lines])

    assert raised.value.response.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    ("line", "host", "parsed"),
    [
        ("get /a?b HTTP/1.1", "h", ("get", "/a", "?b")),
        ("foo /a? HTTP/1.1", "h", ("foo", "/a", "?")),
        ("GET http://h:80/a?b HTTP/1.1", "h", ("GET", "/a", "?b")),
        ("GET http://u:p@h/a%2Fb%3A?%2F HTTP/1.1", "h", ("GET", "/a/b:", "?%2F")),
        ("GET https://h HTTP/1.1", "h:443", ("GET", "/", "")),
        ("GET / HTTP/1.1", "[::1]:80", ("GET", "/", "")),
        ("OPTIONS * HTTP/1.1", "h", ("OPTIONS", "", "")),
        ("CONNECT h:80 HTTP/1.1", "h:80", ("CONNECT", "", "")),
    ],
)
def test_a_request_line_is_accepted(line: str, host: str, parsed: tuple[str, str, str]) -> None:
    """Its method, path and query, in each form of a target."""
    head = parse_head([line.encode(), f"Host: {host}".encode()])

    assert (head.method, head.request.path, head.request.query_string) == parsed


@pytest.mark.parametrize(("text", "length"), [("0" * 5000 + "3", 3), (str(2**63 - 1), 2**63 - 1)])
def test_a_length_has_64_bits(text: str, length: int) -> None:
    """As in .NET. It is above the limit for bodies, which is checked later."""
    head = parse_head([b"POST / HTTP/1.1", b"Host: h", f"Content-Length: {text}".encode()])

    assert head.content_length == length


def test_a_head_is_taken_when_it_is_complete() -> None:
    """Empty lines before it are skipped. What follows it stays."""
    buffer, taken = bytearray(), []
    for byte in b"\r\n\nGET / HTTP/1.1\r\nHost: h\n\r\nbody":
        buffer.append(byte)
        taken += take_lines(buffer)

    assert taken == [b"GET / HTTP/1.1", b"Host: h"]
    assert buffer == b"body"


@pytest.mark.parametrize(
    ("longest", "status"),
    [
        (b"GET /" + b"a" * 8_176 + b" HTTP/1.1\r", HTTPStatus.REQUEST_URI_TOO_LONG),
        (b"GET / HTTP/1.1\nX:" + b"a" * 32_764 + b"\r", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
        (b"GET / HTTP/1.1" + b"\nX:" * 100, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE),
    ],
)
def test_a_head_that_is_too_long_is_rejected(longest: bytes, status: HTTPStatus) -> None:
    """Even if it is not complete."""
    assert take_lines(bytearray(longest + b"\n\r\n"))
    assert not take_lines(bytearray(longest + b"\n\r"))
    with pytest.raises(Rejection) as raised:
        take_lines(bytearray(longest.replace(b" ", b" /", 1) + b"\nX:1\n"))

    assert raised.value.response.status == status


def test_a_method_in_lower_case_is_another_method_for_the_server(host: RunningHost) -> None:
    """The app sees it in upper case, but the response to `head` has a body."""
    received = exchange(host, LAST_GET.replace(b"GET", b"head"))

    assert received.endswith(b"4\r\nHEAD\r\n0\r\n\r\n")


def test_a_chunked_request_has_no_length() -> None:
    """Kestrel renames the other header, so that the two cannot contradict each other."""
    lines = [b"Host: h", b"Transfer-Encoding: gzip, chunked", b"Content-Length: 3"]

    head = parse_head([b"POST / HTTP/1.1", *lines])

    assert (head.is_chunked, head.content_length) == (True, None)
    assert head.request.headers["x-content-length"] == "3"


def framed(response: Response, method: str = "GET", **facts: bool) -> Iterator[str]:
    """The status line, the headers but for the date, and the body."""
    data, keeps_alive = frame(response, method, **{"keeps_alive": True, **facts})
    head, _, body = data.decode().partition("\r\n\r\n")
    yield from (line for line in head.split("\r\n") if not line.startswith(("Date", "Server")))
    yield body
    yield f"keeps alive: {keeps_alive}"


@pytest.mark.parametrize(
    ("response", "method", "is_http_10", "expected"),
    [
        (Response(200), "GET", False, "200 OK|Content-Length: 0||keeps alive: True"),
        (
            Response(200, (), b"abc"),
            *("GET", False),
            "200 OK|Transfer-Encoding: chunked|3\r\nabc\r\n0\r\n\r\n|keeps alive: True",
        ),
        (Response(200, (), b"abc"), "HEAD", False, "200 OK||keeps alive: True"),
        (Response(200, (), b"abc"), "GET", True, "200 OK|Connection: close|abc|keeps alive: False"),
        (Response(204), "GET", False, "204 No Content||keeps alive: True"),
        (
            Response(304, (), b"abc"),
            *("GET", False),
            "304 Not Modified|Connection: close||keeps alive: False",
        ),
        (
            Response(299, (("Content-Length", "3"),), b"abc"),
            *("GET", False),
            "299 |Content-Length: 3|abc|keeps alive: True",
        ),
        (
            Response(200, (("Content-Length", "2"),), b"abc"),
            *("GET", False),
            "200 OK|Content-Length: 2|Connection: close|ab|keeps alive: False",
        ),
        (
            Response(200, (("Connection", "close"),)),
            *("GET", False),
            "200 OK|Content-Length: 0|Connection: close||keeps alive: False",
        ),
    ],
)
def test_a_response_is_framed(
    response: Response, method: str, is_http_10: bool, expected: str
) -> None:
    """By chunks, a length, or the end of the connection."""
    lines = framed(response, method, is_http_10=is_http_10)

    assert "|".join(lines) == f"HTTP/1.1 {expected}"


def test_a_response_has_the_current_date() -> None:
    """In whole seconds, and in UTC."""
    [date] = re.findall(rb"\r\nDate: (.+ GMT)\r\n", frame(Response(200))[0])

    age = datetime.now(UTC) - parsedate_to_datetime(date.decode())
    assert timedelta() <= age < timedelta(minutes=1)
