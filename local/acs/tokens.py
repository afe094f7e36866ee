"""Access tokens: RS256 JWTs with the header and the claims of the real service's."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# The value of `scp` in every token that has been looked at; what it means is not published.
SCP = 1792


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token. `expires` is in seconds since the epoch; `key` names it among its like."""

    token: str
    expires: float
    key: str

    def document(self) -> dict[str, str]:
        """The token as answers carry it."""
        return {"token": self.token, "expiresOn": timestamp(self.expires)}


class Signer:
    """Signs and verifies, with a key of its own that lives as long as the object."""

    def __init__(self, resource_id: str) -> None:
        self._resource_id = resource_id
        self._key = _new_key()
        self._key_id = _thumbprint(self._key.public_key())

    @cached_property
    def _unknown_key(self) -> rsa.RSAPrivateKey:
        # Made when first wanted: a key takes a tenth of a second, and most runs need none.
        return _new_key()

    def issue(
        self, skype_id: str, scopes: tuple[str, ...], *, now: float, expires: float
    ) -> AccessToken:
        """A token for `skype_id`; both times are in seconds since the epoch."""
        key = uuid4().hex
        claims = {
            "skypeid": skype_id,
            "scp": SCP,
            "csi": str(int(now)),
            "iat": int(now),
            "exp": int(expires),
            "acsScope": ",".join(scopes),
            "resourceId": self._resource_id,
            # Without it, two tokens of one second would be the same, and revoking one of them
            # could not spare the other. The real service has no such claim.
            "jti": key,
        }
        return AccessToken(self._encode(claims, self._key), expires, key)

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token of ours, its times unchecked.

        Raises:
            jwt.InvalidSignatureError: the token is not ours.
            jwt.InvalidTokenError: it is no token at all.
        """
        return jwt.decode(
            token,
            self._key.public_key(),
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False},
        )

    def forge(self, token: str) -> str:
        """The same header and claims, signed with a key that nobody knows."""
        return self._encode(self.claims(token), self._unknown_key)

    def _encode(self, claims: dict[str, Any], key: rsa.RSAPrivateKey) -> str:
        header = {"kid": self._key_id, "x5t": self._key_id}
        return jwt.encode(claims, key, algorithm="RS256", headers=header)


def timestamp(seconds: float) -> str:
    """A time as the service writes it: seven fractional digits, and the offset +00:00."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}0+00:00"


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _thumbprint(key: rsa.RSAPublicKey) -> str:
    # x5t is a SHA-1 by definition (RFC 7515, 4.1.7). It names the key, and secures nothing.
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha1(der, usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
