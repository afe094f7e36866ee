"""Who calls: a request signed with an access key, or one that carries an Entra token.

Source: https://learn.microsoft.com/azure/communication-services/tutorials/hmac-header-tutorial
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import jwt

from local.acs import errors
from local.acs.access_keys import AccessKeys
from local.acs.messages import Call
from local.entra import ACS_AUDIENCE, Issuer

# How far x-ms-date may lie from the service's clock, in seconds. Assumed.
CLOCK_WINDOW = 300
SIGNED_HEADERS = ("x-ms-date", "host", "x-ms-content-sha256")

_CREDENTIALS = re.compile(rf"SignedHeaders={';'.join(SIGNED_HEADERS)}&Signature=(\S+)")


class Authenticator:
    """Knows the resource's two access keys, and the tenant whose tokens count."""

    def __init__(self, issuer: Issuer, access_keys: AccessKeys, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._keys = access_keys
        self._clock = clock

    def authenticate(self, call: Call) -> None:
        """Return for a caller that may call.

        Raises:
            RefusedError: 401, it may not.
        """
        scheme, _, credentials = call.headers.get("Authorization", "").partition(" ")
        if scheme == "HMAC-SHA256":
            self._check_signature(call, credentials)
        elif scheme.lower() == "bearer":
            self._check_token(credentials)
        else:
            raise errors.denied()

    def _check_token(self, token: str) -> None:
        try:
            self._issuer.verify(token, ACS_AUDIENCE)
        # UnicodeEncodeError: a header may hold bytes that are no text, and PyJWT lets that out.
        except (jwt.InvalidTokenError, UnicodeEncodeError) as error:
            raise errors.denied() from error

    def _check_signature(self, call: Call, credentials: str) -> None:
        given = _CREDENTIALS.fullmatch(credentials)
        if given is None or not all(name in call.headers for name in SIGNED_HEADERS):
            raise errors.denied()
        if call.headers["x-ms-content-sha256"] != _base64(hashlib.sha256(call.body).digest()):
            raise errors.body_hash_differs()
        if not self._is_recent(call.headers["x-ms-date"]):
            raise errors.denied()
        text = string_to_sign(call).encode(errors="surrogateescape")
        if not any(_equal(given[1], sign(text, key)) for key in self._keys):
            raise errors.denied()

    def _is_recent(self, date: str) -> bool:
        try:
            then = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return False
        return abs(self._clock() - then) <= CLOCK_WINDOW


def string_to_sign(call: Call) -> str:
    """What the signature of a call is made over."""
    signed = ";".join(call.headers[name] for name in SIGNED_HEADERS)
    return f"{call.method}\n{call.target}\n{signed}"


def sign(text: bytes, key: bytes) -> str:
    """The base64 HMAC-SHA256 of a text; `key` is the decoded access key."""
    return _base64(hmac.digest(key, text, "sha256"))


def _equal(given: str, expected: str) -> bool:
    # As bytes: compare_digest refuses strings that are not ASCII, and a caller may send those.
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
