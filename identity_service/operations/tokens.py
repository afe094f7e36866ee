"""Operations on access tokens: issue, revoke, exchange."""

import math
import re
import time
from base64 import urlsafe_b64decode
from typing import TypeVar

import msgspec

from identity_service.errors import TeamsTokenRefused
from identity_service.lifecycle import Lifecycle
from identity_service.policies import TokenPolicy
from identity_service.ports import Acs
from identity_service.schemas import (
    ExchangeTeamsTokenRequest,
    IssuedTokenResponse,
    IssueTokenRequest,
    TeamsTokenResponse,
)

# Source: https://learn.microsoft.com/azure/communication-services/quickstarts/manage-teams-identity
TEAMS_AUDIENCE = "https://auth.msft.communication.azure.com"
# The same service, by the id of its application.
_TEAMS_AUDIENCES = ("", TEAMS_AUDIENCE, "1fd5118e-2576-4263-8130-9503064c837a")

_COMPACT = re.compile(r"[A-Za-z0-9_.-]*")
_BEARER = re.compile(r"\W*(authorization\W+)?bearer(?![\w.-])", re.IGNORECASE)

C = TypeVar("C")


async def issue_token(
    identity_id: str,
    body: IssueTokenRequest,
    lifecycle: Lifecycle,
    service_tokens: TokenPolicy,
    registered_only: bool,
) -> IssuedTokenResponse:
    """Issue an access token. To refresh a token, issue another one before it expires.

    Raises:
        IdentityNotFound: ACS has no such identity, or it is not registered and the settings require
            it.
        IdentityGone: the registry has it, but ACS no longer does. Delete and purge it.
        IdentityDeleted: it is deleted: restore it.
        IdentitySuspended: it is suspended: resume it.
        IdentityUnfinished: it is still being created.
    """
    grant = service_tokens.grant(body.scopes, body.expires_in_minutes)
    token = await lifecycle.issue_token(identity_id, grant, registered_only=registered_only)
    return IssuedTokenResponse.of(identity_id, token)


async def revoke_tokens(identity_id: str, lifecycle: Lifecycle, registered_only: bool) -> None:
    """Revoke all access tokens of an identity. New tokens can be issued afterwards.

    Raises:
        IdentityNotFound: ACS has no such identity, or it is not registered and the settings require
            it.
        IdentityGone: the registry has it, but ACS no longer does. Delete and purge it.
    """
    await lifecycle.revoke_tokens(identity_id, registered_only=registered_only)


async def exchange_teams_token(body: ExchangeTeamsTokenRequest, acs: Acs) -> TeamsTokenResponse:
    """Exchange a Teams user's Entra token for an ACS access token with the same lifetime.

    Raises:
        TeamsTokenRefused: ACS does not accept the token, or not for this app and this user.
    """
    if problem := _malformed(body.token):
        raise TeamsTokenRefused(problem, field="token")
    try:
        token = await acs.exchange_teams_token(body.token, body.app_id, body.user_id)
    except TeamsTokenRefused as refused:
        if refused.field == "token":
            refused.detail = _refusal(body.token) or refused.detail
        raise
    return TeamsTokenResponse.of(token)


def _malformed(token: str) -> str:
    if _BEARER.match(token):
        return "Send the token alone, without Bearer."
    if token.split() != [token]:
        return "The token has white space. It may be cut off or wrapped."
    return ""


def _refusal(token: str) -> str:
    """The likely reason of a refusal, from claims that nobody has verified."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(
            urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=dict[str, msgspec.Raw]
        )
        expires_on = _claim(claims, "exp", float, math.inf)
        audience = _claim(claims, "aud", str, "").rstrip("/")
    except (IndexError, ValueError, msgspec.MsgspecError, RecursionError):
        return "The token is not a JSON Web Token. Send the Entra access token of the Teams user."
    # First, because a new token for the same service would be refused again.
    if audience.lower() not in _TEAMS_AUDIENCES:
        return f"The token is for another service. Request it for {TEAMS_AUDIENCE}."
    if expires_on <= time.time():
        return "The token has expired. Get a new one from Entra."
    if not _COMPACT.fullmatch(token):
        return "The token has quotation marks, or other characters that are not part of it."
    return ""


def _claim(claims: dict[str, msgspec.Raw], name: str, kind: type[C], absent: C) -> C:
    """The value of a claim. One that has another type counts as absent."""
    try:
        return msgspec.json.decode(claims[name], type=kind)
    except (KeyError, msgspec.ValidationError):
        return absent
