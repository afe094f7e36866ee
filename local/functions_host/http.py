"""Requests and responses, and the host's rules for URLs, queries and repeated headers."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from urllib.parse import quote

from msgspec import Struct

# From PathString.ToUriComponent of Microsoft.AspNetCore.Http.
_SAFE_IN_PATHS = "/:@!$&'()*+,;=~%"
_ESCAPES = re.compile("(?:%[0-9A-Fa-f]{2})+")
_ESCAPED_SLASH = re.compile("%2f", re.IGNORECASE)


class BodyError(Exception):
    """A request's body is too large, cut off, stalled, or badly chunked."""


async def no_body() -> bytes:
    """Read the body of a request that has none."""
    return b""


class Request(Struct, frozen=True):
    """An HTTP request, decoded as the host decodes it before routing.

    Attributes:
        method: in upper case.
        path: decoded by `decode_path`; empty, or starts with a slash.
        query_string: as received, with the question mark if there is one.
        headers: by lower-case name; repeated headers are joined by commas.
        first: the first value of each header, by lower-case name.
        read_body: reads the whole body; raises BodyError.
    """

    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]
    first: Mapping[str, str]
    read_body: Callable[[], Awaitable[bytes]] = no_body


class Response(Struct, frozen=True):
    """An HTTP response. The server adds the headers that describe its length."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Response]]


class PathError(ValueError):
    """A path that Kestrel rejects with 400."""


def fold(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Merge repeated names, ignoring case, and join their values by commas.

    As in ASP.NET Core, a repeated name has its second spelling, and empty values are skipped.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for name, value in pairs:
        found.setdefault(name.lower(), []).append((name, value))
    return {
        given[:2][-1][0]: ",".join(value for _, value in given if value) for given in found.values()
    }


def first_values(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The first value of each name, by lower-case name."""
    values: dict[str, str] = {}
    for name, value in pairs:
        values.setdefault(name.lower(), value)
    return values


def decode_path(raw: str) -> str:
    """Decode a path for routing.

    Escaped slashes and bytes that are not UTF-8 stay escaped. Dot segments are resolved.

    Raises:
        PathError: the path contains a null character.
    """
    path = _unescape(_ESCAPED_SLASH.sub(lambda slash: f"%25{slash[0][1:]}", raw))
    if "\0" in path:
        raise PathError("the path contains a null character")
    return _without_dot_segments(path)


def _unescape(text: str) -> str:
    return _ESCAPES.sub(lambda run: _decode_escapes(run[0]), text)


def _decode_escapes(run: str) -> str:
    """Decode `%C3%A9…`. Bytes that are not UTF-8 stay as they are written."""
    data, decoded = bytes.fromhex(run.replace("%", "")), ""
    while data:
        try:
            return decoded + data.decode()
        except UnicodeDecodeError as error:
            decoded += data[: error.start].decode() + run[3 * error.start : 3 * error.end]
            data, run = data[error.end :], run[3 * error.end :]
    return decoded


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


def query_pairs(query_string: str) -> list[tuple[str, str]]:
    """Decode a query, which may start with a question mark. `?name` has an empty value."""
    text = query_string.removeprefix("?").replace("+", " ")
    pairs = (each.partition("=") for each in text.split("&") if each)
    return [(_unescape(name), _unescape(value)) for name, _, value in pairs]


def parse_query(query_string: str) -> dict[str, str]:
    """Decode a query: repeated values are joined by commas, empty values are dropped."""
    return {name: value for name, value in fold(query_pairs(query_string)).items() if value}
