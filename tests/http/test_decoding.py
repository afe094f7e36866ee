"""A body or a query is decoded, or refused with an error that names the field."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import (
    BodyTooLarge,
    InvalidBody,
    InvalidJson,
    InvalidQuery,
    ServiceError,
)
from identity_service.http.decoding import BODY_LIMIT, decode_body, decode_query
from identity_service.schemas import IssueTokenRequest, Query, Request


class Empty(Request):
    """A request without required fields."""


SCOPES = "1 to 5 of chat, chat.join, chat.join.limited, voip and voip.join, each once"
MINUTES = "a whole number of minutes from 60 to 1440"
FIELDS = "scopes, expiresInMinutes"

NOT_JSON = {
    "blank": b"  ",
    "text": b"hello",
    "truncated": b'{"scopes":["chat"]',
    "byte order mark": b'\xef\xbb\xbf{"scopes":["chat"]}',
    "UTF-16": '{"scopes":["chat"]}'.encode("utf-16"),
    "invalid UTF-8 in a value": b'{"scopes":["\xff"]}',
    "invalid UTF-8 in a key": b'{"\xff":1}',
    "surrogate in UTF-8": b'{"scopes":["\xed\xa0\x80"]}',
    "lone surrogate, escaped": b'{"scopes":["\\ud800"]}',
    "lone surrogate in a key": b'{"\\ud800":1}',
    "trailing text": b'{"scopes":["chat"]} x',
    "two objects": b'{"scopes":["chat"]}{}',
    "trailing comma": b'{"scopes":["chat"],}',
    "NaN": b'{"scopes":["chat"],"expiresInMinutes":NaN}',
    "raw control character": b'{"scopes":["chat\n"]}',
}

NOT_AN_OBJECT = {
    "array": b"[]",
    "null": b"null",
    "string": b'"chat"',
    "number": b"60",
    "true": b"true",
    "deep array": b"[" * 5_000 + b"]" * 5_000,
}

BAD_SCOPES = {
    "none": b"[]",
    "null": b"null",
    "a string": b'"voip"',
    "upper case": b'["VOIP"]',
    "unknown": b'["sms"]',
    "a hundred": b"[" + b",".join([b'"chat"'] * 100) + b"]",
    "six": b'["chat","chat","chat","chat","chat","chat"]',
    "with null": b'["chat",null]',
    "number": b"[1]",
    "object": b'{"chat":true}',
    "emoji": '["😀"]'.encode(),
    "nested deeply": b"[" * 5_000 + b"]" * 5_000,
}

BAD_MINUTES = {
    "too few": b"59",
    "too many": b"1441",
    "half a minute": b"60.5",
    "slightly more": b"60.0000000001",
    "zero": b"0",
    "negative": b"-60",
    "string": b'"60"',
    "true": b"true",
    "null": b"null",
    "more than a double holds": b"1e400",
    "less than a double holds": b"-1e400",
    "400 digits": b"9" * 400,
    "array": b"[60]",
}

BAD_SIZES = ["0", "101", "-1", "1.5", "ten", "1e400", "9" * 400, "true", "null", "😀"]

UNKNOWN_FIELDS = {
    "unknown": "color",
    "in snake case": "expires_in_minutes",
    "in another case": "Scopes",
    "empty": "",
    "emoji": "😀",
    "like a path": "`$.color",
    "like an error": "missing required field `color`",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["scopes", "expiresInMinutes"]) | st.text(), JSON)
BODIES = st.binary(max_size=200) | (JSON | OBJECTS).map(lambda value: json.dumps(value).encode())


def error_of(raw: bytes, kind: type[Request] = IssueTokenRequest) -> ServiceError:
    """The error for a body."""
    with pytest.raises(ServiceError) as caught:
        decode_body(raw, kind)
    return caught.value


def details(error: ServiceError) -> tuple[type[ServiceError], str | None, str | None]:
    """What an error says: its class, the field, and what the field accepts."""
    return type(error), error.field, error.allowed


def with_minutes(minutes: bytes) -> bytes:
    """A body that is valid if the minutes are."""
    return b'{"scopes":["chat"],"expiresInMinutes":%s}' % minutes


def cases(named: dict[str, bytes]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for each of these bodies."""
    return pytest.mark.parametrize("raw", list(named.values()), ids=list(named))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [(b"60", 60), (b"60.0", 60), (b"6e1", 60), (b"6000e-2", 60), (b"1440", 1440)],
)
def test_valid_minutes(text: bytes, minutes: int) -> None:
    """A lifetime is 60 to 1440 minutes. JSON does not distinguish 60 from 60.0."""
    assert decode_body(with_minutes(text), IssueTokenRequest).minutes == minutes


def test_all_scopes() -> None:
    """A token may have all five scopes."""
    body = b'{"scopes":["chat","chat.join","chat.join.limited","voip","voip.join"]}'

    assert len(decode_body(body, IssueTokenRequest).scopes) == 5


def test_last_of_repeated_fields_wins() -> None:
    """If a field is repeated, the last value counts."""
    body = b'{"scopes":["chat"],"scopes":["voip"]}'

    assert decode_body(body, IssueTokenRequest).scopes == ["voip"]


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_missing_field(body: bytes) -> None:
    """The error names the missing field and what it accepts."""
    error = error_of(body)

    assert details(error) == (InvalidBody, "scopes", SCOPES)
    assert error.detail == f"scopes is missing: it must be {SCOPES}."


@cases(NOT_JSON)
def test_not_json(raw: bytes) -> None:
    """A body that is not JSON in UTF-8 is `invalid_json`."""
    assert type(error_of(raw)) is InvalidJson


@cases(NOT_AN_OBJECT)
def test_not_an_object(raw: bytes) -> None:
    """A body that is no object is refused with the fields that there are, if there are any."""
    assert details(error_of(raw)) == (InvalidBody, None, f"an object with {FIELDS}")
    assert details(error_of(raw, Empty)) == (InvalidBody, None, "an object with no fields")


@cases(BAD_SCOPES)
def test_invalid_scopes(raw: bytes) -> None:
    """Scopes must be 1 to 5 of the five."""
    error = error_of(b'{"scopes":%s}' % raw)

    assert details(error) == (InvalidBody, "scopes", SCOPES)


def test_repeated_scope() -> None:
    """A repeated scope is refused."""
    error = error_of(b'{"scopes":["chat","voip","chat"]}')

    assert details(error) == (InvalidBody, "scopes", "each scope once")


@cases(BAD_MINUTES)
def test_invalid_minutes(raw: bytes) -> None:
    """A lifetime must be a whole number from 60 to 1440."""
    assert details(error_of(with_minutes(raw))) == (InvalidBody, "expiresInMinutes", MINUTES)


@pytest.mark.parametrize("name", list(UNKNOWN_FIELDS.values()), ids=list(UNKNOWN_FIELDS))
def test_unknown_field(name: str) -> None:
    """The error names the unknown field and the known ones."""
    error = error_of(f'{{"scopes":["chat"],"{name}":1}}'.encode())

    assert details(error) == (InvalidBody, name, FIELDS)


def test_long_unknown_field_is_cut() -> None:
    """The error repeats at most 60 characters of the caller's text."""
    assert error_of(b'{"%s":1}' % (b"x" * 1_000)).field == "x" * 60


def test_body_at_the_limit() -> None:
    """A body of 16 KiB is accepted."""
    body = b'{"scopes":["chat"]}'.ljust(BODY_LIMIT)

    assert decode_body(body, IssueTokenRequest).scopes == ["chat"]


@pytest.mark.parametrize("size", [16 * 1024 + 1, 10_000_000])
def test_body_over_the_limit(size: int) -> None:
    """A body of more than 16 KiB is refused, with any content."""
    error = error_of(b'{"scopes":["chat"]}'.ljust(size))

    assert details(error) == (BodyTooLarge, None, "16384 bytes")


@pytest.mark.parametrize("kind", [Empty, IssueTokenRequest])
@given(raw=BODIES)
def test_any_bytes(kind: type[Request], raw: bytes) -> None:
    """Any bytes give a request or one of three errors."""
    try:
        outcome: object = decode_body(raw, kind)
    except (BodyTooLarge, InvalidJson, InvalidBody) as error:
        outcome = error

    assert isinstance(outcome, kind | BodyTooLarge | InvalidJson | InvalidBody)


def query_error(params: dict[str, str]) -> InvalidQuery:
    """The error for a query."""
    with pytest.raises(InvalidQuery) as caught:
        decode_query(params, Query)
    return caught.value


@pytest.mark.parametrize(
    ("params", "after", "size"),
    [
        ({"continuation": "abc", "maxPageSize": "20"}, "abc", 20),
        ({}, None, 100),
        ({"code": "secret-key", "clientId": "default"}, None, 100),
    ],
    ids=["all", "none", "those of the host"],
)
def test_query(params: dict[str, str], after: str | None, size: int) -> None:
    """Every parameter is optional. Those that the host reads are ignored."""
    query = decode_query(params, Query)

    assert (query.after, query.size) == (after, size)


@pytest.mark.parametrize("text", BAD_SIZES, ids=lambda text: ascii(text[:8]))
def test_invalid_query(text: str) -> None:
    """The error names the parameter and what it accepts."""
    error = query_error({"maxPageSize": text})

    assert details(error) == (InvalidQuery, "maxPageSize", "a whole number from 1 to 100")


@pytest.mark.parametrize("name", list(UNKNOWN_FIELDS.values()), ids=list(UNKNOWN_FIELDS))
def test_unknown_parameter(name: str) -> None:
    """The error names the unknown parameter and the known ones."""
    assert details(query_error({name: "1"})) == (InvalidQuery, name, "continuation, maxPageSize")


@given(params=st.dictionaries(st.text() | st.sampled_from(["maxPageSize", "code"]), st.text()))
def test_any_query(params: dict[str, str]) -> None:
    """Any query is valid, or refused with InvalidQuery."""
    try:
        outcome: object = decode_query(params, Query)
    except InvalidQuery as error:
        outcome = error

    assert isinstance(outcome, Query | InvalidQuery)
