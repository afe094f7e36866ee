"""Requests accept what they document, and responses have their documented form."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from unicodedata import category
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service import schemas
from identity_service.errors import InvalidBody, InvalidQuery
from identity_service.http.decoding import decode_body, decode_query
from identity_service.identity import Actor, Identity, State
from identity_service.policies import AccessToken
from identity_service.schemas import (
    CreateIdentityRequest,
    CreateIdentityWithTokenRequest,
    DeletedIdentityResponse,
    DeletionResponse,
    ExchangeMyTeamsTokenRequest,
    ExchangeTeamsTokenRequest,
    IdentityResponse,
    IdentityWithTokenCreatedResponse,
    IssuedTokenResponse,
    IssueMyTokenRequest,
    IssueTokenRequest,
    ListDeletedIdentitiesQuery,
    ListIdentitiesQuery,
    Query,
    Request,
    Response,
    TeamsTokenResponse,
)
from tests.http.edge import URL
from tests.support.acs_transport import IDENTITY

GUID = "aaaaaaaa-2222-3333-4444-555555555555"
LONGEST = "😀" * 256
SPACES = [
    each
    for each in map(chr, range(sys.maxunicode + 1))
    if each.isspace() or category(each) in ("Cc", "Zs", "Zl", "Zp")
]
EXPIRY = datetime(2030, 1, 2, 12, tzinfo=UTC)
TOKEN = AccessToken("a.b.c", EXPIRY, EXPIRY - timedelta(minutes=10))
# A retention of 90 days later is still a time that Python can express.
DELETED_LAST = datetime(9999, 1, 1, tzinfo=UTC)
DELETED = Identity.adopt(IDENTITY, EXPIRY).delete(EXPIRY, timedelta(days=7), Actor.SERVICE)


def fields(response: Response) -> object:
    """The fields of the response's body."""
    return msgspec.json.decode(msgspec.json.encode(response))


# Requests


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        ("", CreateIdentityRequest()),
        ('{"userId":"a"}', CreateIdentityRequest(user_id="a")),
        (f'{{"userId":"{LONGEST}"}}', CreateIdentityRequest(user_id=LONGEST)),
        (
            '{"scopes":["voip"],"expiresInMinutes":90,"userId":"alice"}',
            CreateIdentityWithTokenRequest(
                scopes=["voip"], expires_in_minutes=90.0, user_id="alice"
            ),
        ),
        ("", IssueMyTokenRequest()),
        ("{}", IssueMyTokenRequest()),
        (
            '{"scopes":["voip"],"expiresInMinutes":90}',
            IssueMyTokenRequest(scopes=["voip"], expires_in_minutes=90.0),
        ),
        *(
            (
                f'{{"token":"t","appId":"{guid}","userId":"{guid}"}}',
                ExchangeTeamsTokenRequest(token="t", app_id=guid, user_id=guid),
            )
            for guid in (GUID, GUID.upper())
        ),
    ],
)
def test_valid_body(raw: str, body: Request) -> None:
    """A body has the fields of its request, in camelCase. Optional fields may be absent."""
    assert decode_body(raw.encode(), type(body)) == body


def test_absent_fields() -> None:
    """An absent field is None: the policy decides."""
    assert IssueTokenRequest(scopes=["chat"]).expires_in_minutes is None
    assert CreateIdentityRequest().user_id is None
    assert IssueMyTokenRequest().scopes is None
    assert IssueMyTokenRequest().expires_in_minutes is None


@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    [
        (CreateIdentityRequest, '{"userId":""}', "userId"),
        (CreateIdentityRequest, f'{{"userId":"{LONGEST}x"}}', "userId"),
        (CreateIdentityRequest, '{"scopes":["chat"]}', "scopes"),
        (CreateIdentityWithTokenRequest, '{"scopes":["chat"],"userId":""}', "userId"),
        (CreateIdentityWithTokenRequest, '{"scopes":["chat","chat"]}', "scopes"),
        (CreateIdentityWithTokenRequest, "{}", "scopes"),
        (IssueTokenRequest, '{"scopes":["chat"],"userId":"bob"}', "userId"),
        (IssueMyTokenRequest, '{"scopes":[]}', "scopes"),
        (IssueMyTokenRequest, '{"scopes":["chat","chat"]}', "scopes"),
        (IssueMyTokenRequest, '{"scopes":["spam"]}', "scopes"),
        (IssueMyTokenRequest, '{"expiresInMinutes":59}', "expiresInMinutes"),
        (IssueMyTokenRequest, '{"expiresInMinutes":60.5}', "expiresInMinutes"),
        (IssueMyTokenRequest, '{"userId":"bob"}', "userId"),
        (IssueMyTokenRequest, '{"id":"8:acs:x"}', "id"),
        (ExchangeTeamsTokenRequest, '{"token":"t"}', "appId"),
        (ExchangeTeamsTokenRequest, f'{{"token":"","appId":"{GUID}","userId":"{GUID}"}}', "token"),
        (ExchangeTeamsTokenRequest, f'{{"token":"t","appId":"x","userId":"{GUID}"}}', "appId"),
        (ExchangeTeamsTokenRequest, f'{{"token":"t","appId":"{GUID}","userId":"x"}}', "userId"),
        (ExchangeMyTeamsTokenRequest, f'{{"token":"t","userId":"{GUID}"}}', "userId"),
        (ExchangeMyTeamsTokenRequest, f'{{"token":"t","appId":"{GUID}"}}', "appId"),
        (ExchangeMyTeamsTokenRequest, "{}", "token"),
    ],
)
def test_invalid_body(kind: type[Request], raw: str, field: str) -> None:
    """An invalid body is refused, and the error names the field."""
    with pytest.raises(InvalidBody) as caught:
        decode_body(raw.encode(), kind)

    assert caught.value.field == field


NO_USER_IDS = {
    "space before": " alice",
    "space after": "alice ",
    "only spaces": "   ",
    "no-break space": "alice\u00a0",
    "em space": "\u2003alice",
    "ideographic space": "alice\u3000",
    "line separator": "alice\u2028",
    "zero-width space": "alice\u200b",
    "byte order mark": "\ufeffalice",
    "left-to-right mark": f"\u200e{IDENTITY}",
    "end of an embedding": "alice\u202c",
    "word joiner": "alice\u2060",
    "end of an isolate": "alice\u2069",
    "line end after": "alice\n",
    "tab within": "alice\tb",
    "NUL": "alice\0b",
    "DEL": "alice\x7f",
    "control character of Latin-1": "alice\x85b",
}
USER_IDS = {
    "space within": "Alice B",
    "no-break space within": "Alice\u00a0B",
    "emoji with a joiner": "👩\u200d💻",
    "mark within": "שלום\u200e!",
    "right to left": "שלום",
    "Teams user": f"8:orgid:{GUID}",
    "number": "8",
    "other prefix": f"18:acs:{GUID}",
    "acs without a number": "acs:alice",
    "8 without a colon": "8acs",
}
# Requests with a userId that is written, and what else they need.
WITH_USER_ID = {CreateIdentityRequest: {}, CreateIdentityWithTokenRequest: {"scopes": ["chat"]}}
each_with_user_id = pytest.mark.parametrize(("kind", "rest"), WITH_USER_ID.items())


def user_id_error(kind: type[Request], user_id: str, rest: dict[str, object]) -> InvalidBody:
    """The error for a user id."""
    with pytest.raises(InvalidBody) as caught:
        decode_body(json.dumps({"userId": user_id, **rest}).encode(), kind)
    assert caught.value.field == "userId"
    assert user_id not in caught.value.detail
    return caught.value


@each_with_user_id
@pytest.mark.parametrize("user_id", NO_USER_IDS.values(), ids=NO_USER_IDS)
def test_white_space_in_a_user_id(
    kind: type[Request], rest: dict[str, object], user_id: str
) -> None:
    """White space at the ends and control characters are refused, because nobody sees them."""
    error = user_id_error(kind, user_id, rest)

    assert error.detail.startswith("userId must not begin or end with white space")


@pytest.mark.parametrize("space", SPACES, ids=ascii)
def test_every_white_space_and_control_character(space: str) -> None:
    """This holds for every such character in Unicode."""
    user_id_error(CreateIdentityRequest, f"{space}alice", {})
    user_id_error(CreateIdentityRequest, f"alice{space}", {})


@each_with_user_id
@pytest.mark.parametrize(
    "user_id",
    [
        IDENTITY,
        IDENTITY.replace("acs", "gcch-acs"),
        IDENTITY.replace("acs", "dod-acs"),
        IDENTITY.replace(":", "%3A"),
        IDENTITY.replace(":", "%3a"),
        IDENTITY.replace(":", "%253A"),
        IDENTITY.upper(),
        IDENTITY.replace("acs", "GCCH-Acs"),
        f'"{IDENTITY}"',
        "8:acs:",
        "8:acs:alice",
        f"{IDENTITY} ",
    ],
)
def test_identity_as_user_id(kind: type[Request], rest: dict[str, object], user_id: str) -> None:
    """The id of an identity as userId would create a second identity. The error says what to do."""
    assert "identities/{id}" in user_id_error(kind, user_id, rest).detail


@each_with_user_id
@pytest.mark.parametrize("user_id", USER_IDS.values(), ids=USER_IDS)
def test_any_other_user_id(kind: type[Request], rest: dict[str, object], user_id: str) -> None:
    """Any other text is a user id, and is kept as it is."""
    body: Any = decode_body(json.dumps({"userId": user_id, **rest}).encode(), kind)

    assert body.user_id == user_id


# Queries


@pytest.mark.parametrize(
    "user_id", [*NO_USER_IDS.values(), IDENTITY], ids=[*NO_USER_IDS, "identity"]
)
def test_query_for_an_older_user_id(user_id: str) -> None:
    """A look-up accepts user ids that can no longer be written: earlier versions wrote them."""
    query = decode_query(f"{URL}?{urlencode({'userId': user_id})}", ListIdentitiesQuery)

    assert query.user_id == user_id


def test_queries_of_the_lists() -> None:
    """A list of identities can be that of a user, a list of deleted ones those that are stuck."""
    one = decode_query(f"{URL}?userId=alice", ListIdentitiesQuery)
    other = decode_query(f"{URL}?stuck=true&maxPageSize=7", ListDeletedIdentitiesQuery)

    assert (one.user_id, one.after, one.max_page_size) == ("alice", None, 100)
    assert (other.stuck, other.max_page_size) == (True, 7)
    assert not decode_query(URL, ListDeletedIdentitiesQuery).stuck


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        (ListIdentitiesQuery, "userId", ""),
        (ListIdentitiesQuery, "userId", LONGEST + "x"),
        (ListIdentitiesQuery, "stuck", "true"),
        (ListDeletedIdentitiesQuery, "stuck", "yes"),
        (ListDeletedIdentitiesQuery, "stuck", ""),
        (ListDeletedIdentitiesQuery, "stuck", "1"),
        (ListDeletedIdentitiesQuery, "stuck", "0"),
        (ListDeletedIdentitiesQuery, "stuck", "True"),
        (ListDeletedIdentitiesQuery, "stuck", "FALSE"),
        (ListDeletedIdentitiesQuery, "userId", ""),
        (ListIdentitiesQuery, "state", "gone"),
    ],
)
def test_invalid_query(kind: type[Query], name: str, text: str) -> None:
    """An invalid query is refused, and the error names the parameter."""
    with pytest.raises(InvalidQuery) as caught:
        decode_query(f"{URL}?{urlencode({name: text})}", kind)

    assert caught.value.field == name


# Responses


def test_tokens() -> None:
    """The fields of a token are in camelCase, and its times in UTC."""
    token = {
        "token": "a.b.c",
        "expiresOn": "2030-01-02T12:00:00Z",
        "refreshAfter": "2030-01-02T11:50:00Z",
    }

    assert fields(TeamsTokenResponse.of(TOKEN)) == token
    for kind in (IssuedTokenResponse, IdentityWithTokenCreatedResponse):
        assert fields(kind.of(IDENTITY, TOKEN)) == {"id": IDENTITY, **token}


def test_identity() -> None:
    """An active identity has its user and the time of its creation, if they are known."""
    own = Identity(id=IDENTITY, state=State.ACTIVE, user_id="alice", created_on=EXPIRY)
    other = Identity(id=IDENTITY, state=State.ACTIVE, known_on=EXPIRY, etag="version-1")

    assert fields(IdentityResponse.of(own)) == {
        "id": IDENTITY,
        "state": "active",
        "userId": "alice",
        "createdOn": "2030-01-02T12:00:00Z",
    }
    assert fields(IdentityResponse.of(other)) == {
        "id": IDENTITY,
        "state": "active",
        "knownOn": "2030-01-02T12:00:00Z",
    }


def test_deleted_identity() -> None:
    """A deletion has both dates. A deleted identity also has its state and its failed attempts."""
    deletion = {
        "id": IDENTITY,
        "deletedOn": "2030-01-02T12:00:00Z",
        "scheduledPurgeOn": "2030-01-09T12:00:00Z",
        "deletedBy": "service",
    }
    failed = {
        "knownOn": "2030-01-02T12:00:00Z",
        "state": "deleted",
        "attempts": 1,
        "lastError": "throttled",
    }

    assert fields(DeletionResponse.of(DELETED)) == deletion
    assert fields(DeletedIdentityResponse.of(DELETED)) == {
        **deletion,
        "knownOn": "2030-01-02T12:00:00Z",
        "state": "deleted",
        "attempts": 0,
    }
    postponed = DELETED.postpone(EXPIRY, "throttled")
    assert fields(DeletedIdentityResponse.of(postponed)) == {**deletion, **failed}


MOMENT = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 -- hypothesis adds the zone


@given(MOMENT, MOMENT, MOMENT)
def test_times(created: datetime, deleted: datetime, now: datetime) -> None:
    """Every time in every response is RFC 3339 in whole seconds, in UTC, ending with Z."""
    row = Identity.create(IDENTITY, None, created).finish_creation()
    known = Identity.register(IDENTITY, None, created).finish_registration()
    gone = row.delete(min(deleted, DELETED_LAST), timedelta(days=90), Actor.USER)
    token = AccessToken.received("a.b.c", min(now, DELETED_LAST) + timedelta(days=1), now)
    responses: list[Response] = [
        IdentityResponse.of(row),
        IdentityResponse.of(known),
        DeletionResponse.of(gone),
        DeletedIdentityResponse.of(gone),
        IssuedTokenResponse.of(IDENTITY, token),
        IdentityWithTokenCreatedResponse.of(IDENTITY, token),
        TeamsTokenResponse.of(token),
    ]
    times = [
        body[field.encode_name]
        for response in responses
        for field in msgspec.structs.fields(response)
        if "datetime" in str(field.type) and getattr(response, field.name)
        if (body := msgspec.to_builtins(response))
    ]

    assert len(times) == 13
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", each) for each in times)


def test_statuses() -> None:
    """A response has the status 200, except these."""
    others = {
        kind.__name__: kind.http_status
        for kind in vars(schemas).values()
        if isinstance(kind, type) and issubclass(kind, Response) and kind.http_status != 200
    }

    assert others == {
        "IdentityCreatedResponse": 201,
        "IdentityRegisteredResponse": 201,
        "IdentityWithTokenCreatedResponse": 201,
        "TeamsAccessAssignedResponse": 201,
        "DeletionResponse": 202,
        "UnhealthyResponse": 503,
        "NotReadyResponse": 503,
    }
