"""Does this access token still work? What a calling or chat service would find out."""

from typing import Any, Literal

import jwt
import msgspec

from local.acs.directory import Death
from local.acs.resource import Resource

Reason = Literal["malformed", "signature", "expired"] | Death


class Verdict(msgspec.Struct, frozen=True):
    """Whether a token works, why not, and what it says where it is ours."""

    valid: bool
    reason: Reason | None = None
    claims: dict[str, Any] | None = None


def verify(token: str, resource: Resource) -> Verdict:
    """Judge a token by the resource's clock, key and memory."""
    try:
        claims = resource.signer.claims(token)
    except jwt.InvalidSignatureError:
        return Verdict(valid=False, reason="signature")
    except jwt.InvalidTokenError:
        return Verdict(valid=False, reason="malformed")
    reason = _why_dead(claims, resource)
    return Verdict(valid=reason is None, reason=reason, claims=claims)


def _why_dead(claims: dict[str, Any], resource: Resource) -> Reason | None:
    if claims["exp"] <= resource.clock():
        return "expired"
    # A Teams user is Entra's, not an identity of the resource: nobody can revoke its tokens here.
    if claims["skypeid"].startswith("orgid:"):
        return None
    return resource.directory.why_dead(claims["skypeid"], claims["jti"])
