"""Bodies and queries → requests, and what to tell a caller whose request is not one."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, get_args

import msgspec

from identity_service.errors import BodyTooLarge, InvalidBody, InvalidJson, InvalidQuery
from identity_service.model import PageQuery, Request

R = TypeVar("R", bound=Request)
Q = TypeVar("Q", bound=PageQuery)

# Bytes. The longest request of ours holds an Entra token of a few KiB.
BODY_LIMIT = 16 * 1024

# What the Functions host takes from a query: a function key and its name.
_HOST_PARAMETERS = {"code", "clientid"}

# Characters of a caller's own words that a problem repeats.
_LONGEST_ECHO = 60

# msgspec's messages repeat what the caller sent: so each is read from its own fixed end.
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_AT = re.compile(r".* - at `\$\.(\w+)[^`]*`", re.DOTALL)


def decode(raw: bytes, kind: type[R]) -> R:
    """The request's body as `kind`; no body at all counts as `{}`.

    Of a member that stands there twice the last one counts.

    Raises:
        BodyTooLarge: it has more than `BODY_LIMIT` bytes.
        InvalidJson: it is not JSON in UTF-8.
        InvalidBody: it is JSON of another shape.
    """
    if len(raw) > BODY_LIMIT:
        raise BodyTooLarge(f"The body has {len(raw)} bytes.", allowed=f"{BODY_LIMIT} bytes")
    try:
        decoded: R = _decoder(kind).decode(raw or b"{}")
    except msgspec.ValidationError as error:
        raise _explained(str(error), kind) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson("The body must be one JSON object in UTF-8.") from error
    return decoded


def decode_query(params: Mapping[str, str], kind: type[Q]) -> Q:
    """The request's query as `kind`.

    Raises:
        InvalidQuery: it is of another shape.
    """
    try:
        return msgspec.convert(own_parameters(params), kind, strict=False)
    except msgspec.ValidationError as error:
        fault = _explained(str(error), kind)
        raise InvalidQuery(fault.detail, field=fault.field, allowed=fault.allowed) from error


def own_parameters(params: Mapping[str, str]) -> dict[str, str]:
    """The query without what the Functions host takes from it, in whatever case."""
    return {name: text for name, text in params.items() if name.lower() not in _HOST_PARAMETERS}


@cache
def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(kind)


def _explained(message: str, kind: type[Request | PageQuery]) -> InvalidBody:
    """What msgspec says, in our words: the member at fault and what would be accepted there."""
    members = {
        member.encode_name: _description(member.type) for member in msgspec.structs.fields(kind)
    }
    known = ", ".join(members) or "no members"
    if found := _UNKNOWN.fullmatch(message):
        name = found[1][:_LONGEST_ECHO]
        return InvalidBody("This operation has no such member.", field=name, allowed=known)
    if found := _MISSING.fullmatch(message):
        name = found[1]
        text = f"{name} is missing: it must be {members[name]}."
        return InvalidBody(text, field=name, allowed=members[name])
    if found := _AT.fullmatch(message):
        name = found[1]
        return InvalidBody(f"{name} must be {members[name]}.", field=name, allowed=members[name])
    return InvalidBody("The body must be a JSON object.", allowed=f"an object with {known}")


def _description(annotation: Any) -> str:
    """The description in the Meta of an annotation, be it optional or not."""
    for part in (annotation, *get_args(annotation)):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, msgspec.Meta) and meta.description:
                return meta.description
    return "of another type"
