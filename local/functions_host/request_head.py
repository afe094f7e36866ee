"""Parses a request line and headers, and rejects what Kestrel, the real host's server, rejects.

Sources: HttpParser.cs, Http1Connection.cs, Http1MessageBody.cs and HttpUtilities.cs of
dotnet/aspnetcore 8.
"""

import re
from collections.abc import Sequence
from http import HTTPStatus

from msgspec import Struct

from local.functions_host.http import PathError, Request, Response, decode_path, first_values, fold

_REQUEST_LINE_LIMIT = 8_192
_HEADERS_LIMIT = 32_768
_HEADER_COUNT_LIMIT = 100
_EMPTY_LINES = re.compile(rb"\A(?:\r?\n)+")
_END = re.compile(rb"\n\r?\n")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER = re.compile(rb"(%b):([^\0\r]*)" % _TOKEN.pattern)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[!$&'()\-._~0-9A-Za-z]+)(?::[0-9]+)?")
_AUTHORITY = re.compile(r"[\-.:\[\]@0-9A-Za-z]+")
_ABSOLUTE = re.compile(
    r"(?P<scheme>https?)://(?:[^/?@]*@)?(?P<authority>[^/?@]+)(?P<path>/[^?]*)?(?P<query>.*)"
)
_LENGTH = re.compile("0*[0-9]{1,19}")
_LARGEST_LENGTH = 2**63 - 1
_ESCAPED_SLASH = re.compile("%2f", re.IGNORECASE)
_RENAMED = {"content-length": "x-content-length"}
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Rejection(Exception):
    """A request that the server itself responds to."""

    def __init__(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        super().__init__(status.phrase)
        self.response = Response(status, headers)


class Head(Struct, frozen=True):
    """A request line and headers that are valid.

    Attributes:
        method: as it is written. Kestrel knows methods only in upper case: after `head`, it sends a
            body.
        request: without its body. The path is empty for `OPTIONS *` and CONNECT.
        content_length: None if the body is chunked or there is no body.
    """

    method: str
    request: Request
    is_http_10: bool
    content_length: int | None
    is_chunked: bool
    keeps_alive: bool


def take_lines(buffer: bytearray) -> list[bytes]:
    """Take a request line and its header lines from what has arrived; none if they are incomplete.

    Raises:
        Rejection: they are too long, even if they are incomplete.
    """
    if buffer.startswith((b"\r", b"\n")):
        buffer[:] = _EMPTY_LINES.sub(b"", buffer)
    end = _END.search(buffer)
    # A `\r` that came last may belong to the empty line at the end.
    head = buffer[: end.start() + 1] if end else buffer.removesuffix(b"\r")
    lines = head.split(b"\n")
    if len(lines[0]) >= _REQUEST_LINE_LIMIT:
        raise Rejection(HTTPStatus.REQUEST_URI_TOO_LONG)
    if len(head) - len(lines[0]) - 1 > _HEADERS_LIMIT or len(lines) - 2 > _HEADER_COUNT_LIMIT:
        raise Rejection(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    if not end:
        return []
    del buffer[: end.end()]
    return [bytes(line.removesuffix(b"\r")) for line in lines[:-1]]


def parse_head(lines: Sequence[bytes]) -> Head:
    """Parse a request line and its header lines, without their line ends.

    Raises:
        Rejection: Kestrel rejects the request.
    """
    method, target, is_http_10 = _parse_request_line(lines[0])
    pairs = [_parse_header(line) for line in lines[1:]]
    headers, first = _merge(pairs)
    host = headers.get("host")
    if [name for name, _ in pairs].count("host") > 1 or (host is None and not is_http_10):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    if host and not _HOST.fullmatch(host):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    path, query_string = _parse_target(method, target, host or "")
    is_chunked = _is_chunked(headers.get("transfer-encoding"))
    if is_chunked:
        # A request with both could be read in two ways, so Kestrel renames the other header.
        headers, first = _merge([(_RENAMED.get(name, name), value) for name, value in pairs])
    length = None if is_chunked else _content_length(pairs)
    if is_http_10 and method in ("POST", "PUT") and length is None and not is_chunked:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    connection = {each.strip().lower() for each in headers.get("connection", "").split(",")}
    keeps_alive = "keep-alive" in connection if is_http_10 else "close" not in connection
    request = Request(method.upper(), path, query_string, headers, first)
    return Head(method, request, is_http_10, length, is_chunked, keeps_alive)


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
    return method.decode(), target.decode(), version == b"HTTP/1.0"


def _parse_header(line: bytes) -> tuple[str, str]:
    found = _HEADER.fullmatch(line)
    if not found:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    name, value = found.groups()
    try:
        return name.decode().lower(), value.decode().strip(" \t")
    except UnicodeDecodeError:
        raise Rejection(HTTPStatus.BAD_REQUEST) from None


def _merge(pairs: list[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """The joined values of each header, and the first one."""
    headers = dict(pairs)
    is_repeated = len(headers) < len(pairs)
    return (fold(pairs), first_values(pairs)) if is_repeated else (headers, headers)


def _parse_target(method: str, target: str, host: str) -> tuple[str, str]:
    """The decoded path and the query string of a target in one of its four forms."""
    if target.startswith("/"):
        return _parse_path(target)
    if absolute := _ABSOLUTE.fullmatch(target):
        default_port = _DEFAULT_PORTS[absolute["scheme"]]
        authority = absolute["authority"].lower().removesuffix(default_port)
        if authority != host.removesuffix(default_port):
            raise Rejection(HTTPStatus.BAD_REQUEST)
        # Kestrel takes this path from .NET's Uri, which decodes slashes too.
        path = _ESCAPED_SLASH.sub("/", absolute["path"] or "/")
        return _parse_path(f"{path}{absolute['query']}")
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


def _content_length(headers: Sequence[tuple[str, str]]) -> int | None:
    lengths = [value for name, value in headers if name == "content-length"]
    if not lengths:
        return None
    if lengths[1:] or not _LENGTH.fullmatch(lengths[0]):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    length = int(lengths[0].lstrip("0") or "0")
    if length > _LARGEST_LENGTH:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    return length
