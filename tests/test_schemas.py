"""Requests accept what they document, and responses have their documented form."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from identity_service import schemas
from identity_service.errors import InvalidBody, InvalidQuery
from identity_service.http.decoding import decode_body, decode_query
from identity_service.identity import Identity, State
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
from tests.support.acs_transport import IDENTITY

GUID = "aaaaaaaa-2222-3333-4444-555555555555"
LONGEST = "😀" * 256
EXPIRY = datetime(2030, 1, 2, 12, tzinfo=UTC)
TOKEN = AccessToken("a.b.c", EXPIRY)
DELETED = Identity.adopt_deleted(IDENTITY, EXPIRY, timedelta(days=7))


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
    assert IssueTokenRequest(scopes=["chat"]).minutes is None
    assert CreateIdentityRequest().user is None
    assert (IssueMyTokenRequest().requested_scopes, IssueMyTokenRequest().minutes) == (None, None)


@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    [
        *((CreateIdentityRequest, raw, "userId") for raw in ('{"userId":""}', '{"userId":null}')),
        (CreateIdentityRequest, f'{{"userId":"{LONGEST}x"}}', "userId"),
        (CreateIdentityRequest, '{"scopes":["chat"]}', "scopes"),
        (CreateIdentityWithTokenRequest, '{"scopes":["chat"],"userId":""}', "userId"),
        (CreateIdentityWithTokenRequest, '{"scopes":["chat","chat"]}', "scopes"),
        (CreateIdentityWithTokenRequest, "{}", "scopes"),
        (IssueTokenRequest, '{"scopes":["chat"],"userId":"bob"}', "userId"),
        (IssueMyTokenRequest, '{"scopes":[]}', "scopes"),
        (IssueMyTokenRequest, '{"scopes":["chat","chat"]}', "scopes"),
        (IssueMyTokenRequest, '{"scopes":["spam"]}', "scopes"),
        (IssueMyTokenRequest, '{"scopes":null}', "scopes"),
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


# Queries


def test_queries_of_the_lists() -> None:
    """A list of identities can be that of a user, a list of deleted ones those that are stuck."""
    one = decode_query({"userId": "alice"}, ListIdentitiesQuery)
    other = decode_query({"stuck": "true", "maxPageSize": "7"}, ListDeletedIdentitiesQuery)

    assert (one.user_id, one.after, one.size) == ("alice", None, 100)
    assert (other.stuck, other.size) == (True, 7)
    assert not decode_query({}, ListDeletedIdentitiesQuery).stuck


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        (ListIdentitiesQuery, "userId", ""),
        (ListIdentitiesQuery, "userId", LONGEST + "x"),
        (ListIdentitiesQuery, "stuck", "true"),
        (ListDeletedIdentitiesQuery, "stuck", "yes"),
        (ListDeletedIdentitiesQuery, "userId", "alice"),
    ],
)
def test_invalid_query(kind: type[Query], name: str, text: str) -> None:
    """An invalid query is refused, and the error names the parameter."""
    with pytest.raises(InvalidQuery) as caught:
        decode_query({name: text}, kind)

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
    other = Identity(id=IDENTITY, state=State.ACTIVE, etag="version-1", adopted=True)

    assert fields(IdentityResponse.of(own)) == {
        "id": IDENTITY,
        "userId": "alice",
        "createdOn": "2030-01-02T12:00:00Z",
    }
    assert fields(IdentityResponse.of(other)) == {"id": IDENTITY}


def test_deleted_identity() -> None:
    """A deletion has both dates. A deleted identity also has its state and its failed attempts."""
    deletion = {
        "id": IDENTITY,
        "deletedOn": "2030-01-02T12:00:00Z",
        "scheduledPurgeOn": "2030-01-09T12:00:00Z",
    }
    failed = {"state": "deleted", "attempts": 1, "lastError": "throttled"}

    assert fields(DeletionResponse.of(DELETED)) == deletion
    assert fields(DeletedIdentityResponse.of(DELETED)) == {
        **deletion,
        "state": "deleted",
        "attempts": 0,
    }
    postponed = DELETED.postpone(EXPIRY, "throttled")
    assert fields(DeletedIdentityResponse.of(postponed)) == {**deletion, **failed}


def test_statuses() -> None:
    """A response has the status 200, except these."""
    others = {
        kind.__name__: kind.http_status
        for kind in vars(schemas).values()
        if isinstance(kind, type) and issubclass(kind, Response) and kind.http_status != 200
    }

    assert others == {
        "IdentityCreatedResponse": 201,
        "IdentityWithTokenCreatedResponse": 201,
        "DeletionResponse": 202,
        "UnhealthyResponse": 503,
        "NotReadyResponse": 503,
    }
