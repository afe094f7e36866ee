"""Authentication of a request: a signature made with an access key, or an Entra token.

Source: https://learn.microsoft.com/azure/communication-services/tutorials/hmac-header-tutorial
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from enum import StrEnum

import jwt

from local.acs import errors
from local.acs.contract import Request
from local.entra import ACS_AUDIENCE, Issuer

# The allowed difference between the signed date and the service's clock, in seconds. Assumed.
CLOCK_WINDOW = 300
# The first releases of the SDKs, 1.0.0 for Python and for JavaScript on Node, sign `date`.
_CREDENTIALS = re.compile(
    r"SignedHeaders=((x-ms-date|date);host;x-ms-content-sha256)&Signature=(\S+)"
)


class KeyName(StrEnum):
    """The names of the two access keys."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class AccessKeys:
    """The resource's access keys, in base64. Both are valid.

    Raises:
        ValueError: A key is not base64.
    """

    def __init__(self, primary: str, secondary: str) -> None:
        for key in (primary, secondary):
            base64.b64decode(key, validate=True)
        self._keys = {KeyName.PRIMARY: primary, KeyName.SECONDARY: secondary}

    def __iter__(self) -> Iterator[bytes]:
        """Both keys, decoded."""
        return (base64.b64decode(key) for key in self._keys.values())

    def regenerate(self, name: KeyName) -> None:
        """Replace a key. The old one stops working."""
        self._keys[name] = base64.b64encode(secrets.token_bytes(64)).decode()

    def document(self) -> dict[str, str]:
        """Both keys, by name."""
        return {str(name): key for name, key in self._keys.items()}


class Authenticator:
    """Authenticates requests with the resource's access keys and the tenant's Entra tokens."""

    def __init__(self, issuer: Issuer, access_keys: AccessKeys, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._keys = access_keys
        self._clock = clock

    def authenticate(self, request: Request) -> None:
        """Check the credentials of a request.

        Raises:
            ServiceError: 401, they are missing or invalid.
        """
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme == "HMAC-SHA256":
            self._check_signature(request, credentials)
        elif scheme.lower() == "bearer":
            self._check_token(credentials)
        else:
            raise errors.denied()

    def _check_token(self, token: str) -> None:
        try:
            self._issuer.verify(token, ACS_AUDIENCE)
        # A header may contain bytes that are not text. PyJWT then raises UnicodeEncodeError.
        except (jwt.InvalidTokenError, UnicodeEncodeError) as error:
            raise errors.denied() from error

    def _check_signature(self, request: Request, credentials: str) -> None:
        match = _CREDENTIALS.fullmatch(credentials)
        if match is None:
            raise errors.denied()
        names, date, signature = match.groups()
        signed_headers = names.split(";")
        if not all(name in request.headers for name in signed_headers):
            raise errors.denied()
        if request.headers["x-ms-content-sha256"] != _base64(hashlib.sha256(request.body).digest()):
            raise errors.body_hash_differs()
        if not self._is_recent(request.headers[date]):
            raise errors.denied()
        text = string_to_sign(request, signed_headers).encode(errors="surrogateescape")
        if not any(_equal(signature, sign(text, key)) for key in self._keys):
            raise errors.denied()

    def _is_recent(self, date: str) -> bool:
        try:
            then = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return False
        return abs(self._clock() - then) <= CLOCK_WINDOW


def string_to_sign(request: Request, signed_headers: Sequence[str]) -> str:
    """The text that the signature of a request covers."""
    signed = ";".join(request.headers[name] for name in signed_headers)
    return f"{request.method}\n{request.target}\n{signed}"


def sign(text: bytes, key: bytes) -> str:
    """The HMAC-SHA256 of a text, in base64. `key` is the decoded access key."""
    return _base64(hmac.digest(key, text, "sha256"))


def _equal(given: str, expected: str) -> bool:
    # Compare bytes: compare_digest rejects strings that are not ASCII, and callers can send those.
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
