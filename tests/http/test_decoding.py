"""Whatever arrives, it is a request or an error that helps."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.decoding import BODY_LIMIT, decode, decode_query
from identity_service.errors import (
    BodyTooLarge,
    InvalidBody,
    InvalidJson,
    InvalidQuery,
    ServiceError,
)
from identity_service.model import PageQuery, Request, TokenRequest


class AllOptional(Request):
    """A request that may say nothing."""


class Issue(TokenRequest):
    """A request as the operations on tokens take it."""


SCOPES = "1 to 5 of chat, chat.join, chat.join.limited, voip and voip.join, each once"
MINUTES = "a whole number of minutes from 60 to 1440"
MEMBERS = "scopes, expiresInMinutes"

NOT_JSON = {
    "blank": b"  ",
    "text": b"hello",
    "cut off": b'{"scopes":["chat"]',
    "byte order mark": b'\xef\xbb\xbf{"scopes":["chat"]}',
    "UTF-16": '{"scopes":["chat"]}'.encode("utf-16"),
    "invalid UTF-8 in a value": b'{"scopes":["\xff"]}',
    "invalid UTF-8 in a key": b'{"\xff":1}',
    "surrogate in UTF-8": b'{"scopes":["\xed\xa0\x80"]}',
    "lone surrogate, escaped": b'{"scopes":["\\ud800"]}',
    "lone surrogate in a key": b'{"\\ud800":1}',
    "trailing garbage": b'{"scopes":["chat"]} x',
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
    "null among them": b'["chat",null]',
    "number": b"[1]",
    "object": b'{"chat":true}',
    "emoji": '["😀"]'.encode(),
    "nested deeply": b"[" * 5_000 + b"]" * 5_000,
}

BAD_MINUTES = {
    "too few": b"59",
    "too many": b"1441",
    "half a minute": b"60.5",
    "a hair more": b"60.0000000001",
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

UNKNOWN_MEMBERS = {
    "unknown": "color",
    "in snake case": "expires_in_minutes",
    "in another case": "Scopes",
    "empty": "",
    "emoji": "😀",
    "like a path": "`$.color",
    "like a complaint": "missing required field `color`",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["scopes", "expiresInMinutes"]) | st.text(), JSON)
BODIES = st.binary(max_size=200) | (JSON | OBJECTS).map(lambda value: json.dumps(value).encode())


def error_of(raw: bytes, kind: type[Request] = Issue) -> ServiceError:
    """The error that a body gets."""
    with pytest.raises(ServiceError) as caught:
        decode(raw, kind)
    return caught.value


def with_minutes(minutes: bytes) -> bytes:
    """A body that is right except perhaps for its minutes."""
    return b'{"scopes":["chat"],"expiresInMinutes":%s}' % minutes


def named(cases: dict[str, bytes]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for each of the cases, by its name."""
    return pytest.mark.parametrize("raw", list(cases.values()), ids=list(cases))


def test_reads_a_request() -> None:
    """A body in camelCase becomes a request."""
    body = b'{"scopes":["chat","voip.join"],"expiresInMinutes":90}'

    request = decode(body, Issue)

    assert (request.scopes, request.minutes) == (["chat", "voip.join"], 90)


def test_takes_an_absent_optional_member() -> None:
    """An optional member may be absent."""
    body = b'{"scopes":["chat"]}'

    request = decode(body, Issue)

    assert request.minutes is None


@pytest.mark.parametrize("minutes", [b"60", b"60.0", b"6e1", b"6000e-2"])
def test_takes_every_spelling_of_a_whole_number(minutes: bytes) -> None:
    """To JSON 60 and 60.0 are the same number."""
    body = with_minutes(minutes)

    request = decode(body, Issue)

    assert request.minutes == 60


@pytest.mark.parametrize("minutes", [60, 1440])
def test_takes_the_limits_of_a_lifetime(minutes: int) -> None:
    """The shortest and the longest lifetime that ACS gives may be asked for."""
    body = with_minutes(b"%d" % minutes)

    request = decode(body, Issue)

    assert request.minutes == minutes


def test_takes_all_five_scopes() -> None:
    """A token may have every scope that there is."""
    body = b'{"scopes":["chat","chat.join","chat.join.limited","voip","voip.join"]}'

    request = decode(body, Issue)

    assert len(request.scopes) == 5


def test_last_of_duplicate_members_counts() -> None:
    """Of a member that stands there twice the last one counts."""
    body = b'{"scopes":["chat"],"scopes":["voip"]}'

    request = decode(body, Issue)

    assert request.scopes == ["voip"]


def test_no_body_is_an_empty_object() -> None:
    """Where every member is optional an empty body means `{}`."""
    body = b""

    request = decode(body, AllOptional)

    assert request == AllOptional()


def test_no_body_lacks_what_is_required() -> None:
    """Where a member is required an empty body is told which one."""
    body = b""

    error = error_of(body)

    assert (type(error), error.field, error.allowed) == (InvalidBody, "scopes", SCOPES)


@named(NOT_JSON)
def test_not_json(raw: bytes) -> None:
    """What is not JSON in UTF-8 is `invalid_json`."""
    error = error_of(raw)

    assert type(error) is InvalidJson


@named(NOT_AN_OBJECT)
def test_not_an_object(raw: bytes) -> None:
    """JSON that is no object is told which members there are."""
    error = error_of(raw)

    assert (type(error), error.allowed) == (InvalidBody, f"an object with {MEMBERS}")


@named(NOT_AN_OBJECT)
def test_not_an_object_where_all_is_optional(raw: bytes) -> None:
    """An operation that needs nothing still takes nothing but an object."""
    error = error_of(raw, AllOptional)

    assert type(error) is InvalidBody


@named(BAD_SCOPES)
def test_bad_scopes(raw: bytes) -> None:
    """Scopes that are not 1 to 5 of the five are told what is allowed."""
    error = error_of(b'{"scopes":%s}' % raw)

    assert (type(error), error.field, error.allowed) == (InvalidBody, "scopes", SCOPES)


def test_repeated_scope() -> None:
    """A scope named twice is refused, by its field."""
    body = b'{"scopes":["chat","voip","chat"]}'

    error = error_of(body)

    assert (type(error), error.field, error.allowed) == (InvalidBody, "scopes", "each scope once")


@named(BAD_MINUTES)
def test_bad_minutes(raw: bytes) -> None:
    """A lifetime that is no whole number from 60 to 1440 is told what is allowed."""
    error = error_of(with_minutes(raw))

    assert (type(error), error.field, error.allowed) == (InvalidBody, "expiresInMinutes", MINUTES)


@pytest.mark.parametrize("name", list(UNKNOWN_MEMBERS.values()), ids=list(UNKNOWN_MEMBERS))
def test_unknown_member(name: str) -> None:
    """A member that is no member is named, together with those that there are."""
    body = f'{{"scopes":["chat"],"{name}":1}}'.encode()

    error = error_of(body)

    assert (type(error), error.field, error.allowed) == (InvalidBody, name, MEMBERS)


def test_unknown_member_comes_back_shortened() -> None:
    """Of a long name only the beginning is repeated."""
    body = b'{"%s":1}' % (b"x" * 1_000)

    error = error_of(body)

    assert error.field == "x" * 60


def test_body_at_the_limit() -> None:
    """16 KiB are taken."""
    body = b'{"scopes":["chat"]}'.ljust(BODY_LIMIT)

    request = decode(body, Issue)

    assert request.scopes == ["chat"]


@pytest.mark.parametrize("size", [16 * 1024 + 1, 10_000_000])
def test_body_over_the_limit(size: int) -> None:
    """More than 16 KiB are too large, whatever they hold."""
    body = b'{"scopes":["chat"]}'.ljust(size)

    error = error_of(body)

    assert (type(error), error.allowed) == (BodyTooLarge, "16384 bytes")


@pytest.mark.parametrize("kind", [AllOptional, Issue])
@given(raw=BODIES)
def test_any_bytes(kind: type[Request], raw: bytes) -> None:
    """Any bytes whatever are either a request or one of the three errors."""
    try:
        outcome: object = decode(raw, kind)
    except (BodyTooLarge, InvalidJson, InvalidBody) as error:
        outcome = error

    assert isinstance(outcome, kind | BodyTooLarge | InvalidJson | InvalidBody)


def test_reads_a_query() -> None:
    """A query of texts becomes what the operation takes."""
    params = {"continuation": "abc", "maxPageSize": "20"}

    query = decode_query(params, PageQuery)

    assert (query.after, query.size) == ("abc", 20)


def test_empty_query() -> None:
    """Every part of a query may be absent."""
    params: dict[str, str] = {}

    query = decode_query(params, PageQuery)

    assert (query.after, query.size) == (None, 100)


@pytest.mark.parametrize("name", ["code", "clientId"])
def test_query_of_the_host(name: str) -> None:
    """What the host takes from a query for itself is no mistake."""
    params = {name: "secret-key"}

    query = decode_query(params, PageQuery)

    assert query == PageQuery()


@pytest.mark.parametrize("text", BAD_SIZES, ids=lambda text: ascii(text[:8]))
def test_bad_query(text: str) -> None:
    """A query that is none is told the parameter and what is allowed."""
    with pytest.raises(InvalidQuery) as caught:
        decode_query({"maxPageSize": text}, PageQuery)

    assert (caught.value.field, caught.value.allowed) == (
        "maxPageSize",
        "a whole number from 1 to 100",
    )


@pytest.mark.parametrize("name", list(UNKNOWN_MEMBERS.values()), ids=list(UNKNOWN_MEMBERS))
def test_unknown_parameter(name: str) -> None:
    """A parameter that is no parameter is named, together with those that there are."""
    with pytest.raises(InvalidQuery) as caught:
        decode_query({name: "1"}, PageQuery)

    assert (caught.value.field, caught.value.allowed) == (name, "continuation, maxPageSize")


@given(params=st.dictionaries(st.text() | st.sampled_from(["maxPageSize", "code"]), st.text()))
def test_any_query(params: dict[str, str]) -> None:
    """Any query whatever is either one of ours or `InvalidQuery`."""
    try:
        outcome: object = decode_query(params, PageQuery)
    except InvalidQuery as error:
        outcome = error

    assert isinstance(outcome, PageQuery | InvalidQuery)
