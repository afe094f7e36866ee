"""A body or a query is decoded, or refused with an error that names the field."""

import json
from codecs import BOM_UTF8
from collections.abc import Callable
from urllib.parse import quote, urlencode

import msgspec
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
from identity_service.http.decoding import (
    decode_body,
    decode_query,
    refuse_ignored_body,
    refuse_ignored_query,
)
from identity_service.schemas import (
    CreateIdentityRequest,
    CreateIdentityWithTokenRequest,
    ImportIdentitiesRequest,
    IssueMyTokenRequest,
    IssueTokenRequest,
    ListQuery,
    Request,
    UnregisterIdentityQuery,
)
from tests.http.edge import URL
from tests.support.acs_transport import IDENTITY


class Empty(Request):
    """A request without required fields."""


SCOPES = "1 to 5 of chat, chat.join, chat.join.limited, voip and voip.join, each once"
MINUTES = "a whole number of minutes from 60 to 1440"
FIELDS = "scopes, expiresInMinutes"

NOT_JSON = {
    "blank": b"  ",
    "text": b"hello",
    "truncated": b'{"scopes":["chat"]',
    "two byte order marks": b'\xef\xbb\xbf\xef\xbb\xbf{"scopes":["chat"]}',
    "byte order mark at the end": b'{"scopes":["chat"]}\xef\xbb\xbf',
    "byte order mark of UTF-32": b'\xff\xfe\x00\x00{"scopes":["chat"]}',
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

# Scopes, and what the error says about them.
USER_ID = "a string of 1 to 256 characters, no control characters, no white space at either end"
_ARRAY = 'scopes must be an array, such as ["chat", "voip"].'
_SIZE = "scopes must have 1 to 5 elements, not {}."
_SEVERAL = "has a comma or white space: send each scope as an element of its own."
BAD_SCOPES: dict[str, tuple[object, str]] = {
    "null": (None, _ARRAY),
    "a scope": ("voip", 'scopes must be an array, such as ["voip"].'),
    "a text": ("VoIP", _ARRAY),
    "an array in a text": ('["chat"]', _ARRAY),
    "a long text": ("x" * 15_000, _ARRAY),
    "a number": (1, _ARRAY),
    "an object": ({"chat": True}, _ARRAY),
    "no element": ([], _SIZE.format(0)),
    "six elements": (
        ["chat", "chat.join", "chat.join.limited", "voip", "voip.join", "sms"],
        _SIZE.format(6),
    ),
    "thousands": (["chat"] * 1_600, _SIZE.format("1600")),
    "null in it": (["chat", None], "scopes[1] must be a string."),
    "a number in it": ([1], "scopes[0] must be a string."),
    "true in it": ([True], "scopes[0] must be a string."),
    "an array in it": (["chat", "voip", ["chat"]], "scopes[2] must be a string."),
    "an object in it": ([{"chat": 1}], "scopes[0] must be a string."),
    "upper case": (["VoIP"], "scopes[0] must be in lower case: send voip."),
    "upper case and white space": ([" CHAT "], "scopes[0] must be in lower case: send chat."),
    "white space": (["voip", "chat "], "scopes[1] has white space: send chat."),
    "Unicode white space": (["\u2003chat"], "scopes[0] has white space: send chat."),
    "line end": (["chat\n"], "scopes[0] has white space: send chat."),
    "a comma": (["chat,voip"], f"scopes[0] {_SEVERAL}"),
    "a comma and white space": (["chat, voip"], f"scopes[0] {_SEVERAL}"),
    "a comma at the end": (["chat,"], f"scopes[0] {_SEVERAL}"),
    "two words": (["chat voip"], f"scopes[0] {_SEVERAL}"),
    "unknown": (["chat", "sms"], "scopes[1] is not a scope."),
    "empty": ([""], "scopes[0] is not a scope."),
    "emoji": (["😀"], "scopes[0] is not a scope."),
    "look-alike letters": (["\u0441hat"], "scopes[0] is not a scope."),
    "invisible": (["chat\u200b"], "scopes[0] is not a scope."),
    "a long element": (["x" * 15_000], "scopes[0] is not a scope."),
    "repeated": (["chat", "voip", "chat"], "scopes[2] repeats an earlier scope."),
    "repeated, then unknown": (["chat", "chat", "sms"], "scopes[1] repeats an earlier scope."),
    "unknown twice": (["sms", "sms"], "scopes[0] is not a scope."),
}
# Requests with scopes: of POST tokens, with-token, and me/tokens.
WITH_SCOPES = [IssueTokenRequest, CreateIdentityWithTokenRequest, IssueMyTokenRequest]
# What follows an invalid scope cannot be decoded, so the error only says what scopes are.
UNDECODABLE = {
    "cut off": b'{"scopes":["sms"',
    "deep": b'{"scopes":[' + b"[" * 5_000,
    "deep, complete": b'{"scopes":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "deep in another field": b'{"scopes":["sms"],"more":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "no UTF-8": b'{"scopes":["sms"],"more":"\xff"}',
    "half a surrogate": b'{"scopes":["sms","\\ud800"]}',
    "trailing text": b'{"scopes":["sms"]} x',
    "repeated, then valid": b'{"scopes":["sms"],"scopes":["chat"]}',
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
    "more than a double holds": b"1e400",
    "less than a double holds": b"-1e400",
    "400 digits": b"9" * 400,
    "array": b"[60]",
}

BAD_SIZES = ["0", "1001", "-1", "1.5", "ten", "1e400", "9" * 400, "true", "null", "😀"]
# Other spellings of a valid number.
BAD_SIZES += ["5.0", "1e1", "1E1", "05", "+5", " 5", "5 ", "5\0", "1_0", "0x10", "\uff15"]

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
    assert decode_body(with_minutes(text), IssueTokenRequest).expires_in_minutes == minutes


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


@pytest.mark.parametrize(("scopes", "detail"), BAD_SCOPES.values(), ids=BAD_SCOPES)
@pytest.mark.parametrize("kind", WITH_SCOPES)
def test_invalid_scopes(kind: type[Request], scopes: object, detail: str) -> None:
    """The error names the element and the rule that it violates, and repeats no text."""
    if scopes is None and kind is IssueMyTokenRequest:
        return  # optional there
    error = error_of(json.dumps({"scopes": scopes}).encode(), kind)

    assert (type(error), error.field, error.detail) == (InvalidBody, "scopes", detail)
    assert error.allowed in (SCOPES, "each scope once")


def test_byte_order_mark() -> None:
    """One UTF-8 byte order mark at the start is skipped, as editors and PowerShell write it."""
    assert decode_body(BOM_UTF8 + b'{"scopes":["chat"]}', IssueTokenRequest).scopes == ["chat"]
    assert decode_body(BOM_UTF8, Empty) == Empty()


@pytest.mark.parametrize("kind", [*WITH_SCOPES, CreateIdentityRequest])
def test_null(kind: type[Request]) -> None:
    """An optional field may be null, which means the same as an absent field."""
    scopes = {"scopes": ["chat"]} if kind in WITH_SCOPES else {}
    optional = {
        field.encode_name: None for field in msgspec.structs.fields(kind) if field.default is None
    }

    assert len(optional) > 0
    assert decode_body(json.dumps({**optional, **scopes}).encode(), kind) == decode_body(
        json.dumps(scopes).encode(), kind
    )


@cases(UNDECODABLE)
def test_invalid_scopes_in_an_undecodable_body(raw: bytes) -> None:
    """An invalid scope is refused, even if the rest of the body cannot be decoded."""
    error = error_of(raw)

    assert details(error) == (InvalidBody, "scopes", SCOPES)
    assert error.detail == f"scopes must be {SCOPES}."


@cases(BAD_MINUTES)
def test_invalid_minutes(raw: bytes) -> None:
    """A lifetime must be a whole number from 60 to 1440."""
    assert details(error_of(with_minutes(raw))) == (InvalidBody, "expiresInMinutes", MINUTES)


@pytest.mark.parametrize("name", list(UNKNOWN_FIELDS.values()), ids=list(UNKNOWN_FIELDS))
def test_unknown_field(name: str) -> None:
    """The error names the unknown field and the known ones."""
    error = error_of(f'{{"scopes":["chat"],"{name}":1}}'.encode())

    assert details(error) == (InvalidBody, name, FIELDS)


@pytest.mark.parametrize("raw", [b"5", b'["alice"]', b'""', b'"%s"' % (b"x" * 257)])
def test_invalid_user_id(raw: bytes) -> None:
    """The error says all that a user id must be, as openapi.json does."""
    error = error_of(b'{"userId":%s}' % raw, CreateIdentityRequest)

    assert details(error) == (InvalidBody, "userId", USER_ID)
    assert error.detail == f"userId must be {USER_ID}."


def test_long_unknown_field_is_cut() -> None:
    """The error repeats at most 60 characters of the caller's text."""
    assert error_of(b'{"%s":1}' % (b"x" * 1_000)).field == "x" * 60


def test_body_at_the_limit() -> None:
    """A body of 16 KiB is accepted."""
    body = b'{"scopes":["chat"]}'.ljust(IssueTokenRequest.body_limit)

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


def query_error(query: str) -> InvalidQuery:
    """The error for a query."""
    with pytest.raises(InvalidQuery) as caught:
        decode_query(f"{URL}?{query}", ListQuery)
    return caught.value


QUERIES: dict[str, tuple[str, str | None, int]] = {
    "all": ("?continuation=abc&maxPageSize=20", "abc", 20),
    "none": ("", None, 100),
    "no parameter": ("?", None, 100),
    "only separators": ("?&&", None, 100),
    "key": ("?code=secret-key&clientId=default", None, 100),
    "key, percent-encoded name": ("?%63ode=secret-key&maxPageSize=20", None, 20),
    "key in any case, empty, repeated": ("?CODE=&Code&code=a&code=b&CLIENTID=&clientid", None, 100),
    "percent-encoded": ("?max%50ageSize=%32%30&continuation=a%26b%3D%3F%23", "a&b=?#", 20),
    "plus": ("?continuation=a+b%2Bc", "a b+c", 100),
    "percent sign": ("?continuation=100%", "100%", 100),
    "question mark and number sign": ("?continuation=a?b#c", "a?b#c", 100),
}


@pytest.mark.parametrize(("query", "after", "size"), QUERIES.values(), ids=QUERIES)
def test_query(query: str, after: str | None, size: int) -> None:
    """Every parameter is optional. Those that the host reads are left alone."""
    decoded = decode_query(URL + query, ListQuery)

    assert (decoded.after, decoded.max_page_size) == (after, size)


@pytest.mark.parametrize(
    "host", ["evil.example#", "[evil.example", "x//evil.example/a", "\u2100.example", ""]
)
def test_query_of_any_host(host: str) -> None:
    """The host in the URL is the caller's text. It does not hide or change the query."""
    assert (
        decode_query(f"https://{host}/api/identities?maxPageSize=7", ListQuery).max_page_size == 7
    )


@pytest.mark.parametrize(
    "host", ["x//evil.example/a?b", "x?", "x?code=", "x?a=b&CODE=", "x/a?clientId=b"]
)
def test_query_in_the_host(host: str) -> None:
    """If the host has a question mark, the query is refused. It is never taken as empty."""
    with pytest.raises(InvalidQuery):
        decode_query(f"https://{host}/api/identities?maxPageSize=7", ListQuery)


BODY_FIELDS = {
    "field": ("userId=alice", "userId"),
    "empty": ("userId=", "userId"),
    "in another case": ("USERID=alice", "userId"),
    "percent-encoded": ("user%49d=alice", "userId"),
    "after others": ("code=a&b=c&scopes=chat", "scopes"),
    "no UTF-8": ("a=%FF", None),
}


@pytest.mark.parametrize(("query", "field"), BODY_FIELDS.values(), ids=BODY_FIELDS)
def test_field_of_the_body_in_the_query(query: str, field: str | None) -> None:
    """It is refused: if it were ignored, the call would create an identity without a user."""
    with pytest.raises(InvalidQuery) as caught:
        refuse_ignored_query(f"{URL}?{query}", CreateIdentityWithTokenRequest)

    assert caught.value.field == field


@pytest.mark.parametrize("query", ["userId=alice", "STATE=any", "appId=a"])
@pytest.mark.parametrize("body", [None, IssueMyTokenRequest])
def test_a_name_of_other_operations_in_the_query(body: type[Request] | None, query: str) -> None:
    """Its caller expects what the operation would not do."""
    with pytest.raises(InvalidQuery, match="This operation does not take") as caught:
        refuse_ignored_query(f"{URL}?{query}", body)

    assert caught.value.field
    assert caught.value.field.lower() == query.partition("=")[0].lower()


@pytest.mark.parametrize("query", ["", "?", "?code=a&clientId=b", "?userIds=a", "?id=a", "?&"])
def test_other_query_of_an_operation_with_a_body(query: str) -> None:
    """Other parameters are ignored: they have no meaning for the operation."""
    refuse_ignored_query(URL + query, CreateIdentityWithTokenRequest)


@pytest.mark.parametrize("text", BAD_SIZES, ids=lambda text: ascii(text[:8]))
def test_invalid_query(text: str) -> None:
    """The error names the parameter and what it accepts."""
    error = query_error(f"maxPageSize={quote(text)}")

    assert details(error) == (InvalidQuery, "maxPageSize", "a whole number from 1 to 1000")


@pytest.mark.parametrize(
    "query",
    [
        "continuation=",
        "continuation",
        "continuation=&maxPageSize=5",
        "%63ontinuation",
        "a=1&continuation=",
    ],
)
def test_empty_parameter(query: str) -> None:
    """The host drops empty parameters. One that is known is refused, and the error names it."""
    error = query_error(query)

    assert error.field == "continuation"
    assert error.detail == "continuation is empty: leave it out or give it a value."


@pytest.mark.parametrize(
    "query",
    [
        "continuation=a&continuation=a",
        "continuation=a&maxPageSize=5&continuation=b",
        "continuation=a&%63ontinuation=b",
    ],
)
def test_repeated_parameter(query: str) -> None:
    """The host joins repeated parameters. One that is known is refused, and the error names it."""
    error = query_error(query)

    assert error.field == "continuation"
    assert error.detail == "continuation is repeated: send it once."


@pytest.mark.parametrize("name", list(UNKNOWN_FIELDS.values()), ids=list(UNKNOWN_FIELDS))
@pytest.mark.parametrize("value", ["=1", "=", "", "=1&maxPageSize=5"])
def test_unknown_parameter(name: str, value: str) -> None:
    """The error names the unknown parameter and the known ones, even if it is empty."""
    if not name and not value:
        return  # no parameter at all
    error = query_error(quote(name) + value)

    assert details(error) == (InvalidQuery, name, "continuation, maxPageSize")
    assert error.detail == "This operation has no such parameter."


@pytest.mark.parametrize("text", ["%FF", "%C3", "%ED%A0%80", "%C0%AF", "a%FFb"])
@pytest.mark.parametrize("query", ["continuation={}", "{}=1"])
def test_query_that_is_not_utf_8(query: str, text: str) -> None:
    """Such a text is refused. Replaced characters could be those of another user's id."""
    assert query_error(query.format(text)).detail == "The query must be percent-encoded UTF-8."


def test_long_unknown_parameters_are_cut() -> None:
    """The error repeats at most 60 characters of the caller's text."""
    name = "x" * 5_000

    assert query_error(f"{name}=1&{name}=2").field == "x" * 60


@given(
    query=st.text()
    | st.lists(
        st.tuples(st.sampled_from(["maxPageSize", "continuation", "code"]) | st.text(), st.text())
    ).map(lambda pairs: urlencode(pairs, errors="surrogatepass"))
)
def test_any_query(query: str) -> None:
    """Any query is valid, or refused with InvalidQuery."""
    try:
        outcome: object = decode_query(f"{URL}?{query}", ListQuery)
    except InvalidQuery as error:
        outcome = error

    assert isinstance(outcome, ListQuery | InvalidQuery)


@pytest.mark.parametrize("body", ['{"userId":"alice"}', ' {"x":[1],"userId":null}'])
def test_query_field_in_the_body(body: str) -> None:
    """A parameter of the query in the body is refused, because the operation would ignore it."""
    with pytest.raises(InvalidBody, match="Send userId in the query, and only there") as caught:
        refuse_ignored_body(body.encode(), UnregisterIdentityQuery)

    assert caught.value.field == "userId"


def test_a_name_of_other_operations_in_the_body() -> None:
    """It is refused, also if the operation takes nothing at all."""
    with pytest.raises(InvalidBody, match="This operation does not take userId: leave it out"):
        refuse_ignored_body(b'{"userId": "alice"}', None)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"user":1}', b"[]", b"\xff", b"[" * 10_000])
def test_any_other_body_without_an_operation_that_reads_it(body: bytes) -> None:
    """Any other body of an operation that reads none is ignored."""
    refuse_ignored_body(body, UnregisterIdentityQuery)


# Records


@pytest.mark.parametrize(
    ("records", "field", "detail"),
    [
        (
            [{"id": IDENTITY}, {"id": 1}],
            "identities[1].id",
            "id must be the id of an ACS identity.",
        ),
        ([{}], "identities[0].id", "id is missing: it must be the id of an ACS identity."),
        ([{"id": "x", "user": "a"}], "identities[0].user", "This operation has no such field."),
        ([{"id": "x", "userId": 5}], "identities[0].userId", "userId must be 1 to 256 characters"),
        ([3], "identities[0]", "identities[0] must be a JSON object."),
        ([], "identities", "identities must be 1 to 100 records."),
        ([{"id": "x"}] * 101, "identities", "identities must be 1 to 100 records."),
        ("x", "identities", "identities must be 1 to 100 records."),
    ],
)
def test_invalid_record(records: object, field: str, detail: str) -> None:
    """The error of an invalid record names the record and its field."""
    body = msgspec.json.encode({"identities": records})
    with pytest.raises(InvalidBody) as caught:
        decode_body(body, ImportIdentitiesRequest)

    assert caught.value.field == field
    assert caught.value.detail.startswith(detail)


def test_largest_import() -> None:
    """An import of 100 records whose user ids have the longest form in JSON is accepted."""
    records = [{"id": IDENTITY, "userId": "\N{GRINNING FACE}" * 256}] * 100
    body = json.dumps({"identities": records}).encode()

    assert len(decode_body(body, ImportIdentitiesRequest).identities) == 100
