"""What a request may say, and since which api-version.

Source: the specification "Communication Identity" in Azure's public REST API specifications.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from local.acs import errors
from local.acs.messages import Operation

VERSIONS = ("2021-03-07", "2022-06-01", "2022-10-01", "2023-10-01", "2025-06-30")
# Versions are dates, so that comparing them as strings compares their age.
TEAMS_SINCE = "2022-06-01"
LIFETIME_SINCE = "2022-10-01"
JOIN_SCOPES_SINCE = "2023-10-01"

SCOPES = ("chat", "voip")
JOIN_SCOPES = ("chat.join", "chat.join.limited", "voip.join")

MIN_MINUTES = 60
MAX_MINUTES = 1440


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The access token that is wanted; no scopes where none is. The lifetime is in minutes."""

    scopes: tuple[str, ...]
    minutes: int


class ExchangeRequest(msgspec.Struct, frozen=True, rename="camel"):
    """A Teams user's Entra token, and whose it should be."""

    token: str | None = None
    app_id: str | None = None
    user_id: str | None = None


class _CreateBody(msgspec.Struct, frozen=True, rename="camel"):
    create_token_with_scopes: list[str] | None = None
    # Any, because versions that do not know the field accept whatever stands in it.
    expires_in_minutes: Any = None


class _IssueBody(msgspec.Struct, frozen=True, rename="camel"):
    scopes: list[str] | None = None
    expires_in_minutes: Any = None


Body = TypeVar("Body", bound=msgspec.Struct)


def check_version(version: str | None, operation: Operation) -> str:
    """The api-version, where it is one that has the operation.

    Raises:
        RefusedError: 400, none was given or it does not have the operation.
    """
    if version is None:
        raise errors.version_missing()
    if version not in supported_versions(operation):
        raise errors.version_unsupported(version)
    return version


def supported_versions(operation: Operation | None) -> tuple[str, ...]:
    """The api-versions that have the operation, oldest first."""
    if operation is Operation.EXCHANGE:
        return tuple(version for version in VERSIONS if version >= TEAMS_SINCE)
    return VERSIONS


def parse_create(body: bytes, version: str) -> TokenRequest:
    """The token to be made together with an identity; an empty body wants none.

    Raises:
        RefusedError: 400, the body is not as the contract wants it.
    """
    wanted = _decode(body, _CreateBody)
    scopes = _known(wanted.create_token_with_scopes or [], version)
    return TokenRequest(scopes, _minutes(wanted.expires_in_minutes, version))


def parse_issue(body: bytes, version: str) -> TokenRequest:
    """The token to be issued.

    Raises:
        RefusedError: 400, the body is not as the contract wants it.
    """
    wanted = _decode(body, _IssueBody)
    if wanted.scopes is None:
        raise errors.invalid("Scopes: The Scopes field is required.", "Scopes")
    if not wanted.scopes:
        raise errors.invalid("Invalid scopes - Scopes field is required.", "scopes")
    scopes = _known(wanted.scopes, version)
    return TokenRequest(scopes, _minutes(wanted.expires_in_minutes, version))


def parse_exchange(body: bytes) -> ExchangeRequest:
    """The exchange that is asked for; what its fields say is checked elsewhere.

    Raises:
        RefusedError: 400, the body is not JSON of this shape.
    """
    return _decode(body, ExchangeRequest)


def _decode(body: bytes, shape: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    # Invalid UTF-8 inside a string comes out of msgspec as the bare UnicodeDecodeError.
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise errors.invalid(f"The request body is not valid: {error}") from error


def _known(scopes: list[str], version: str) -> tuple[str, ...]:
    known = SCOPES + JOIN_SCOPES if version >= JOIN_SCOPES_SINCE else SCOPES
    for scope in scopes:
        if scope not in known:
            raise errors.invalid(f"Invalid scopes - {scope} is not a known scope.", "scopes")
    return tuple(dict.fromkeys(scopes))


def _minutes(value: object, version: str) -> int:
    if value is None or version < LIFETIME_SINCE:
        return MAX_MINUTES
    # bool is an int to Python, but not to the service.
    if not isinstance(value, int) or isinstance(value, bool):
        raise errors.invalid("ExpiresInMinutes is not an integer.", "ExpiresInMinutes")
    if not MIN_MINUTES <= value <= MAX_MINUTES:
        raise errors.invalid(
            f"ExpiresInMinutes value {value} is invalid. "
            f"Value must be within the [{MIN_MINUTES}, {MAX_MINUTES}] interval.",
            "ExpiresInMinutes",
        )
    return value
