"""The identities of the resource and their access tokens."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

import jwt
import msgspec

from local.acs import errors
from local.acs.teams_extension import TeamsExtension
from local.acs.tokens import AccessToken, Signer

# A Teams user, or a user who has exchanged its own Entra token.
_ENTRA_USER = re.compile(r"orgid:|acs:[^_]+_wf_")

InvalidReason = Literal["malformed", "signature", "expired", "unknown", "deleted", "revoked"]


@dataclass(slots=True)
class Identity:
    """One identity. `tokens` maps the ids of its unrevoked tokens to their expiry."""

    id: str
    deleted: bool = False
    tokens: dict[str, float] = field(default_factory=dict)

    @property
    def skype_id(self) -> str:
        """The name of the identity in tokens."""
        return self.id.removeprefix("8:")


class TokenVerification(msgspec.Struct, frozen=True):
    """Whether an access token works, and why not. `claims` is None if the signature is invalid."""

    valid: bool
    reason: InvalidReason | None = None
    claims: dict[str, Any] | None = None


class Directory:
    """Stores identities.

    Deleted identities are kept: the error for a deleted identity is 404, for an unknown one 401.
    """

    def __init__(
        self,
        resource_id: str,
        signer: Signer,
        clock: Callable[[], float],
        teams_extension: TeamsExtension,
    ) -> None:
        self._resource_id = resource_id
        self._teams_extension = teams_extension
        self._signer = signer
        self._clock = clock
        self._identities: dict[str, Identity] = {}

    def __iter__(self) -> Iterator[Identity]:
        return iter(self._identities.values())

    def get(self, identity_id: str) -> Identity | None:
        """The identity in any state, or None if it never existed."""
        return self._identities.get(identity_id)

    def require(self, identity_id: str) -> Identity:
        """The active identity with this id.

        Raises:
            ServiceError: 401, it never existed here; 404, it was deleted.
        """
        identity = self.get(identity_id)
        if identity is None:
            raise errors.identity_not_owned()
        if identity.deleted:
            raise errors.identity_not_found()
        return identity

    def create(self) -> Identity:
        """Create an identity."""
        identity = Identity(f"8:acs:{self._resource_id}_{uuid4()}")
        self._identities[identity.id] = identity
        return identity

    def issue_token(self, identity: Identity, scopes: tuple[str, ...], minutes: int) -> AccessToken:
        """Issue a token that expires after `minutes`."""
        now = self._clock()
        expires = now + minutes * 60
        token = self._signer.sign(identity.skype_id, scopes, now=now, expires=expires)
        identity.tokens[token.id] = token.expires
        return token

    def revoke_tokens(self, identity_id: str) -> None:
        """Revoke all tokens issued so far.

        Raises:
            ServiceError: As for `require`.
        """
        self.require(identity_id).tokens.clear()

    def delete(self, identity_id: str) -> None:
        """Delete the identity and revoke its tokens.

        Raises:
            ServiceError: As for `require`.
        """
        self.revoke_tokens(identity_id)
        self._identities[identity_id].deleted = True

    def count_live_tokens(self, identity: Identity) -> int:
        """The number of tokens that are neither revoked nor expired."""
        now = self._clock()
        return sum(now < expires for expires in identity.tokens.values())

    def verify_token(self, token: str) -> TokenVerification:
        """Verify an access token, as a calling or chat service does."""
        try:
            claims = self._signer.decode(token)
        except jwt.InvalidSignatureError:
            return TokenVerification(valid=False, reason="signature")
        except jwt.InvalidTokenError:
            return TokenVerification(valid=False, reason="malformed")
        reason = self._why_invalid(claims)
        return TokenVerification(valid=reason is None, reason=reason, claims=claims)

    def _why_invalid(self, claims: dict[str, Any]) -> InvalidReason | None:
        if claims["exp"] <= self._clock():
            return "expired"
        # Entra's users are not identities of the resource, so their tokens cannot be revoked here.
        if _ENTRA_USER.match(claims["skypeid"]):
            return None
        if self._teams_extension.has(claims["skypeid"]):
            return self._teams_extension.why_invalid(claims["skypeid"], claims["jti"])
        identity = self.get(f"8:{claims['skypeid']}")
        if identity is None:
            return "unknown"
        if identity.deleted:
            return "deleted"
        return None if claims["jti"] in identity.tokens else "revoked"

    def clear(self) -> None:
        """Remove all identities."""
        self._identities.clear()
