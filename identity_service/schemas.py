"""Every request and response of the HTTP API. openapi.json is generated from these types."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Generic, Literal, Self, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import fields

from identity_service.errors import InvalidBody, InvalidGuid, ServiceError
from identity_service.identity import ID_PATTERN, Actor, Identity, State
from identity_service.policies import SCOPES, AccessToken, Scope
from identity_service.teams_access import Access, AccessState, Assignment, PrincipalType

T = TypeVar("T")

# Where the problems are documented, unless the settings name another page.
PROBLEMS = "/docs/problems.md"

# Fields

# The id of an identity, also in upper case, in quotation marks or percent-encoded.
_COLON = "(:|%(25)*3[Aa])"
_IDENTITY_ID = f"[\"'<]?8{_COLON}(([Gg][Cc][Cc][Hh]|[Dd][Oo][Dd])-)?[Aa][Cc][Ss]{_COLON}"
_CONTROL = r"\x00-\x1f\x7f-\x9f"
# With marks that nobody sees: copied text often has them at its ends.
_BLANK = r"\s\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
# The same in Python and in JavaScript.
_USER_ID = rf"^(?!{_IDENTITY_ID})[^{_BLANK}{_CONTROL}]([^{_CONTROL}]*[^{_BLANK}{_CONTROL}])?$"

LONGEST_USER_ID = 256

IdentityId = Annotated[
    str,
    Meta(
        pattern=f"^{ID_PATTERN}$",
        description="the id of an ACS identity",
        examples=[
            "8:acs:88398e01-af2b-4529-9e83-7b0c125f193b_1111eec0-0a88-4468-91ae-97583c317246"
        ],
    ),
]
UserId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_USER_ID,
        description="a string of 1 to 256 characters",
        examples=["alice@example.com"],
    ),
]
# Look-ups accept other user ids, too: earlier versions wrote them.
NewUserId = Annotated[
    UserId,
    Meta(
        description=(
            "a string of 1 to 256 characters, no control characters, no white space at either end"
        ),
        extra_json_schema={"pattern": _USER_ID},
    ),
]
Scopes = Annotated[
    list[Scope],
    Meta(
        min_length=1,
        max_length=5,
        description="1 to 5 of chat, chat.join, chat.join.limited, voip and voip.join, each once",
        examples=[["chat", "voip"]],
        extra_json_schema={"uniqueItems": True},
    ),
]
# A float, because JSON does not distinguish 60 from 60.0. `multiple_of` requires a whole number.
Minutes = Annotated[
    float,
    Meta(
        ge=60,
        le=1440,
        multiple_of=1,
        description="a whole number of minutes from 60 to 1440",
        examples=[60],
    ),
]
_GUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
Guid = Annotated[
    str,
    Meta(
        pattern=_GUID,
        max_length=36,
        description="a GUID",
        examples=["3fa85f64-5717-4562-b3fc-2c963f66afa6"],
    ),
]
TenantId = Annotated[Guid, Meta(description="the GUID of an Entra tenant")]
ObjectId = Annotated[
    Guid, Meta(description="the GUID of a user or of a resource account in that tenant")
]
# A client application is registered once for all its users, so an assignment names few of them.
# With 20, a page of 1,000 stays below 1 MB. ACS documents no limit.
MOST_CLIENTS = 20
ClientIds = Annotated[
    list[Guid],
    Meta(
        max_length=MOST_CLIENTS,
        description=f"up to {MOST_CLIENTS} GUIDs of Entra applications, each once; for a user, one"
        " at least",
        extra_json_schema={"uniqueItems": True},
    ),
]
Principal = Annotated[
    PrincipalType,
    Meta(description=f"one of {', '.join(get_args(PrincipalType))}"),
]
# Whole seconds: `_seconds` cuts off what the registry has beyond that.
Instant = Annotated[datetime, Meta(tz=True, examples=["2030-01-01T12:00:00Z"])]
# The operation explains white space in it: see `tokens.exchange_teams_token`.
EntraToken = Annotated[str, Meta(min_length=1, extra_json_schema={"pattern": r"^\S+$"})]
AcsToken = Annotated[
    str, Meta(description="an ACS access token: hand it to the client", examples=["eyJhbGciOi…"])
]
ANY_STATE = "any"
# One list of everything: during a walk over a list for each state, an identity could change from a
# state that is still to come to one that has been listed, and be missed.
StateFilter = Literal[
    "creating", "registering", "active", "suspended", "deleted", "purging", "unknown", "any"
]
_STATES = f"one of {', '.join(get_args(StateFilter))}"
AccessStateFilter = Literal["assigning", "assigned", "removing", "removed", "unknown", "any"]
_ACCESS_STATES = f"one of {', '.join(get_args(AccessStateFilter))}"
LATEST_YEAR = 9998
_TOO_LATE = datetime(LATEST_YEAR + 1, 1, 1, tzinfo=UTC)
_INSTANT = "an RFC 3339 time with its offset from UTC, such as 2030-01-01T12:00:00Z"
UriReference = Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})]


# Requests


class Request(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of a request. Unknown fields are refused, because they are usually typing errors.

    Attributes:
        body_limit: The most bytes that it may have. The largest request of most operations contains
            an Entra token of a few KiB.
    """

    body_limit: ClassVar[int] = 16 * 1024


class CreateIdentityRequest(Request):
    """The user that the identity is for, if any."""

    user_id: NewUserId | None = None

    def __post_init__(self) -> None:
        check_user_id(self.user_id)


class RegisterIdentityRequest(CreateIdentityRequest):
    """The user that the identity belongs to, if any."""


class ImportRecordRequest(Request):
    """An identity that was created elsewhere, and its user, if any."""

    # The operation checks the id and the user id: one invalid record must not refuse the others.
    id: Annotated[str, Meta(description="the id of an ACS identity")]
    user_id: Annotated[str, Meta(description="1 to 256 characters, or absent")] | None = None


class ImportIdentitiesRequest(Request):
    """The identities to register."""

    # Every user id may have 256 characters, and each character up to 12 bytes in JSON.
    body_limit: ClassVar[int] = 512 * 1024

    identities: Annotated[
        list[ImportRecordRequest],
        Meta(min_length=1, max_length=100, description="1 to 100 records"),
    ]


class IssueTokenRequest(Request):
    """The scopes and the lifetime of the token."""

    scopes: Scopes
    expires_in_minutes: Minutes | None = None

    def __post_init__(self) -> None:
        _check_scopes(self.scopes)


class CreateIdentityWithTokenRequest(IssueTokenRequest):
    """The scopes and the lifetime of the first token, and the user, if any."""

    user_id: NewUserId | None = None

    def __post_init__(self) -> None:
        _check_scopes(self.scopes)
        check_user_id(self.user_id)


class IssueMyTokenRequest(Request):
    """The scopes and the lifetime of the token. The policy decides what the request omits."""

    scopes: Scopes | None = None
    expires_in_minutes: Minutes | None = None

    def __post_init__(self) -> None:
        if self.scopes is not None:
            _check_scopes(self.scopes)


class ExchangeTeamsTokenRequest(Request):
    """The Entra token, and the app and the user that it was issued for."""

    token: Annotated[EntraToken, Meta(description="the Teams user's Entra access token")]
    app_id: Guid
    user_id: Guid


class ExchangeMyTeamsTokenRequest(Request):
    """The Entra token. The app and the user are not the caller's choice."""

    token: Annotated[EntraToken, Meta(description="your own Entra access token")]


class AssignTeamsAccessRequest(Request):
    """Whom the object id names, and what they may use until when.

    Attributes:
        principal_type: What the object is. Microsoft's articles call a resource account
            `teamsResourceAccount`, its specification `resourceAccount`: ACS gets what you send.
        client_ids: The applications with which a user may use the ACS resource. A resource account
            needs none.
        expires_on: When the access ends. Without it, it does not end by itself.
    """

    principal_type: Principal
    client_ids: ClientIds | None = None
    expires_on: Annotated[Instant, Meta(description=_INSTANT)] | None = None

    def __post_init__(self) -> None:
        if self.principal_type == "user" and not self.client_ids:
            raise InvalidBody(
                "clientIds names no application: a user has access with certain ones only.",
                field="clientIds",
                allowed=f"1 to {MOST_CLIENTS} GUIDs of Entra applications",
            )
        if len(set(self.assignment.client_ids)) < len(self.assignment.client_ids):
            raise InvalidBody(
                "clientIds has the same GUID twice.", field="clientIds", allowed="each GUID once"
            )

    @property
    def assignment(self) -> Assignment:
        """What ACS is to hold."""
        clients = tuple(one.lower() for one in self.client_ids or ())
        return Assignment(self.principal_type, clients)


class ImportTeamsAccessRecordRequest(Request):
    """An assignment that was made elsewhere, and when its access ends."""

    # The operation checks all of them: one invalid record must not refuse the others.
    tenant_id: Annotated[str, Meta(description="the GUID of an Entra tenant")]
    object_id: Annotated[
        str, Meta(description="the GUID of a user or of a resource account in that tenant")
    ]
    expires_on: Annotated[str, Meta(description=_INSTANT)] | None = None


class ImportTeamsAccessRequest(Request):
    """The assignments to take over, as ACS has them."""

    body_limit: ClassVar[int] = ImportIdentitiesRequest.body_limit

    access: Annotated[
        list[ImportTeamsAccessRecordRequest],
        Meta(min_length=1, max_length=100, description="1 to 100 records"),
    ]


def checked_guid(text: str, field: str) -> str:
    """Return the GUID in lower case.

    Raises:
        InvalidGuid: it is none. Other text must not reach ACS: the URL would be another one.
    """
    if not re.fullmatch(_GUID, text):
        raise InvalidGuid(f"{field} is not a GUID.", field=field, allowed="a GUID")
    return text.lower()


def future(moment: datetime | None, now: datetime) -> datetime | None:
    """Return when access ends, in UTC and whole seconds.

    Raises:
        InvalidBody: this is not in the future, or so late that no time comes after it.
    """
    if moment is None:
        return None
    if moment <= now or moment >= _TOO_LATE:
        raise InvalidBody(
            "expiresOn is not in the future. To end access now, remove it."
            if moment <= now
            else "expiresOn is too late. Leave it out if the access does not end by itself.",
            field="expiresOn",
            allowed=f"a time in the future, in the year {LATEST_YEAR} at the latest",
        )
    return moment.astimezone(UTC).replace(microsecond=0)


def parsed_instant(text: str | None) -> datetime | None:
    """Return the time of a record.

    Raises:
        InvalidBody: it is none.
    """
    if text is None:
        return None
    try:
        return msgspec.convert(text, Instant)
    except msgspec.ValidationError as error:
        raise InvalidBody(
            f"expiresOn must be {_INSTANT}.", field="expiresOn", allowed=_INSTANT
        ) from error


def check_user_id(user_id: str | None) -> None:
    """Refuse what is certainly not a user id, before it gets an identity of its own."""
    if user_id is None:
        return
    if re.match(_IDENTITY_ID, user_id):
        raise InvalidBody(
            "userId is the id of an identity, not of a user. For an existing identity, call"
            " identities/{id}/tokens.",
            field="userId",
            allowed="the id of a user in your own system",
        )
    # fullmatch, because `$` also matches before a line end.
    if len(user_id) > LONGEST_USER_ID or not re.fullmatch(_USER_ID, user_id):
        raise InvalidBody(
            "userId must not begin or end with white space or an invisible mark, and must have 1 to"
            " 256 characters, none of them a control character.",
            field="userId",
            allowed="1 to 256 characters, compared byte by byte",
        )


def _check_scopes(scopes: list[Scope]) -> None:
    if problem := scopes_problem(scopes):
        raise InvalidBody(problem, field="scopes", allowed="each scope once")


def scopes_problem(value: object) -> str:
    """What is wrong with the scopes of a request. Empty if nothing is."""
    if not isinstance(value, list):
        example = f'["{value}"]' if value in SCOPES else '["chat", "voip"]'
        return f"scopes must be an array, such as {example}."
    if not 1 <= len(value) <= len(SCOPES):
        return f"scopes must have 1 to {len(SCOPES)} elements, not {len(value)}."
    for number, element in enumerate(value):
        if problem := _scope_problem(element, value[:number]):
            return f"scopes[{number}] {problem}."
    return ""


def _scope_problem(element: object, before: list[object]) -> str:
    if not isinstance(element, str):
        return "must be a string"
    if element in SCOPES:
        return "repeats an earlier scope" if element in before else ""
    if "," in element or len(element.split()) > 1:
        return "has a comma or white space: send each scope as an element of its own"
    meant = element.strip().lower()
    if meant in SCOPES and element.strip() == meant:
        return f"has white space: send {meant}"
    if meant in SCOPES:
        return f"must be in lower case: send {meant}"
    return "is not a scope"


# Queries


class Query(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The query string of a request."""


class UnregisterIdentityQuery(Query):
    """Which user the identity must belong to, if any is given."""

    user_id: UserId | UnsetType = UNSET

    @property
    def expected_user(self) -> str | None:
        """The user, or None."""
        return None if self.user_id is UNSET else self.user_id


class ListQuery(Query):
    """The query string of a list."""

    continuation: (
        Annotated[str, Meta(min_length=1, description="the value from a nextLink, unchanged")]
        | UnsetType
    ) = UNSET
    max_page_size: Annotated[
        int, Meta(ge=1, le=1000, description="a whole number from 1 to 1000")
    ] = 100

    @property
    def after(self) -> str | None:
        """Where the page starts. None for the first page."""
        return None if self.continuation is UNSET else self.continuation


class ListIdentitiesQuery(ListQuery):
    """Which identities.

    Attributes:
        user_id: The user's identity in any state, or in `state`.
        state: Only identities in this state. Without it, and without `userId`, active and suspended
            ones.
    """

    user_id: UserId | UnsetType = UNSET
    state: Annotated[StateFilter, Meta(description=_STATES)] | UnsetType = UNSET

    @property
    def states(self) -> tuple[State, ...]:
        """The states of the identities to list."""
        if self.state == ANY_STATE or (self.state is UNSET and self.user_id is not UNSET):
            return tuple(State)
        if self.state is UNSET:
            return (State.ACTIVE, State.SUSPENDED)
        return (State(self.state),)


class ListDeletedIdentitiesQuery(ListQuery):
    """Which deleted identities.

    Attributes:
        user_id: Only that user's.
        deleted_by: Only those that a user, or a service, has deleted.
        stuck: Whether to list only those that the sweep is stuck with.
    """

    user_id: UserId | UnsetType = UNSET
    deleted_by: (
        Annotated[Literal["user", "service"], Meta(description="user or service")] | UnsetType
    ) = UNSET
    stuck: Annotated[bool, Meta(description="true or false")] = False


class GetTeamsAccessQuery(Query):
    """Whether to ask ACS as well."""

    verify: Annotated[bool, Meta(description="true or false")] = False


class ListTeamsAccessQuery(ListQuery):
    """Which Teams Phone access.

    Attributes:
        tenant_id: Only in this Entra tenant.
        state: Only in this state. Without it, what is assigned or being assigned.
    """

    tenant_id: TenantId | UnsetType = UNSET
    state: Annotated[AccessStateFilter, Meta(description=_ACCESS_STATES)] | UnsetType = UNSET

    @property
    def tenant(self) -> str | None:
        """The tenant, or None for all."""
        return None if self.tenant_id is UNSET else self.tenant_id.lower()

    @property
    def states(self) -> tuple[AccessState, ...]:
        """The states of the access to list."""
        if self.state == ANY_STATE:
            return tuple(AccessState)
        if self.state is UNSET:
            return (AccessState.ASSIGNING, AccessState.ASSIGNED)
        return (AccessState(self.state),)


# Responses


class Response(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The body of a successful response.

    Attributes:
        location: Where what has been created is found, below the prefix of the routes.
    """

    http_status: ClassVar[int] = 200
    location: ClassVar[str] = "identities/{id}"


def _seconds(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=0) if moment else None


class IdentityFoundResponse(Response):
    """The identity that the user already has."""

    id: IdentityId


class IdentityCreatedResponse(IdentityFoundResponse):
    """The new identity."""

    http_status: ClassVar[int] = 201


class IdentityResponse(Response):
    """An identity.

    Attributes:
        created_on: When this service created it. Absent if it was created elsewhere.
        known_on: For an identity that was created elsewhere: when this service first recorded it.
        suspended_on: When it was suspended. A deletion and a restore keep it.
        deleted_by: Who has deleted it. Absent if it is not deleted.
    """

    id: IdentityId
    state: State
    user_id: UserId | None = None
    created_on: Instant | None = None
    known_on: Instant | None = None
    suspended_on: Instant | None = None
    deleted_by: Actor | None = None

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """The response for this identity."""
        return cls(
            id=identity.id,
            state=identity.state,
            user_id=identity.user_id,
            created_on=_seconds(identity.created_on),
            known_on=_seconds(identity.known_on),
            suspended_on=_seconds(identity.suspended_on),
            deleted_by=identity.deleter if identity.state is State.DELETED else None,
        )


class IdentityRegisteredResponse(IdentityResponse):
    """The identity is registered now."""

    http_status: ClassVar[int] = 201


class ImportResult(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The result of one record.

    Attributes:
        id: As in the request.
        result: `registered`, `unchanged`, `not_attempted` if the time was up, or a problem code.
        detail: What is wrong, for a problem code.
        field: The field that is wrong.
        identity_id: The other identity of the user, or the deleted one.
    """

    id: str
    result: str
    detail: str | None = None
    field: str | None = None
    identity_id: IdentityId | None = None

    @classmethod
    def refused(cls, identity_id: str, error: ServiceError) -> Self:
        """The result of a record that was not registered."""
        return cls(
            id=identity_id,
            result=error.code,
            detail=error.detail,
            field=error.field,
            identity_id=error.identity_id,
        )


class ImportResponse(Response):
    """One result for each record, in the same order."""

    results: list[ImportResult]


class DeletedIdentityResponse(Response):
    """A deleted identity: it can be restored, or its purge has started.

    Attributes:
        created_on: When this service created it. Absent if it was created elsewhere.
        suspended_on: When it was suspended before. A restore then makes it suspended again.
        deleted_by: Who has deleted it. A user cannot restore what a service has deleted. Absent if
            nobody has: a creation that was interrupted is being purged.
        attempts: How often in a row the sweep has failed.
        last_error: The problem code of the last failure.
    """

    id: IdentityId
    state: Annotated[State, Meta(extra_json_schema={"enum": [State.DELETED, State.PURGING]})]
    user_id: UserId | None = None
    created_on: Instant | None = None
    known_on: Instant | None = None
    deleted_on: Instant | None = None
    scheduled_purge_on: Instant | None = None
    deleted_by: Actor | None = None
    suspended_on: Instant | None = None
    attempts: int | None = None
    last_error: str | None = None

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """The response for this identity."""
        return cls(
            id=identity.id,
            state=identity.state,
            user_id=identity.user_id,
            created_on=_seconds(identity.created_on),
            known_on=_seconds(identity.known_on),
            deleted_on=_seconds(identity.deleted_on),
            scheduled_purge_on=_seconds(identity.scheduled_purge_on),
            deleted_by=identity.deleter if identity.deleted_on else None,
            suspended_on=_seconds(identity.suspended_on),
            attempts=identity.attempts,
            last_error=identity.last_error,
        )


class DeletionResponse(Response):
    """The identity is deleted: it gets no more tokens, and its existing tokens are revoked."""

    http_status: ClassVar[int] = 202

    id: IdentityId
    deleted_on: Instant
    scheduled_purge_on: Instant
    deleted_by: Actor

    @classmethod
    def of(cls, identity: Identity) -> Self:
        """The response for this deleted identity."""
        deleted_on, purge_on = _seconds(identity.deleted_on), _seconds(identity.scheduled_purge_on)
        assert deleted_on  # noqa: S101 -- Identity.delete sets both dates
        assert purge_on  # noqa: S101 -- the same
        return cls(
            id=identity.id,
            deleted_on=deleted_on,
            scheduled_purge_on=purge_on,
            deleted_by=identity.deleter,
        )


class IssuedTokenResponse(Response):
    """An access token for an identity.

    Attributes:
        refresh_after: The time from which to request the next token.
    """

    id: IdentityId
    token: AcsToken
    expires_on: Instant
    refresh_after: Instant

    @classmethod
    def of(cls, identity_id: str, token: AccessToken) -> Self:
        """The response that returns this token of this identity."""
        return cls(
            id=identity_id,
            token=token.token,
            expires_on=token.expires_on,
            refresh_after=token.refresh_after,
        )


class IdentityWithTokenCreatedResponse(IssuedTokenResponse):
    """The new identity and its first token."""

    http_status: ClassVar[int] = 201


class TeamsTokenResponse(Response):
    """An access token that acts as the Teams user.

    Attributes:
        refresh_after: The time from which to request the next token.
    """

    token: AcsToken
    expires_on: Instant
    refresh_after: Instant

    @classmethod
    def of(cls, token: AccessToken) -> Self:
        """The response that returns this token."""
        return cls(
            token=token.token, expires_on=token.expires_on, refresh_after=token.refresh_after
        )


class AcsAssignment(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """What ACS has.

    Attributes:
        matches: Whether it is what the registry says.
        principal_type: Absent if ACS has no assignment.
        client_ids: Absent if ACS has no assignment.
    """

    matches: bool
    principal_type: Principal | None = None
    client_ids: list[Guid] | None = None


class TeamsAccessResponse(Response):
    """The access of a Teams user, or of a resource account, to the ACS resource.

    Attributes:
        principal_type: Absent if only its removal is known.
        client_ids: The applications with which a user may use the resource.
        expires_on: When it ends. Absent if it does not end by itself.
        changed_on: When it was last assigned or removed.
        attempts: How often in a row the sweep has failed.
        last_error: The problem code of the last failure.
        acs: What ACS has. Only with `verify`.
    """

    tenant_id: TenantId
    object_id: ObjectId
    state: AccessState
    principal_type: Principal | None = None
    client_ids: list[Guid] | None = None
    created_on: Instant | None = None
    changed_on: Instant | None = None
    expires_on: Instant | None = None
    attempts: int | None = None
    last_error: str | None = None
    acs: AcsAssignment | None = None

    @classmethod
    def of(cls, access: Access, acs: AcsAssignment | None = None) -> Self:
        """The response for this access."""
        return cls(
            tenant_id=access.tenant_id,
            object_id=access.object_id,
            state=access.state,
            principal_type=access.principal_type,
            client_ids=list(access.client_ids),
            expires_on=_seconds(access.expires_on),
            created_on=_seconds(access.created_on),
            changed_on=_seconds(access.changed_on),
            attempts=access.attempts,
            last_error=access.last_error,
            acs=acs,
        )

    @classmethod
    def verified(cls, access: Access, found: Assignment | None) -> Self:
        """The response with what ACS has."""
        if found is None:
            return cls.of(access, AcsAssignment(matches=False))
        acs = AcsAssignment(
            matches=found.same_as(access.assignment),
            principal_type=found.principal_type,
            client_ids=list(found.client_ids),
        )
        return cls.of(access, acs)


class TeamsAccessAssignedResponse(TeamsAccessResponse):
    """They did not have access before."""

    http_status: ClassVar[int] = 201
    location: ClassVar[str] = "teams/access/{tenant_id}/{object_id}"


class TeamsAccessImportResult(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The result of one record.

    Attributes:
        tenant_id: As in the request.
        object_id: As in the request.
        result: `imported`, `unchanged`, `not_attempted` if the time was up, or a problem code.
        detail: What is wrong, for a problem code.
        field: The field that is wrong.
    """

    tenant_id: str
    object_id: str
    result: str
    detail: str | None = None
    field: str | None = None


class TeamsAccessImportResponse(Response):
    """One result for each record, in the same order."""

    results: list[TeamsAccessImportResult]


class PageResponse(Struct, Generic[T], kw_only=True, rename="camel", omit_defaults=True):
    """A page of a list. It can be short or empty even if more pages follow.

    Attributes:
        next_link: The URL of the next page. Absent on the last page.
    """

    value: list[T]
    next_link: UriReference | None = None


class HealthResponse(Response):
    """Whether the app has valid settings. This is public, so it reveals nothing else."""

    status: Literal["ok", "not_configured"]


class UnhealthyResponse(HealthResponse):
    """The app has invalid settings."""

    http_status: ClassVar[int] = 503


class Check(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The result of asking one upstream.

    Attributes:
        status: `ok`, `too_slow`, or a problem code.
        kind: How it failed: `dns`, `connect`, `tls`, `proxy`, `timeout`, `status` for an unexpected
            response or a refusal, or `credential` if this service got no token of its own.
        latency_ms: How long it took, in milliseconds.
        oldest_overdue_seconds: How long the oldest due entry has been waiting for the sweep.
        held_purges: How many purges are on hold although their date has passed; 10000 means 10,000
            or more. Absent if purges are not on hold.
    """

    status: str
    latency_ms: int
    kind: str | None = None
    oldest_overdue_seconds: int | None = None
    held_purges: int | None = None


SweepStatus = Literal["ok", "missed", "unfinished", "waiting"]


class SweepCheck(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """Whether the sweep runs on its schedule.

    Attributes:
        status: `ok`; `missed` if two runs in a row have not started; `unfinished` if sweeps start,
            but none of the last two got to its end; `waiting` if there was none yet, and it is too
            early to expect one.
        last_started_seconds: How long ago a sweep started. Absent if none ever has.
        last_completed_seconds: How long ago a sweep got to its end. Absent if none ever has.
    """

    status: SweepStatus
    last_started_seconds: int | None = None
    last_completed_seconds: int | None = None


class ReadyResponse(Response):
    """ACS and the registry respond.

    Attributes:
        sweep: Absent if the registry does not respond.
    """

    acs: Check
    registry: Check
    sweep: SweepCheck | None = None


class NotReadyResponse(ReadyResponse):
    """ACS or the registry does not respond."""

    http_status: ClassVar[int] = 503
    code: ClassVar[str] = "not_ready"


class Problem(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """An error, as defined by RFC 9457.

    Attributes:
        type: Where the problem is documented: its cause, its fix, and whether to retry.
        title: What is wrong. Always the same for the same code.
        status: The HTTP status.
        code: What is wrong, for programs.
        detail: What is wrong with this request.
        field: The field of the body, or the part of the URL, that is wrong.
        allowed: The values that the field accepts.
        identity_id: The identity that is in the way.
        deleted_by: Who has deleted it. Only a service can restore what a service has deleted.
        upstream_request_id: The id that identifies the call to Microsoft's support.
    """

    type: UriReference
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    allowed: str | None = None
    identity_id: IdentityId | None = None
    deleted_by: Actor | None = None
    upstream_request_id: str | None = None


def _with_subclasses(kind: type[Struct]) -> Iterator[type[Struct]]:
    yield kind
    for subclass in kind.__subclasses__():
        yield from _with_subclasses(subclass)


# The names of everything that requests can have: the ids in the URL, and the fields of bodies and
# queries.
FIELDS = {"id", "tenantId", "objectId"} | {
    field.encode_name
    for base in (Request, Query)
    for kind in _with_subclasses(base)
    for field in fields(kind)
}
