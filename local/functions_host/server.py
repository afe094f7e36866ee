"""An HTTP/1.x server with the limits, the timeouts and the framing of Kestrel.

aiohttp is not used here: it rejects, repairs or hides too much before the host sees a request.
Sources: KestrelServerLimits.cs, Http1Connection.cs and HttpProtocol.cs of dotnet/aspnetcore 8.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus

from msgspec.structs import replace

from local.functions_host.http import BodyError, Handler, Request, Response
from local.functions_host.request_head import Head, Rejection, parse_head, take_lines

LOOPBACK = "127.0.0.1"
DEFAULT_BODY_LIMIT = 104_857_600
# For one read, and for a line of a chunked body.
_BUFFER_LIMIT = 65_536
# Seconds.
_KEEP_ALIVE_TIMEOUT = 130.0
_HEAD_TIMEOUT = 30.0
_DRAIN_TIMEOUT = 5.0
# A body must arrive at this rate, after a grace period.
_BYTES_PER_SECOND = 240.0
_GRACE = 5.0

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_BODILESS = (204, 205, 304)
# Of whole seconds.
_format_date = lru_cache(maxsize=1)(partial(formatdate, usegmt=True))

logger = logging.getLogger(__name__)


class _Body:
    """The body of one request, which is read only when it is needed."""

    def __init__(self, head: Head, connection: "_Connection", limit: int) -> None:
        self._head = head
        self._connection = connection
        self._limit = limit
        self._length = head.content_length or 0
        self.is_read = not (self._length or head.is_chunked)
        self.has_failed = False

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            BodyError: it is too large, cut off, stalled or badly chunked.
        """
        self.has_failed = True  # until it has ended
        too_large = BodyError(f"the body is larger than {self._limit} bytes")
        if self._length > self._limit:
            raise too_large
        if not self.is_read and self._expects_continue():
            self._connection.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = bytearray()
        async for part in self._parts():
            data += part
            if len(data) > self._limit:
                raise too_large
        self.has_failed = False
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
        expected = self._head.request.first.get("expect", "")
        return expected.lower() == "100-continue" and not self._head.is_http_10

    async def _parts(self) -> AsyncIterator[bytes]:
        """The parts of the body as they arrive."""
        if self.is_read:
            return
        started, received = asyncio.get_running_loop().time(), 0
        try:
            for part in self._chunks() if self._head.is_chunked else self._take(self._length):
                if part:
                    received += len(part)
                    yield part
                    continue
                async with asyncio.timeout_at(started + _GRACE + received / _BYTES_PER_SECOND):
                    if not await self._connection.more():
                        raise BodyError("the body is cut off")
        except TimeoutError:
            raise BodyError("the body has stalled") from None
        except OSError:
            raise BodyError("the body is cut off") from None
        except ValueError:
            raise BodyError("the body is badly chunked") from None
        self.is_read = True

    def _take(self, size: int) -> Iterator[bytes]:
        """The next bytes, in parts. An empty part asks for more input, here and below."""
        buffer = self._connection.buffer
        while size:
            part = bytes(buffer[:size])
            del buffer[:size]
            size -= len(part)
            yield part

    def _chunks(self) -> Iterator[bytes]:
        while size := _chunk_size((yield from self._take_line())):
            yield from self._take(size)
            yield from self._take_line(0)
        while (yield from self._take_line()).strip():  # trailers
            pass

    def _take_line(self, limit: int = _BUFFER_LIMIT) -> Generator[bytes, None, bytes]:
        buffer = self._connection.buffer
        while (end := buffer.find(b"\r\n")) < 0 and len(buffer) < limit + 2:
            yield b""
        if not 0 <= end <= limit:
            raise ValueError("a line is too long")
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits.isalnum():
        raise ValueError(f"{digits!r} is not the size of a chunk")
    return int(digits, 16)


class _Connection:
    """One connection: a sequence of requests and responses.

    Attributes:
        buffer: what has arrived and is not used yet.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body_limit: int
    ) -> None:
        self._reader = reader
        self.writer = writer
        self.buffer = bytearray()
        self._body_limit = body_limit
        self._is_reading = False

    async def serve(self, handler: Handler) -> None:
        """Respond until either side ends the connection."""
        try:
            while await self._exchange(handler):
                pass
            await self._end()
        except OSError:
            pass  # the client has gone, or takes too long
        finally:
            self.writer.close()

    async def _exchange(self, handler: Handler) -> bool:
        """Respond to one request. False if it was the last one."""
        try:
            lines = await self._read_lines()
            if not lines:
                return False
            head = parse_head(lines)
        except Rejection as rejection:
            self.writer.write(frame(rejection.response)[0])
            return False
        body = _Body(head, self, self._body_limit)
        response = await _respond(replace(head.request, read_body=body.read), handler)
        framed, keeps_alive = frame(
            response,
            head.method,
            is_http_10=head.is_http_10,
            keeps_alive=head.keeps_alive and not body.has_failed,
        )
        self.writer.write(framed)
        await self.writer.drain()
        return keeps_alive and await body.drain()

    async def _read_lines(self) -> list[bytes]:
        """The lines of a head, or none if the connection ends before one."""
        is_started = False
        try:
            async with asyncio.timeout(_KEEP_ALIVE_TIMEOUT) as timeout:
                while not (lines := take_lines(self.buffer)):
                    if not is_started and b"\n" in self.buffer:
                        is_started = True
                        timeout.reschedule(asyncio.get_running_loop().time() + _HEAD_TIMEOUT)
                    if not await self.more():
                        if self.buffer:
                            raise Rejection(HTTPStatus.BAD_REQUEST)
                        break
                return lines
        except TimeoutError:
            if is_started:
                raise Rejection(HTTPStatus.REQUEST_TIMEOUT) from None
            raise

    async def more(self) -> bool:
        """Wait for more bytes. False at their end."""
        self._is_reading = True
        try:
            data = await self._reader.read(_BUFFER_LIMIT)
        finally:
            self._is_reading = False
        self.buffer += data
        return bool(data)

    async def _end(self) -> None:
        """End the connection so that the client can read the response before it is closed."""
        if self.writer.can_write_eof():
            self.writer.write_eof()
        async with asyncio.timeout(_DRAIN_TIMEOUT):
            # A function that is killed may still be reading its body.
            while not self._is_reading and await self.more():
                self.buffer.clear()


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
    headers = {name.lower(): value for name, value in response.headers}
    body = b"" if method == "HEAD" else response.body
    keeps_alive = keeps_alive and headers.get("connection", "").lower() != "close"
    sent = [each for each in response.headers if each[0].lower() != "connection"]
    if response.status in _BODILESS:
        keeps_alive, body = keeps_alive and not body, b""
    elif "content-length" in headers:
        length = int(headers["content-length"])
        keeps_alive, body = keeps_alive and length == len(response.body), body[:length]
    elif not response.body:
        sent.append(("Content-Length", "0"))
    elif is_http_10:
        keeps_alive = False
    elif body:
        sent.append(("Transfer-Encoding", "chunked"))
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    if not keeps_alive:
        sent.append(("Connection", "close"))
    elif is_http_10:
        sent.append(("Connection", "keep-alive"))
    if "date" not in headers:
        sent.append(("Date", _format_date(int(time.time()))))
    if "server" not in headers:
        sent.append(("Server", "Kestrel"))
    status = f"HTTP/1.1 {int(response.status)} {_REASONS.get(response.status, '')}"
    lines = [status, *[f"{name}: {value}" for name, value in sent], "", ""]
    return "\r\n".join(lines).encode("latin-1") + body, keeps_alive


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
