"""Paths and queries as Kestrel and ASP.NET Core read and write them."""

import codecs
import re
from urllib.parse import parse_qsl, quote, unquote

from local.functions_host.pipeline import fold

# As in PathString.ToUriComponent of Microsoft.AspNetCore.Http.
_LEFT_AS_THEY_ARE = "/:@!$&'()*+,;=~%"


class PathError(ValueError):
    """A path that Kestrel refuses with 400."""


def _keep_escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    undecodable = error.object[error.start : error.end]
    return "".join(f"%{byte:02X}" for byte in undecodable), error.end


codecs.register_error("keep-escaped", _keep_escaped)


def decode_path(raw: str) -> str:
    """The path as routes are matched against it.

    An escaped slash and bytes that are no UTF-8 stay escaped; dot segments are resolved.

    Raises:
        PathError: the path holds a null character.
    """
    slashes_kept = re.sub("%(2f)", r"%25\1", raw, flags=re.IGNORECASE)
    path = unquote(slashes_kept, errors="keep-escaped")
    if "\0" in path:
        raise PathError("the path holds a null character")
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
    """A decoded path as it stands in a URL; what is escaped already stays so."""
    return quote(re.sub("%(?![0-9A-Fa-f]{2})", "%25", path), safe=_LEFT_AS_THEY_ARE)


def parse_query(query_string: str) -> dict[str, str]:
    """Query values by name, repeated ones joined by commas, empty ones left out."""
    return fold(parse_qsl(query_string))
