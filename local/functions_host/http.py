"""HTTP as the real host handles it, with the decoding and the limits of Kestrel."""

import codecs
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, quote, unquote

from aiohttp import web
from multidict import CIMultiDict

LOOPBACK = "127.0.0.1"
DEFAULT_BODY_LIMIT = 104_857_600
# From KestrelServerLimits of Microsoft.AspNetCore.Server.Kestrel.Core.
_REQUEST_LINE_LIMIT = 8_192
_HEADERS_LIMIT = 32_768
# Above this limit aiohttp itself responds, with a body. The limits above are lower.
_PARSER_LIMIT = 65_536
# From PathString.ToUriComponent of Microsoft.AspNetCore.Http.
_SAFE_IN_PATHS = "/:@!$&'()*+,;=~%"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, decoded as the host decodes it before routing.

    Attributes:
        method: in upper case.
        path: decoded by `decode_path`; starts with a slash.
        query_string: as received, without the question mark.
        headers: by lower-case name; repeated headers are joined by commas.
        query: decoded; repeated values are joined by commas, empty values are dropped.
        body: empty if the request has no Content-Length.
    """

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response. The server adds Content-Length."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Response]]


class PathError(ValueError):
    """A path that Kestrel rejects with 400."""


class _BodyTooLarge(Exception):
    pass


def fold(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Merge repeated names, ignoring case, and join their values by commas.

    As in .NET's StringValues, the first spelling of a name is kept and empty values are skipped.
    """
    spelling: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(spelling.setdefault(name.lower(), name), []).append(value)
    return {name: ",".join(filter(None, given)) for name, given in values.items()}


def _keep_escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    undecodable = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in undecodable), error.end


codecs.register_error("keep-escaped", _keep_escaped)


def decode_path(raw: str) -> str:
    """Decode a path for routing.

    Escaped slashes and bytes that are not UTF-8 stay escaped. Dot segments are resolved.

    Raises:
        PathError: the path contains a null character.
    """
    slashes_kept = re.sub("%(2f)", r"%25\1", raw, flags=re.IGNORECASE)
    path = unquote(slashes_kept, errors="keep-escaped")
    if "\0" in path:
        raise PathError("the path contains a null character")
    return _without_dot_segments(path)


def _without_dot_segments(path: str) -> str:
    kept: list[str] = []
    for segment in path.removeprefix("/").split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if path.endswith(("/.", "/..")):
        kept.append("")
    return "/" + "/".join(kept)


def encode_path(path: str) -> str:
    """Encode a decoded path for a URL. Escapes that are already in the path are kept."""
    return quote(re.sub("%(?![0-9A-Fa-f]{2})", "%25", path), safe=_SAFE_IN_PATHS)


def parse_query(query_string: str) -> dict[str, str]:
    """Decode a query: repeated values are joined by commas, empty values are dropped."""
    return fold(parse_qsl(query_string))


def listen(port: int) -> socket.socket:
    """A listening socket on loopback. Port 0 selects a free port.

    Clients can connect at once; `serve` starts to respond.

    Raises:
        OSError: the port cannot be used.
    """
    return socket.create_server((LOOPBACK, port), backlog=socket.SOMAXCONN)


async def serve(listener: socket.socket, handler: Handler, body_limit: int) -> None:
    """Start to serve a socket from `listen`, for as long as the event loop runs.

    Args:
        listener: from `listen`.
        handler: produces the responses.
        body_limit: in bytes; a larger body gets 413.
    """

    async def respond(request: web.BaseRequest) -> web.Response:
        return _to_aiohttp(await _respond(request, handler, body_limit))

    server = web.Server(
        respond,
        access_log=None,
        auto_decompress=False,  # Kestrel does not decompress bodies either
        max_line_size=_PARSER_LIMIT,
        max_field_size=_PARSER_LIMIT,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.SockSite(runner, listener).start()


async def _respond(received: web.BaseRequest, handler: Handler, body_limit: int) -> Response:
    try:
        rejection = _rejection(received)
        if rejection:
            return Response(rejection)
        return await handler(await _to_request(received, body_limit))
    except _BodyTooLarge:
        return Response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except (PathError, web.RequestPayloadError, ConnectionError):
        return Response(HTTPStatus.BAD_REQUEST)
    except Exception:
        logger.exception("An unhandled host error has occurred.")
        return Response(HTTPStatus.INTERNAL_SERVER_ERROR)


def _rejection(received: web.BaseRequest) -> HTTPStatus | None:
    if not received.raw_path.isascii():
        return HTTPStatus.BAD_REQUEST
    line = f"{received.method} {received.raw_path} HTTP/1.1\r\n"
    if len(line) > _REQUEST_LINE_LIMIT:
        return HTTPStatus.REQUEST_URI_TOO_LONG
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in received.raw_headers)
    return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if size > _HEADERS_LIMIT else None


async def _to_request(received: web.BaseRequest, body_limit: int) -> Request:
    body = await _read_body(received, body_limit)
    query_string = received.rel_url.raw_query_string
    return Request(
        method=received.method,
        path=decode_path(received.rel_url.raw_path),
        query_string=query_string,
        headers=fold((_text(name).lower(), _text(value)) for name, value in received.raw_headers),
        query=parse_query(query_string),
        # The host ignores a body without a Content-Length.
        body=b"" if received.content_length is None else body,
    )


async def _read_body(received: web.BaseRequest, limit: int) -> bytes:
    if (received.content_length or 0) > limit:
        raise _BodyTooLarge
    if received.headers.get("Expect", "").lower() == "100-continue":
        await received.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        received.writer.output_size = 0
    body = bytearray()
    async for chunk in received.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise _BodyTooLarge
    return bytes(body)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _to_aiohttp(response: Response) -> web.Response:
    headers = CIMultiDict(response.headers)
    headers["Server"] = "Kestrel"
    return web.Response(status=response.status, headers=headers, body=response.body or None)
