"""Reads JSON as leniently as Newtonsoft.Json does for the body of an admin request.

It accepts comments, single quotes, names without quotes, trailing commas, NaN, and anything after
the end of the document.
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<skipped> \s+ | /\*.*?\*/ | //[^\n]* )
  | (?P<mark> [{}\[\]:,] )
  | (?P<text> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' )
  | (?P<word> [-+.\w$]+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_VALUE_WORD = re.compile(
    r"null|undefined|true|false|NaN|-?Infinity|[-+]?(?:0[xX][0-9A-Fa-f]+|\d*\.?\d+(?:[eE][-+]?\d+)?)"
)
_LARGEST_DEPTH = 32


class JsonError(ValueError):
    """A text that Newtonsoft.Json cannot read as an object."""


def read_fields(body: bytes) -> dict[str, str | None]:
    """The fields of an object, by lower-case name: a scalar as it is written, or None.

    Raises:
        JsonError: the body is not an object.
    """
    try:
        tokens = _tokens(body.decode(errors="replace"))
        if next(tokens) != "{":
            raise JsonError("the body is not an object")
        return _fields(tokens, 1)
    except StopIteration as error:
        raise JsonError("the body is not JSON") from error


def _tokens(text: str) -> Iterator[str]:
    position = 0
    while found := _TOKEN.match(text, position):
        position = found.end()
        if found.lastgroup != "skipped":
            yield found[0]


def _fields(tokens: Iterator[str], depth: int) -> dict[str, str | None]:
    fields: dict[str, str | None] = {}
    while (name := next(tokens)) != "}":
        if name in "{[]:," or next(tokens) != ":":
            raise JsonError(f"{name!r} is not the name of a field")
        fields[name.strip("\"'").lower()] = _value(next(tokens), tokens, depth)
        end = next(tokens)
        if end == "}":
            break
        _expect_comma(end)
    return fields


def _value(first: str, tokens: Iterator[str], depth: int) -> str | None:
    """A scalar, or None for an object or array, which is skipped."""
    if depth > _LARGEST_DEPTH:
        raise JsonError("the body is nested too deeply")
    if first == "{":
        _fields(tokens, depth + 1)
        return None
    if first == "[":
        while (item := next(tokens)) != "]":
            _value(item, tokens, depth + 1)
            end = next(tokens)
            if end == "]":
                break
            _expect_comma(end)
        return None
    if first[0] not in "\"'" and not _VALUE_WORD.fullmatch(first):
        raise JsonError(f"{first!r} is not a value")
    return first


def _expect_comma(mark: str) -> None:
    if mark != ",":
        raise JsonError(f"{mark!r} is not a comma")
