"""The Entra users of the tenant, whose own tokens are exchanged for access tokens.

No trusted service takes part: the client SDK sends the user's token itself.
Source: https://learn.microsoft.com/rest/api/communication/identity/entra-id-token
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jwt

from local.acs import errors
from local.acs.contract import JOIN_SCOPES, SCOPES
from local.entra import Issuer

# The resource in the scopes that client SDKs request, such as
# https://communication.azure.com/clients/VoIP.
CLIENTS_AUDIENCE = "https://communication.azure.com/clients"
# As for Teams users, this covers a working day on a laptop.
TOKEN_LIFETIME = 24 * 60 * 60
# Entra writes VoIP and Chat.Join.Limited, access tokens write voip and chat.join.limited.
_KNOWN_SCOPES = SCOPES + JOIN_SCOPES


@dataclass(frozen=True, slots=True)
class EntraGrant:
    """The user of an exchanged token, its scopes, and its expiry in seconds since the epoch."""

    identity_id: str
    scopes: tuple[str, ...]
    expires: float


class EntraUsers:
    """The users of one tenant. Every user may exchange a token."""

    def __init__(self, issuer: Issuer, resource_id: str) -> None:
        self._issuer = issuer
        self._resource_id = resource_id

    def token(self, user_id: str, scopes: Sequence[str]) -> str:
        """A new Entra token of the user with these scopes, as Entra writes them."""
        return self._issuer.sign(
            CLIENTS_AUDIENCE, TOKEN_LIFETIME, oid=user_id, scp=" ".join(scopes)
        )

    def authorize(self, authorization: str) -> EntraGrant:
        """Validate the header of an exchange. The grant expires with the Entra token.

        Raises:
            ServiceError: 401, there is no valid token of a user with a known scope.
        """
        scheme, _, token = authorization.partition(" ")
        try:
            claims = self._issuer.verify(token, CLIENTS_AUDIENCE)
        # A header may contain bytes that are not text. PyJWT then raises UnicodeEncodeError.
        except (jwt.InvalidTokenError, UnicodeEncodeError) as error:
            raise errors.denied() from error
        granted = str(claims.get("scp", "")).lower().split()
        scopes = tuple(scope for scope in granted if scope in _KNOWN_SCOPES)
        if scheme.lower() != "bearer" or "oid" not in claims or not scopes:
            raise errors.denied()
        user = f"{claims['tid']}_{claims['oid']}"
        return EntraGrant(f"8:acs:{self._resource_id}_wf_{user}", scopes, claims["exp"])
