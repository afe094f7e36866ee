"""The exchange of a Teams user's Entra token for an access token.

Source: https://learn.microsoft.com/azure/communication-services/quickstarts/manage-teams-identity
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import jwt

from local.acs import errors
from local.acs.contract import ExchangeRequest
from local.entra import TEAMS_AUDIENCE, Issuer

# Entra's own live for about an hour; this one lasts as long as a working day on a laptop.
TOKEN_LIFETIME = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class TeamsUser:
    """A made-up Teams user with all that an exchange needs."""

    token: str = field(repr=False)
    expired_token: str = field(repr=False)
    app_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Whom an exchanged token is for, and until when (seconds since the epoch)."""

    skype_id: str
    expires: float


class Teams:
    """One tenant with one registered application; any of its users may exchange a token."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._app_id = str(uuid4())
        self._user_id = str(uuid4())

    def user(self, user_id: str | None = None) -> TeamsUser:
        """A user with fresh tokens: that one of the tenant, or the one who is always the same."""
        user_id = user_id or self._user_id
        return TeamsUser(
            token=self._sign(user_id, TOKEN_LIFETIME),
            expired_token=self._sign(user_id, -60),
            app_id=self._app_id,
            user_id=user_id,
        )

    def grant(self, request: ExchangeRequest) -> Grant:
        """What an exchange yields, for as long as the Entra token lasts.

        Raises:
            RefusedError: 401, the token is not valid; 400, the ids do not go with it.
        """
        claims = self._claims(request.token or "")
        self._check_app(request.app_id, claims)
        _check_user(request.user_id, claims)
        return Grant(f"orgid:{claims['oid']}", claims["exp"])

    def _sign(self, user_id: str, lifetime: float) -> str:
        return self._issuer.sign(TEAMS_AUDIENCE, lifetime, appid=self._app_id, oid=user_id)

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            return self._issuer.verify(token, TEAMS_AUDIENCE)
        except jwt.InvalidTokenError as error:
            raise errors.invalid_access_token() from error

    def _check_app(self, app_id: str | None, claims: dict[str, Any]) -> None:
        app = _guid(app_id, "AppId")
        if str(app) != self._app_id or claims.get("appid") != self._app_id:
            raise errors.invalid("AAD application is not the expected one.", "appId")


def _check_user(user_id: str | None, claims: dict[str, Any]) -> None:
    user = _guid(user_id, "UserId")
    if str(user) != claims.get("oid"):
        raise errors.invalid("Provided AAD token issued for unexpected user.", "userId")


def _guid(value: str | None, name: str) -> UUID:
    if not value:
        raise errors.invalid(f"{name}: The {name} field is required.", name)
    try:
        return UUID(value)
    except ValueError as error:
        target = name[0].lower() + name[1:]
        raise errors.invalid(f"Provided {name} has invalid format.", target) from error
