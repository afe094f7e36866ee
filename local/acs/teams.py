"""The Teams users of the tenant, whose Entra tokens are exchanged for access tokens.

Source: https://learn.microsoft.com/azure/communication-services/quickstarts/manage-teams-identity
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import jwt

from local.acs import errors
from local.acs.contract import ExchangeRequest, parse_guid
from local.entra import TEAMS_AUDIENCE, Issuer

# The application's permissions. The last one is for the exchange in `teams_extension.py`.
PERMISSIONS = ("Teams.ManageCalls", "Teams.ManageChats", "TeamsExtension.ManageCalls")
# Real Entra tokens live for about an hour. This lifetime covers a working day on a laptop.
TOKEN_LIFETIME = 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class TeamsUser:
    """A Teams user, with everything that an exchange needs."""

    token: str = field(repr=False)
    expired_token: str = field(repr=False)
    app_id: str
    tenant_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class TeamsGrant:
    """The user of an exchanged token, and its expiry in seconds since the epoch."""

    skype_id: str
    expires: float


class Teams:
    """One tenant with one registered application. Every user of the tenant may exchange a token."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._app_id = str(uuid4())
        self._user_id = str(uuid4())

    def user(self, user_id: str | None = None) -> TeamsUser:
        """A user of the tenant, by default always the same one, with new tokens."""
        user_id = user_id or self._user_id
        return TeamsUser(
            token=self._sign(user_id, TOKEN_LIFETIME),
            expired_token=self._sign(user_id, -60),
            app_id=self._app_id,
            tenant_id=self._issuer.tenant,
            user_id=user_id,
        )

    def authorize(self, request: ExchangeRequest) -> TeamsGrant:
        """Validate an exchange. The grant expires with the Entra token.

        Raises:
            ServiceError: 401, the token is invalid; 400, an id is invalid or not that of the token.
        """
        claims = self._verify(request.token or "")
        app_id = parse_guid(request.app_id, "AppId")
        if app_id != self._app_id or claims.get("appid") != self._app_id:
            raise errors.invalid("AAD application is not the expected one.", "appId")
        if parse_guid(request.user_id, "UserId") != claims.get("oid"):
            raise errors.invalid("Provided AAD token issued for unexpected user.", "userId")
        return TeamsGrant(f"orgid:{claims['oid']}", claims["exp"])

    def _sign(self, user_id: str, lifetime: float) -> str:
        claims = {"appid": self._app_id, "oid": user_id, "scp": " ".join(PERMISSIONS)}
        return self._issuer.sign(TEAMS_AUDIENCE, lifetime, **claims)

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            return self._issuer.verify(token, TEAMS_AUDIENCE)
        except jwt.InvalidTokenError as error:
            raise errors.invalid_access_token() from error
