"""An HTTP/1.x server that accepts and rejects what Kestrel, the real host's server, does.

Sources: HttpParser.cs, Http1Connection.cs, Http1MessageBody.cs, HttpUtilities.cs and
KestrelServerLimits.cs of dotnet/aspnetcore 8.
"""

import asyncio
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

from local.functions_host.http import (
    BodyError,
    Handler,
    PathError,
    Request,
    Response,
    decode_path,
    first_values,
    fold,
    query_pairs,
)

LOOPBACK = "127.0.0.1"
DEFAULT_BODY_LIMIT = 104_857_600
_REQUEST_LINE_LIMIT = 8_192
_HEADERS_LIMIT = 32_768
_HEADER_COUNT_LIMIT = 100
# Longer lines are rejected without reading them to their end.
_BUFFER_LIMIT = 65_536
# Seconds.
_KEEP_ALIVE_TIMEOUT = 130.0
_HEAD_TIMEOUT = 30.0
_DRAIN_TIMEOUT = 5.0
# A body must arrive at this rate, after a grace period.
_BYTES_PER_SECOND = 240.0
_GRACE = 5.0

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[!$&'()\-._~0-9A-Za-z]+)(?::[0-9]+)?")
_AUTHORITY = re.compile(r"[\-.:\[\]@0-9A-Za-z]+")
_ABSOLUTE = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]+)(?P<path>/[^?]*)?(?P<query>.*)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_REASONS = {status.value: status.phrase for status in HTTPStatus}
_BODILESS = (204, 205, 304)

logger = logging.getLogger(__name__)


class Rejection(Exception):
    """A request that the server itself responds to."""

    def __init__(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        super().__init__(status.phrase)
        self.response = Response(status, headers)


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and headers that are valid.

    Attributes:
        path: decoded; empty for `OPTIONS *` and CONNECT.
        content_length: None if the body is chunked or there is no body.
    """

    method: str
    path: str
    query_string: str
    is_http_10: bool
    headers: tuple[tuple[str, str], ...]
    content_length: int | None
    is_chunked: bool
    keeps_alive: bool


def parse_head(lines: Sequence[bytes]) -> Head:
    """Parse a request line and its header lines, without their line ends.

    Raises:
        Rejection: Kestrel rejects the request.
    """
    method, target, is_http_10 = _parse_request_line(lines[0])
    headers = tuple(_parse_header(line) for line in lines[1:])
    values = fold((name.lower(), value) for name, value in headers)
    names = [name.lower() for name, _ in headers]
    host = values.get("host")
    if names.count("host") > 1 or (host is None and not is_http_10):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    if host and not _HOST.fullmatch(host):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    path, query_string = _parse_target(method, target, host or "")
    is_chunked = _is_chunked(values.get("transfer-encoding"))
    if is_chunked:
        # A request with both could be read in two ways, so Kestrel renames the other header.
        headers = tuple((_renamed(name), value) for name, value in headers)
    length = None if is_chunked else _content_length(headers)
    if is_http_10 and method in ("POST", "PUT") and length is None and not is_chunked:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    connection = {each.strip().lower() for each in values.get("connection", "").split(",")}
    keeps_alive = "keep-alive" in connection if is_http_10 else "close" not in connection
    return Head(*(method, path, query_string, is_http_10, headers, length, is_chunked, keeps_alive))


def _parse_request_line(line: bytes) -> tuple[str, str, bool]:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if not (_TOKEN.fullmatch(method) and target and target.isascii()) or b"\0" in target:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        is_version = len(version) == len(b"HTTP/1.1")
        raise Rejection(
            HTTPStatus.HTTP_VERSION_NOT_SUPPORTED if is_version else HTTPStatus.BAD_REQUEST
        )
    return method.decode().upper(), target.decode(), version == b"HTTP/1.0"


def _parse_header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name) or b"\0" in value or b"\r" in value:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    try:
        return name.decode(), value.strip(b" \t").decode()
    except UnicodeDecodeError:
        raise Rejection(HTTPStatus.BAD_REQUEST) from None


def _parse_target(method: str, target: str, host: str) -> tuple[str, str]:
    """The decoded path and the query string of a target in one of its four forms."""
    if target.startswith("/"):
        return _parse_path(target)
    if absolute := _ABSOLUTE.fullmatch(target):
        default_port = _DEFAULT_PORTS[absolute["scheme"]]
        authority = absolute["authority"].lower().removesuffix(default_port)
        if authority != host.removesuffix(default_port):
            raise Rejection(HTTPStatus.BAD_REQUEST)
        return _parse_path(f"{absolute['path'] or '/'}{absolute['query']}")
    form = "OPTIONS" if target == "*" else "CONNECT"
    if target != "*" and not _AUTHORITY.fullmatch(target):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    if method != form:
        raise Rejection(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", form))
    if form == "CONNECT" and target != host:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    return "", ""


def _parse_path(target: str) -> tuple[str, str]:
    path, mark, query = target.partition("?")
    if "#" in target:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    try:
        return decode_path(path), mark + query
    except PathError:
        raise Rejection(HTTPStatus.BAD_REQUEST) from None


def _is_chunked(transfer_encoding: str | None) -> bool:
    if transfer_encoding is None:
        return False
    if transfer_encoding.rpartition(",")[2].strip().lower() != "chunked":
        raise Rejection(HTTPStatus.BAD_REQUEST)
    return True


def _renamed(name: str) -> str:
    return "X-Content-Length" if name.lower() == "content-length" else name


def _content_length(headers: Sequence[tuple[str, str]]) -> int | None:
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if not lengths:
        return None
    if lengths[1:] or not (lengths[0].isascii() and lengths[0].isdigit()):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    return int(lengths[0])


class _Body:
    """The body of one request, which is read only when it is needed."""

    def __init__(
        self,
        head: Head,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        limit: int,
    ) -> None:
        self._head = head
        self._reader = reader
        self._writer = writer
        self._limit = limit
        self._left = head.content_length or 0
        self.is_read = not (self._left or head.is_chunked)
        self.has_failed = False

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            BodyError: it is too large, cut off, stalled or badly chunked.
        """
        try:
            return await self._read()
        except BodyError:
            self.has_failed = True
            raise

    async def _read(self) -> bytes:
        too_large = BodyError(f"the body is larger than {self._limit} bytes")
        if self._left > self._limit:
            raise too_large
        if not self.is_read and self._expects_continue():
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = bytearray()
        async for part in self._parts():
            data += part
            if len(data) > self._limit:
                raise too_large
        return bytes(data)

    async def drain(self) -> bool:
        """Skip a body that was not read. False if it does not end in time."""
        if self.is_read:
            return True
        if self._expects_continue():
            return False
        with suppress(BodyError, TimeoutError):
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                async for _ in self._parts():
                    pass
        return self.is_read

    def _expects_continue(self) -> bool:
        expected = first_values(self._head.headers).get("expect", "")
        return expected.lower() == "100-continue" and not self._head.is_http_10

    async def _parts(self) -> AsyncIterator[bytes]:
        """The parts of the body as they arrive."""
        if self.is_read:
            return
        started, received = asyncio.get_running_loop().time(), 0
        parts = self._chunks() if self._head.is_chunked else self._known_length()
        try:
            while not self.is_read:
                async with asyncio.timeout_at(started + _GRACE + received / _BYTES_PER_SECOND):
                    part = await anext(parts, None)
                if part is None:
                    self.is_read = True
                else:
                    received += len(part)
                    yield part
        except TimeoutError:
            raise BodyError("the body has stalled") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise BodyError("the body is cut off") from None
        except (ValueError, asyncio.LimitOverrunError):
            raise BodyError("the body is badly chunked") from None

    async def _known_length(self) -> AsyncIterator[bytes]:
        while self._left:
            part = await self._reader.read(min(self._left, _BUFFER_LIMIT))
            if not part:
                raise asyncio.IncompleteReadError(b"", self._left)
            self._left -= len(part)
            yield part

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            yield await self._reader.readexactly(size)
            if await self._reader.readexactly(2) != b"\r\n":
                raise ValueError("a chunk does not end with a line break")
        while (await self._reader.readuntil(b"\r\n")).strip():  # trailers
            pass


class _Connection:
    """One connection: a sequence of requests and responses."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body_limit: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._body_limit = body_limit

    async def serve(self, handler: Handler) -> None:
        """Respond until either side ends the connection."""
        try:
            while await self._exchange(handler):
                pass
            await self._end()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._writer.close()

    async def _exchange(self, handler: Handler) -> bool:
        """Respond to one request. False if it was the last one."""
        try:
            lines = await self._read_lines()
            if not lines:
                return False
            head = parse_head(lines)
        except Rejection as rejection:
            self._writer.write(frame(rejection.response)[0])
            return False
        body = _Body(head, self._reader, self._writer, self._body_limit)
        response = await _respond(_to_request(head, body), handler)
        framed, keeps_alive = frame(
            response,
            head.method,
            is_http_10=head.is_http_10,
            keeps_alive=head.keeps_alive and not body.has_failed,
        )
        self._writer.write(framed)
        await self._writer.drain()
        return keeps_alive and await body.drain()

    async def _read_lines(self) -> list[bytes]:
        """The lines of a head, or none if the connection ends before one."""
        async with asyncio.timeout(_KEEP_ALIVE_TIMEOUT):
            line = await self._read_line(HTTPStatus.REQUEST_URI_TOO_LONG)
            while line in (b"\r\n", b"\n"):
                line = await self._read_line(HTTPStatus.REQUEST_URI_TOO_LONG)
        if not line:
            return []
        if len(line) > _REQUEST_LINE_LIMIT:
            raise Rejection(HTTPStatus.REQUEST_URI_TOO_LONG)
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT):
                return [_without_end(line), *await self._read_header_lines()]
        except TimeoutError:
            raise Rejection(HTTPStatus.REQUEST_TIMEOUT) from None

    async def _read_header_lines(self) -> list[bytes]:
        lines, size = [], 0
        while (line := await self._read_line(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)) not in (
            b"\r\n",
            b"\n",
        ):
            size += len(line)
            lines.append(_without_end(line))
            if size > _HEADERS_LIMIT or len(lines) > _HEADER_COUNT_LIMIT:
                raise Rejection(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if not line.endswith(b"\n"):
                raise Rejection(HTTPStatus.BAD_REQUEST)
        return lines

    async def _read_line(self, too_long: HTTPStatus) -> bytes:
        try:
            return await self._reader.readline()
        except ValueError:
            raise Rejection(too_long) from None

    async def _end(self) -> None:
        """End the connection so that the client can read the response before it is closed."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        async with asyncio.timeout(_DRAIN_TIMEOUT):
            while await self._reader.read(_BUFFER_LIMIT):
                pass


def _without_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _to_request(head: Head, body: _Body) -> Request:
    lower = [(name.lower(), value) for name, value in head.headers]
    return Request(
        head.method,
        head.path,
        head.query_string,
        headers=fold(lower),
        query=fold(query_pairs(head.query_string)),
        first=first_values(lower),
        read_body=body.read,
    )


async def _respond(request: Request, handler: Handler) -> Response:
    try:
        return await handler(request)
    except Exception:
        logger.exception("An unhandled host error has occurred.")
        return Response(HTTPStatus.INTERNAL_SERVER_ERROR)


def frame(
    response: Response,
    method: str = "GET",
    *,
    is_http_10: bool = False,
    keeps_alive: bool = False,
) -> tuple[bytes, bool]:
    """The bytes of a response, and whether the connection can be kept after it.

    A body is chunked, or ends with the connection for an HTTP/1.0 client. A Content-Length that
    the app has set is kept; if it is too small or too large, the response is cut off.
    """
    headers = {name.lower(): (name, value) for name, value in response.headers}
    body = b"" if method == "HEAD" else response.body
    keeps_alive = keeps_alive and headers.pop("connection", ("", ""))[1].lower() != "close"
    added: list[tuple[str, str]] = []
    if response.status in _BODILESS:
        keeps_alive, body = keeps_alive and not body, b""
    elif "content-length" in headers:
        length = int(headers["content-length"][1])
        keeps_alive, body = keeps_alive and length == len(response.body), body[:length]
    elif not response.body:
        added.append(("Content-Length", "0"))
    elif is_http_10:
        keeps_alive = False
    elif body:
        added.append(("Transfer-Encoding", "chunked"))
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    if not keeps_alive:
        added.append(("Connection", "close"))
    elif is_http_10:
        added.append(("Connection", "keep-alive"))
    if "date" not in headers:
        added.append(("Date", formatdate(usegmt=True)))
    if "server" not in headers:
        added.append(("Server", "Kestrel"))
    given = [each for each in response.headers if each[0].lower() != "connection"]
    status = f"{int(response.status)} {_REASONS.get(response.status, '')}"
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in [*given, *added])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body, keeps_alive


class PortError(Exception):
    """A port that cannot be used."""


def bind(port: int) -> socket.socket:
    """A socket that has a port on loopback and refuses connections. Port 0 selects a free port.

    Raises:
        PortError: the port is in use, or needs more rights.
    """
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((LOOPBACK, port))
    except OSError as error:
        bound.close()
        raise PortError(os.strerror(error.errno or 0)) from error
    return bound


async def serve(bound: socket.socket, handler: Handler, body_limit: int) -> asyncio.Server:
    """Start to serve a socket from `bind`.

    Args:
        bound: from `bind`.
        handler: produces the responses.
        body_limit: in bytes, for one request.

    Raises:
        PortError: another process listens on the port.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _Connection(reader, writer, body_limit).serve(handler)

    try:
        return await asyncio.start_server(
            connected, sock=bound, limit=_BUFFER_LIMIT, backlog=socket.SOMAXCONN
        )
    except OSError as error:
        raise PortError(os.strerror(error.errno or 0)) from error
