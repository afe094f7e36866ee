"""Who is signed in, as App Service Authentication (Easy Auth) passes it on.

Source: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from identity_service.errors import NotSignedIn, SignInNotEnabled

HEADER = "x-ms-client-principal"
# Bytes; the platform's own headers stay far below.
LONGEST = 16 * 1024
LONGEST_USER_ID = 256

ENTRA = "aad"
# Holds no slash, and lowering its case makes no two of them one.
_PROVIDER = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
_NO_ISSUER = "-"
_OBJECT_ID = ("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier")
_TENANT_ID = ("tid", "http://schemas.microsoft.com/identity/claims/tenantid")
_SUBJECT = ("sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier")
_ISSUER = ("iss",)


@dataclass(frozen=True)
class Caller:
    """The signed-in user.

    Attributes:
        user_id: `aad/<tenant>/<object id>` for Entra, `<provider>/<issuer or ->/<subject>` for
            others. It is the `userId` under which services find the same user's identity.
        object_id: The object id in Entra; None for users of other providers.
    """

    user_id: str
    object_id: str | None = None


class _Claim(msgspec.Struct):
    typ: str
    val: str


class _Principal(msgspec.Struct):
    auth_typ: str
    claims: list[_Claim]


def caller(headers: Mapping[str, str], *, sign_in_enabled: bool) -> Caller:
    """The user whom the platform vouches for.

    Raises:
        SignInNotEnabled: the platform does not check: anybody can send such a header.
        NotSignedIn: there is no principal, or none that names a user for certain.
    """
    if not sign_in_enabled:
        raise SignInNotEnabled(
            "Switch on App Service Authentication for this app, with unauthenticated requests"
            " allowed through; the platform then sets WEBSITE_AUTH_ENABLED."
        )
    principal = _read(headers.get(HEADER, ""))
    if not _PROVIDER.fullmatch(principal.auth_typ):
        raise _unclear()
    provider = principal.auth_typ.lower()
    if provider == ENTRA:
        object_id = _one(principal, _OBJECT_ID)
        return Caller(_user_id(provider, _one(principal, _TENANT_ID), object_id), object_id)
    return Caller(_user_id(provider, _issuer(principal), _one(principal, _SUBJECT)))


def _read(text: str) -> _Principal:
    if not text:
        raise NotSignedIn("Send the bearer token of a sign-in, or sign in first.")
    if len(text) > LONGEST:
        raise _unclear()
    try:
        return msgspec.json.decode(base64.b64decode(text, validate=True), type=_Principal)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise _unclear() from error


def _all(principal: _Principal, names: tuple[str, ...]) -> set[str]:
    return {claim.val for claim in principal.claims if claim.typ in names and claim.val.strip()}


def _one(principal: _Principal, names: tuple[str, ...]) -> str:
    """The value of a claim that must be there, under one of its names, and be no two things."""
    values = _all(principal, names)
    if len(values) != 1:
        raise _unclear()
    return values.pop()


def _issuer(principal: _Principal) -> str:
    """The issuer, or what stands for none; no issuer may be called so."""
    if not _all(principal, _ISSUER):
        return _NO_ISSUER
    issuer = _one(principal, _ISSUER)
    if issuer == _NO_ISSUER:
        raise _unclear()
    return issuer


def _user_id(provider: str, issuer: str, subject: str) -> str:
    """One text per user, and per text one user.

    A provider's name, which comes first, holds no slash. An issuer may: so the subject's are
    escaped, and what follows the last slash is the subject.
    """
    text = f"{provider}/{issuer}/{subject.replace('%', '%25').replace('/', '%2F')}"
    if len(text) > LONGEST_USER_ID:
        raise _unclear()
    return text


def _unclear() -> NotSignedIn:
    return NotSignedIn("The platform's principal does not name one user.")
