"""The wire contract: operations, api-versions, and the shapes of requests and responses.

Source: the specification "Communication Identity" in Azure's public REST API specifications.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeVar
from uuid import UUID

import msgspec

from local.acs import errors

VERSIONS = (
    "2021-03-07",
    "2022-06-01",
    "2022-10-01",
    "2023-10-01",
    "2025-06-30",
    "2026-07-22",
    "2026-09-23",
)
# Only previews have the exchange of an Entra user's token. Client SDKs use these two.
ENTRA_VERSIONS = ("2024-04-01-preview", "2025-03-02-preview")
# Versions are dates: string comparison orders them by age.
TEAMS_SINCE = "2022-06-01"
TEAMS_EXTENSION_SINCE = "2025-06-30"
LIFETIME_SINCE = "2022-10-01"
JOIN_SCOPES_SINCE = "2023-10-01"

SCOPES = ("chat", "voip")
JOIN_SCOPES = ("chat.join", "chat.join.limited", "voip.join")

# The articles write the last one, the specification the second.
PRINCIPAL_TYPES = ("user", "resourceAccount", "teamsResourceAccount")

MIN_MINUTES = 60
MAX_MINUTES = 1440


class Operation(StrEnum):
    """The operations of the service."""

    CREATE = "create"
    ISSUE = "issue"
    REVOKE = "revoke"
    DELETE = "delete"
    EXCHANGE = "exchange"
    EXCHANGE_ENTRA = "exchangeEntra"
    EXCHANGE_TEAMS_EXTENSION = "exchangeTeamsExtension"
    PUT_ASSIGNMENT = "putAssignment"
    GET_ASSIGNMENT = "getAssignment"
    DELETE_ASSIGNMENT = "deleteAssignment"


_SINCE = {
    Operation.EXCHANGE: TEAMS_SINCE,
    Operation.EXCHANGE_TEAMS_EXTENSION: TEAMS_EXTENSION_SINCE,
    Operation.PUT_ASSIGNMENT: TEAMS_EXTENSION_SINCE,
    Operation.GET_ASSIGNMENT: TEAMS_EXTENSION_SINCE,
    Operation.DELETE_ASSIGNMENT: TEAMS_EXTENSION_SINCE,
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as received.

    `target` is the raw request target with its percent-encoding, because signatures cover it.
    `headers` is case-insensitive. The ids are decoded path segments, if the path has them.
    """

    operation: Operation
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    api_version: str | None
    identity_id: str = ""
    tenant_id: str = ""
    object_id: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One response, without the headers that all responses have."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def success(cls, status: int, value: Mapping[str, Any]) -> Self:
        """A JSON response, with the Content-Type of recorded successes."""
        content_type = "application/json; charset=utf-8"
        return cls(status, msgspec.json.encode(value), {"Content-Type": content_type})

    @classmethod
    def error(
        cls, status: int, error: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Self:
        """An error response. Recorded errors have a Content-Type without a charset."""
        content = msgspec.json.encode({"error": error})
        return cls(status, content, {"Content-Type": "application/json", **(headers or {})})


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The requested access token. `scopes` is empty if no token is requested."""

    scopes: tuple[str, ...]
    minutes: int


class ExchangeRequest(msgspec.Struct, frozen=True, rename="camel"):
    """A Teams user's Entra token, with the application and the user it was issued for."""

    token: str | None = None
    app_id: str | None = None
    user_id: str | None = None


class AssignmentRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What an assignment shall be. `client_ids` is None if the request does not have the field."""

    principal_type: str | None = None
    client_ids: tuple[str, ...] | None = None


class _NoFields(msgspec.Struct, frozen=True):
    pass


class _CreateBody(msgspec.Struct, frozen=True, rename="camel"):
    create_token_with_scopes: list[str] | None = None
    # Any: api-versions that do not know the field ignore its value.
    expires_in_minutes: Any = None


class _IssueBody(msgspec.Struct, frozen=True, rename="camel"):
    scopes: list[str] | None = None
    expires_in_minutes: Any = None


Body = TypeVar("Body", bound=msgspec.Struct)


def supported_versions(operation: Operation | None) -> tuple[str, ...]:
    """The api-versions that have the operation, oldest first. None: all api-versions."""
    if operation is Operation.EXCHANGE_ENTRA:
        return ENTRA_VERSIONS
    since = _SINCE[operation] if operation in _SINCE else VERSIONS[0]
    return tuple(version for version in VERSIONS if version >= since)


def check_version(version: str | None, operation: Operation) -> str:
    """Return the api-version if it has the operation.

    Raises:
        ServiceError: 400, the api-version is missing or does not have the operation.
    """
    if version is None:
        raise errors.version_missing()
    if version not in supported_versions(operation):
        raise errors.version_unsupported(version)
    return version


def parse_create(body: bytes, version: str) -> TokenRequest:
    """Parse the request for an identity, with or without a token. The body may be empty.

    Raises:
        ServiceError: 400, the body is invalid.
    """
    request = _decode(body, _CreateBody)
    scopes = _check_scopes(request.create_token_with_scopes or [], version)
    return TokenRequest(scopes, _check_minutes(request.expires_in_minutes, version))


def parse_issue(body: bytes, version: str) -> TokenRequest:
    """Parse the request for a token.

    Raises:
        ServiceError: 400, the body is invalid.
    """
    request = _decode(body, _IssueBody)
    if request.scopes is None:
        raise errors.required("Scopes")
    if not request.scopes:
        raise errors.invalid("Invalid scopes - Scopes field is required.", "scopes")
    scopes = _check_scopes(request.scopes, version)
    return TokenRequest(scopes, _check_minutes(request.expires_in_minutes, version))


def parse_exchange(body: bytes) -> ExchangeRequest:
    """Parse the request for an exchange. `Teams` validates the values of its fields.

    Raises:
        ServiceError: 400, the body is not JSON of this shape.
    """
    return _decode(body, ExchangeRequest)


def parse_nothing(body: bytes) -> None:
    """Parse a body that has no fields.

    Raises:
        ServiceError: 400, the body is not a JSON object.
    """
    _decode(body, _NoFields)


def parse_assignment(body: bytes) -> AssignmentRequest:
    """Parse the request for an assignment. All its checks are assumed.

    Raises:
        ServiceError: 400, the body is invalid.
    """
    request = _decode(body, AssignmentRequest)
    if request.principal_type is None:
        raise errors.required("PrincipalType")
    if request.principal_type not in PRINCIPAL_TYPES:
        raise errors.invalid("Provided PrincipalType is not known.", "principalType")
    if request.principal_type == "user" and not request.client_ids:
        raise errors.required("ClientIds")
    if request.client_ids is None:
        return request
    ids = dict.fromkeys(parse_guid(each, "ClientIds") for each in request.client_ids)
    return msgspec.structs.replace(request, client_ids=tuple(ids))


def parse_guid(value: str | None, name: str) -> str:
    """The GUID in lower case.

    Raises:
        ServiceError: 400, the field of this name is missing, or is no GUID.
    """
    if not value:
        raise errors.required(name)
    try:
        return str(UUID(value))
    except ValueError as error:
        target = name[0].lower() + name[1:]
        raise errors.invalid(f"Provided {name} has invalid format.", target) from error


def _decode(body: bytes, shape: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    # msgspec raises the plain UnicodeDecodeError for invalid UTF-8 inside a string.
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.invalid(f"The request body is not valid: {error}") from error


def _check_scopes(scopes: list[str], version: str) -> tuple[str, ...]:
    known = SCOPES + JOIN_SCOPES if version >= JOIN_SCOPES_SINCE else SCOPES
    for scope in scopes:
        if scope not in known:
            raise errors.invalid(f"Invalid scopes - {scope} is not a known scope.", "scopes")
    return tuple(dict.fromkeys(scopes))


def _check_minutes(value: object, version: str) -> int:
    if value is None or version < LIFETIME_SINCE:
        return MAX_MINUTES
    # In Python a bool is an int.
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.invalid("ExpiresInMinutes is not an integer.", "ExpiresInMinutes")
    if not MIN_MINUTES <= value <= MAX_MINUTES:
        raise errors.invalid(
            f"ExpiresInMinutes value {value} is invalid. "
            f"Value must be within the [{MIN_MINUTES}, {MAX_MINUTES}] interval.",
            "ExpiresInMinutes",
        )
    return value
