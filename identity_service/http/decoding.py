"""Decodes bodies and queries, and explains what is wrong with an invalid one."""

import re
from codecs import BOM_UTF8
from functools import cache
from typing import Any, TypeVar, get_args
from urllib.parse import parse_qsl

import msgspec

from identity_service.errors import BodyTooLarge, InvalidBody, InvalidJson, InvalidQuery
from identity_service.schemas import Query, Request, scopes_problem

R = TypeVar("R", bound=Request)
Q = TypeVar("Q", bound=Query)

# The query parameters that the Functions host reads: a function key and its name.
_HOST_PARAMETERS = {"code", "clientid"}

# How many characters of the caller's text a problem repeats.
_LONGEST_ECHO = 60

# msgspec's messages repeat what the caller sent, so each pattern is anchored at a fixed part.
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_IN_RECORD = re.compile(r"(.*) - at `\$\.(\w+)\[(\d+)\]([^`]*)`", re.DOTALL)
_AT = re.compile(r".* - at `\$\.(\w+)[^`]*`", re.DOTALL)


def decode_body(raw: bytes, kind: type[R]) -> R:
    """Decode a request's body. An empty body counts as `{}`.

    If a field is repeated, the last value wins.

    Raises:
        BodyTooLarge: it has more bytes than this kind of request may have.
        InvalidJson: it is not JSON in UTF-8.
        InvalidBody: it is JSON, but not of this kind.
    """
    if len(raw) > kind.body_limit:
        raise BodyTooLarge(f"The body has {len(raw)} bytes.", allowed=f"{kind.body_limit} bytes")
    raw = raw.removeprefix(BOM_UTF8)
    try:
        decoded: R = _decoder(kind).decode(raw or b"{}")
    except msgspec.ValidationError as error:
        invalid = _explain(str(error), kind)
        if invalid.field == "scopes":  # the field that callers most often get wrong
            invalid.detail = _scopes_problem(raw) or invalid.detail
        raise invalid from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson("The body must be one JSON object in UTF-8.") from error
    return decoded


def decode_query(url: str, kind: type[Q]) -> Q:
    """Decode the query of a request's URL.

    The host drops empty parameters and joins repeated ones, so its own result is not used.

    Raises:
        InvalidQuery: it is not of this kind, a parameter is empty or repeated, or a percent-encoded
            text is not UTF-8.
    """
    known = _fields(kind)
    parameters: dict[str, str] = {}
    for name, value in own_parameters(url):
        if name in known and not value:
            raise InvalidQuery(f"{name} is empty: leave it out or give it a value.", field=name)
        if name in known and name in parameters:
            raise InvalidQuery(f"{name} is repeated: send it once.", field=name)
        parameters[name] = value
    try:
        decoded = msgspec.convert(parameters, kind, strict=False)
        _require_spelling(parameters, decoded)
    except msgspec.ValidationError as error:
        invalid = _explain(str(error), kind)
        raise InvalidQuery(invalid.detail, field=invalid.field, allowed=invalid.allowed) from error
    return decoded


def _require_spelling(parameters: dict[str, str], decoded: Query) -> None:
    """Refuse other spellings of numbers and of true: msgspec takes 5e0 for 5, and 1 for true."""
    for name, value in msgspec.to_builtins(decoded).items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if parameters.get(name, text) != text:
            raise msgspec.ValidationError(f"Another spelling - at `$.{name}`")


def refuse_ignored_query(url: str, body: type[Request] | None) -> None:
    """Refuse a query with a name that the API knows: an operation without a query would ignore it.

    Args:
        url: The URL of the request.
        body: What the operation takes in the body.

    Raises:
        InvalidQuery: it has one, or a percent-encoded text is not UTF-8.
    """
    for name, _ in own_parameters(url):
        if field := _known().get(name.lower()):
            raise InvalidQuery(_misplaced(field, body, "body"), field=field)


def refuse_ignored_body(raw: bytes, query: type[Query] | None) -> None:
    """Refuse a body with a name that the API knows: an operation without a body would ignore it.

    Args:
        raw: The body.
        query: What the operation takes in the query.

    Raises:
        InvalidBody: it has one.
    """
    if not raw:
        return
    try:
        sent = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # whatever it is, the operation does not read it
    for field in _known().values():
        if field in sent:
            raise InvalidBody(_misplaced(field, query, "query"), field=field)


def _misplaced(field: str, taken: type[Request | Query] | None, place: str) -> str:
    if taken and field in _fields(taken):
        return f"Send {field} in the {place}, and only there."
    return f"This operation does not take {field}: leave it out."


def own_parameters(url: str) -> list[tuple[str, str]]:
    """The query parameters that are not for the Functions host, which ignores their case.

    The rest of the URL is not parsed: its host is the caller's own text.

    Raises:
        InvalidQuery: a percent-encoded text is not UTF-8, or the URL has a second query.
    """
    _, mark, query = url.partition("?")
    if not mark:
        return []
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidQuery("The query must be percent-encoded UTF-8.") from error
    own = []
    for name, value in pairs:
        if name.lower() not in _HOST_PARAMETERS:
            own.append((name, value))
        elif "?" in value:  # no key has one: the host in the URL hides the request's own query
            raise InvalidQuery("The URL has more than one query.")
    return own


def _scopes_problem(raw: bytes) -> str:
    try:
        return scopes_problem(msgspec.json.decode(raw)["scopes"])
    # The scopes are missing, or something in or after them is no JSON.
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


@cache
def _fields(kind: type[Request | Query]) -> tuple[str, ...]:
    """The names of its fields in JSON, or in a query. msgspec computes them for each call."""
    return tuple(field.encode_name for field in msgspec.structs.fields(kind))


@cache
def _known() -> dict[str, str]:
    """The names of the fields and parameters of all operations, by themselves in lower case."""
    kinds = [*_kinds(Request), *_kinds(Query)]
    records = {_record(kind, name) for kind in kinds for name in _fields(kind)}
    return {name.lower(): name for kind in kinds if kind not in records for name in _fields(kind)}


def _kinds(base: type[Any]) -> list[Any]:
    """The classes below this one in its module. Tests have others."""
    kinds = [each for each in base.__subclasses__() if each.__module__ == base.__module__]
    return [kind for each in kinds for kind in (each, *_kinds(each))]


@cache
def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(kind)


def _explain(message: str, kind: type[Request | Query], whole: str = "The body") -> InvalidBody:
    """Turn msgspec's message into an error that names the field and what it accepts."""
    found = _IN_RECORD.fullmatch(message)
    if found and (record := _record(kind, found[2])):
        place = f"{found[2]}[{found[3]}]"
        invalid = _explain(f"{found[1]} - at `${found[4]}`", record, place)
        invalid.field = f"{place}.{invalid.field}" if invalid.field else place
        return invalid
    fields = {field.encode_name: _description(field.type) for field in msgspec.structs.fields(kind)}
    known = ", ".join(fields) or "no fields"
    message = message.removesuffix(" - at `$`")
    if found := _UNKNOWN.fullmatch(message):
        name = found[1][:_LONGEST_ECHO]
        what = "parameter" if issubclass(kind, Query) else "field"
        return InvalidBody(f"This operation has no such {what}.", field=name, allowed=known)
    if found := _MISSING.fullmatch(message):
        name = found[1]
        text = f"{name} is missing: it must be {fields[name]}."
        return InvalidBody(text, field=name, allowed=fields[name])
    if found := _AT.fullmatch(message):
        name = found[1]
        return InvalidBody(f"{name} must be {fields[name]}.", field=name, allowed=fields[name])
    return InvalidBody(f"{whole} must be a JSON object.", allowed=f"an object with {known}")


def _record(kind: type[Request | Query], name: str) -> type[Request] | None:
    """The type of the records in the field with this name, if it has records."""
    [field] = [field for field in msgspec.structs.fields(kind) if field.encode_name == name]
    arguments = [part for each in get_args(field.type) for part in get_args(each)]
    records = (part for part in arguments if isinstance(part, type) and issubclass(part, Request))
    return next(records, None)


def _description(annotation: Any) -> str:
    """The last description in the `Meta` of an annotation, which may be optional."""
    for part in (annotation, *get_args(annotation)):
        for meta in reversed(getattr(part, "__metadata__", ())):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return "of another type"
