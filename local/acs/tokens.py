"""Access tokens: RS256 JWTs with the header and the claims that the real service uses."""

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

# The value of `scp` in every recorded token. Its meaning is not published.
SCP = 1792


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A signed token. `expires` is in seconds since the epoch; `id` is its claim `jti`."""

    id: str
    token: str
    expires: float

    def document(self) -> dict[str, str]:
        """The token as responses contain it."""
        return {"token": self.token, "expiresOn": timestamp(self.expires)}


class Signer:
    """Signs and decodes access tokens with a key pair of its own."""

    def __init__(self, resource_id: str) -> None:
        self._resource_id = resource_id
        self._key = _new_key()
        self._key_id = _thumbprint(self._key.public_key())

    @cached_property
    def _unknown_key(self) -> rsa.RSAPrivateKey:
        # Created on first use: generating a key takes 100 ms, and most runs do not need this one.
        return _new_key()

    def sign(
        self, skype_id: str, scopes: tuple[str, ...], *, now: float, expires: float
    ) -> AccessToken:
        """Create a token for `skype_id`. Both times are in seconds since the epoch."""
        token_id = uuid4().hex
        claims = {
            "skypeid": skype_id,
            "scp": SCP,
            "csi": str(int(now)),
            "iat": int(now),
            "exp": int(expires),
            "acsScope": ",".join(scopes),
            "resourceId": self._resource_id,
            # The real service has no such claim. Without it, two tokens issued in the same second
            # would be identical, and revoking the first would also revoke the second.
            "jti": token_id,
        }
        return AccessToken(token_id, self._encode(claims, self._key), expires)

    def decode(self, token: str) -> dict[str, Any]:
        """The claims of a token that this object signed. Its times are not checked.

        Raises:
            jwt.InvalidSignatureError: Another key signed the token.
            jwt.InvalidTokenError: The token is not a JWT.
        """
        return jwt.decode(
            token,
            self._key.public_key(),
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False},
        )

    def sign_with_unknown_key(self, token: str) -> str:
        """The same header and claims, signed with a key that is not published."""
        return self._encode(self.decode(token), self._unknown_key)

    def _encode(self, claims: dict[str, Any], key: rsa.RSAPrivateKey) -> str:
        header = {"kid": self._key_id, "x5t": self._key_id}
        return jwt.encode(claims, key, algorithm="RS256", headers=header)


def timestamp(seconds: float) -> str:
    """A time in the service's format: seven fractional digits and the offset +00:00."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}0+00:00"


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _thumbprint(key: rsa.RSAPublicKey) -> str:
    # x5t is a SHA-1 by definition (RFC 7515, 4.1.7). It identifies the key and protects nothing.
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha1(der, usedforsecurity=False).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
