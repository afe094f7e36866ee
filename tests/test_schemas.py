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

GUID = "11111111-2222-3333-4444-555555555555"
EXPIRY = datetime(2030, 1, 2, 12, tzinfo=UTC)
TOKEN = AccessToken("a.b.c", EXPIRY)
DELETED = Identity.adopt_deleted(IDENTITY, EXPIRY, timedelta(days=7))


def fields(response: Response) -> object:
    """The fields of the response's body."""
    return msgspec.json.decode(msgspec.json.encode(response))


# Requests


def test_new_identity() -> None:
    """A new identity may have a user."""
    assert decode_body(b"", CreateIdentityRequest).user is None
    assert decode_body(b'{"userId":"alice"}', CreateIdentityRequest).user == "alice"


def test_new_identity_with_token() -> None:
    """A new identity with a token has scopes, and may have a lifetime and a user."""
    raw = b'{"scopes":["voip"],"expiresInMinutes":90,"userId":"alice"}'

    full = decode_body(raw, CreateIdentityWithTokenRequest)
    short = decode_body(b'{"scopes":["chat"]}', CreateIdentityWithTokenRequest)

    assert (full.scopes, full.minutes, full.user) == (["voip"], 90, "alice")
    assert (short.scopes, short.minutes, short.user) == (["chat"], None, None)


def test_lifetime() -> None:
    """A lifetime is a whole number. Without one, the policy decides."""
    assert IssueTokenRequest(scopes=["chat"], expires_in_minutes=60.0).minutes == 60
    assert IssueTokenRequest(scopes=["chat"]).minutes is None


@pytest.mark.parametrize("raw", [b"", b"{}"])
def test_my_token_without_a_body(raw: bytes) -> None:
    """A signed-in user's request may omit everything."""
    body = decode_body(raw, IssueMyTokenRequest)

    assert (body, body.requested_scopes, body.minutes) == (IssueMyTokenRequest(), None, None)


def test_my_token() -> None:
    """A signed-in user may request scopes and a lifetime."""
    body = decode_body(b'{"scopes":["voip"],"expiresInMinutes":90}', IssueMyTokenRequest)

    assert (body.requested_scopes, body.minutes) == (["voip"], 90)


@pytest.mark.parametrize("length", [1, 256])
def test_length_of_a_user_id(length: int) -> None:
    """A user id has 1 to 256 characters."""
    user_id = "😀" * length

    assert decode_body(f'{{"userId":"{user_id}"}}'.encode(), CreateIdentityRequest).user == user_id


LONG = "x" * 257


@pytest.mark.parametrize(
    ("kind", "raw", "field"),
    [
        *((CreateIdentityRequest, raw, "userId") for raw in ('{"userId":""}', '{"userId":null}')),
        (CreateIdentityRequest, f'{{"userId":"{LONG}"}}', "userId"),
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


@pytest.mark.parametrize("guid", [GUID, GUID.replace("1", "a"), GUID.replace("1", "A")])
def test_teams_token(guid: str) -> None:
    """The app and the user are GUIDs in upper or lower case."""
    raw = f'{{"token":"t","appId":"{guid}","userId":"{guid}"}}'.encode()

    body = decode_body(raw, ExchangeTeamsTokenRequest)

    assert (body.token, body.app_id, body.user_id) == ("t", guid, guid)


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
        (ListIdentitiesQuery, "userId", LONG),
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


@pytest.mark.parametrize("kind", [IssuedTokenResponse, IdentityWithTokenCreatedResponse])
def test_issued_token(kind: type[IssuedTokenResponse]) -> None:
    """The fields of an issued token are in camelCase, and its times in UTC."""
    assert fields(kind.of(IDENTITY, TOKEN)) == {
        "id": IDENTITY,
        "token": "a.b.c",
        "expiresOn": "2030-01-02T12:00:00Z",
        "refreshAfter": "2030-01-02T11:50:00Z",
    }


def test_exchanged_teams_token() -> None:
    """A Teams user's token has the same fields, but no id."""
    assert fields(TeamsTokenResponse.of(TOKEN)) == {
        "token": "a.b.c",
        "expiresOn": "2030-01-02T12:00:00Z",
        "refreshAfter": "2030-01-02T11:50:00Z",
    }


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


def test_deletion() -> None:
    """A deletion has the time of the deletion and the time of the purge."""
    assert fields(DeletionResponse.of(DELETED)) == {
        "id": IDENTITY,
        "deletedOn": "2030-01-02T12:00:00Z",
        "scheduledPurgeOn": "2030-01-09T12:00:00Z",
    }


def test_deleted_identity() -> None:
    """A deleted identity has its state, its dates, its attempts, and its last error if any."""
    failed = DELETED.postpone(EXPIRY, "throttled")

    assert fields(DeletedIdentityResponse.of(DELETED)) == {
        "id": IDENTITY,
        "state": "deleted",
        "deletedOn": "2030-01-02T12:00:00Z",
        "scheduledPurgeOn": "2030-01-09T12:00:00Z",
        "attempts": 0,
    }
    assert DeletedIdentityResponse.of(failed).last_error == "throttled"
    assert DeletedIdentityResponse.of(failed).attempts == 1


STATUSES = {
    "IdentityCreatedResponse": 201,
    "IdentityWithTokenCreatedResponse": 201,
    "DeletionResponse": 202,
    "UnhealthyResponse": 503,
    "NotReadyResponse": 503,
}


def test_statuses() -> None:
    """A response has the status 200, except these."""
    others = {
        kind.__name__: kind.http_status
        for kind in vars(schemas).values()
        if isinstance(kind, type) and issubclass(kind, Response) and kind.http_status != 200
    }

    assert others == STATUSES
