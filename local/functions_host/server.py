"""HTTP on loopback, with the limits and habits of Kestrel, the real host's web server."""

import logging
import socket
from http import HTTPStatus

from aiohttp import web
from multidict import CIMultiDict

from local.functions_host.pipeline import Answer, Handler, Request, fold
from local.functions_host.urls import PathError, decode_path, parse_query

LOOPBACK = "127.0.0.1"
DEFAULT_BODY_LIMIT = 104_857_600
# Kestrel's own, as in KestrelServerLimits of Microsoft.AspNetCore.Server.Kestrel.Core.
_REQUEST_LINE_LIMIT = 8_192
_HEADERS_LIMIT = 32_768
# Beyond this aiohttp answers by itself, and with a body; the limits above come first.
_PARSER_LIMIT = 65_536

logger = logging.getLogger(__name__)


class _BodyTooLarge(Exception):
    pass


def take_port(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one.

    Clients that connect wait until `serve` is called.

    Raises:
        OSError: the port cannot be had.
    """
    return socket.create_server((LOOPBACK, port), backlog=socket.SOMAXCONN)


async def serve(listener: socket.socket, handler: Handler, body_limit: int) -> None:
    """Answer the requests of a listening socket from now on, as long as the loop runs.

    Args:
        listener: from `take_port`.
        handler: makes the answers.
        body_limit: in bytes; larger bodies are answered with 413.
    """

    async def answer(request: web.BaseRequest) -> web.Response:
        return _to_aiohttp(await _answer(request, handler, body_limit))

    # Kestrel hands on compressed bodies as they are.
    server = web.Server(
        answer,
        access_log=None,
        auto_decompress=False,
        max_line_size=_PARSER_LIMIT,
        max_field_size=_PARSER_LIMIT,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.SockSite(runner, listener).start()


async def _answer(received: web.BaseRequest, handler: Handler, body_limit: int) -> Answer:
    try:
        refusal = _refusal(received)
        if refusal:
            return Answer(refusal)
        return await handler(await _to_request(received, body_limit))
    except _BodyTooLarge:
        return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except (PathError, web.RequestPayloadError, ConnectionError):
        return Answer(HTTPStatus.BAD_REQUEST)
    except Exception:
        logger.exception("An unhandled host error has occurred.")
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR)


def _refusal(received: web.BaseRequest) -> HTTPStatus | None:
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
        # Without a length the host sees no body, though the client sent one.
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


def _to_aiohttp(answer: Answer) -> web.Response:
    headers = CIMultiDict(answer.headers)
    headers["Server"] = "Kestrel"
    return web.Response(status=answer.status, headers=headers, body=answer.body or None)
