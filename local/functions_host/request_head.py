"""Parses a request line and headers, and rejects what Kestrel, the real host's server, rejects.

Sources: HttpParser.cs, Http1Connection.cs, Http1MessageBody.cs and HttpUtilities.cs of
dotnet/aspnetcore 8.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from local.functions_host.http import PathError, Response, decode_path, fold

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[!$&'()\-._~0-9A-Za-z]+)(?::[0-9]+)?")
_AUTHORITY = re.compile(r"[\-.:\[\]@0-9A-Za-z]+")
_ABSOLUTE = re.compile(
    r"(?P<scheme>https?)://(?:[^/?@]*@)?(?P<authority>[^/?@]+)(?P<path>/[^?]*)?(?P<query>.*)"
)
_LENGTH = re.compile("0*[0-9]{1,19}")
_LARGEST_LENGTH = 2**63 - 1
_ESCAPED_SLASH = re.compile("%2f", re.IGNORECASE)
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Rejection(Exception):
    """A request that the server itself responds to."""

    def __init__(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        super().__init__(status.phrase)
        self.response = Response(status, headers)


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and headers that are valid.

    Attributes:
        method: as it is written. Kestrel knows methods only in upper case: after `head`, it sends a
            body.
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
    return method.decode(), target.decode(), version == b"HTTP/1.0"


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


def _renamed(name: str) -> str:
    return "X-Content-Length" if name.lower() == "content-length" else name


def _content_length(headers: Sequence[tuple[str, str]]) -> int | None:
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if not lengths:
        return None
    if lengths[1:] or not _LENGTH.fullmatch(lengths[0]):
        raise Rejection(HTTPStatus.BAD_REQUEST)
    length = int(lengths[0].lstrip("0") or "0")
    if length > _LARGEST_LENGTH:
        raise Rejection(HTTPStatus.BAD_REQUEST)
    return length
