"""A tenant of Microsoft Entra on loopback: it signs the tokens that others verify."""

import secrets
import time
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ACS_AUDIENCE = "https://communication.azure.com"
STORAGE_AUDIENCE = "https://storage.azure.com"
# The audience of the Entra tokens that ACS exchanges for a Teams user's access token.
# Source: https://learn.microsoft.com/azure/communication-services/quickstarts/manage-teams-identity
TEAMS_AUDIENCE = "https://auth.msft.communication.azure.com"


class Issuer:
    """Signs RS256 JWTs as one tenant does, with a key that lives as long as the object."""

    def __init__(self) -> None:
        self.tenant = str(uuid4())
        self.url = f"https://sts.windows.net/{self.tenant}/"
        self._key_id = secrets.token_hex(8)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, audience: str, lifetime: float, **claims: str) -> str:
        """A token for `audience` that expires `lifetime` seconds from now (before now if < 0)."""
        now = int(time.time())
        payload: dict[str, Any] = {
            "aud": audience,
            "iss": self.url,
            "tid": self.tenant,
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime),
            **claims,
        }
        return jwt.encode(payload, self._key, algorithm="RS256", headers={"kid": self._key_id})

    def jwks(self) -> dict[str, Any]:
        """The public key, in the form in which a tenant publishes its keys."""
        key = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self._key_id, "use": "sig", "alg": "RS256"}]}

    def verify(self, token: str, audience: str) -> dict[str, Any]:
        """The claims of a token that this tenant signed for `audience`.

        Raises:
            jwt.InvalidTokenError: signature, audience, issuer or time is not right.
        """
        return jwt.decode(
            token,
            self._key.public_key(),
            algorithms=["RS256"],
            audience=audience,
            issuer=self.url,
            options={"require": ["exp", "nbf", "aud", "iss"]},
        )
