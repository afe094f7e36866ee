"""Reads who calls from the header that App Service Authentication (Easy Auth) sends.

A caller is a user or a service, never both. What neither function accepts may call nothing. Both
record the caller for the log.

Source: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import binascii
import re
from collections.abc import Collection, Mapping

import msgspec

from identity_service.errors import NotAllowed, NotSignedIn, SignInNotEnabled
from identity_service.identity import SignedInUser
from identity_service.log import current_invocation
from identity_service.policies import Role, SignInPolicy
from identity_service.schemas import LONGEST_USER_ID

HEADER = "x-ms-client-principal"
# Bytes. The platform sends no longer headers. A user in 200 groups needs about 20 KiB.
LONGEST = 32 * 1024

ENTRA = "aad"
# Has no slash, and no two names become equal in lower case.
_PROVIDER = re.compile("[A-Za-z0-9][A-Za-z0-9_-]*")
_NO_ISSUER = "-"
_OBJECT_ID = ("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier")
_TENANT_ID = ("tid", "http://schemas.microsoft.com/identity/claims/tenantid")
_SUBJECT = ("sub", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier")
_ISSUER = ("iss",)
_SCOPE = ("scp", "http://schemas.microsoft.com/identity/claims/scope")
_TOKEN_TYPE = ("idtyp",)
_ROLES = ("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role")
# In tokens of version 2 and of version 1.
_APPLICATION_ID = ("azp", "appid", "http://schemas.microsoft.com/identity/claims/appid")
_APPLICATION = "app"
_GUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class _Claim(msgspec.Struct):
    typ: str
    val: str


class _Principal(msgspec.Struct):
    auth_typ: str
    claims: list[_Claim]


def signed_in_user(headers: Mapping[str, str], policy: SignInPolicy) -> SignedInUser:
    """The user whose sign-in the platform has checked.

    Raises:
        SignInNotEnabled: the platform does not check sign-ins, so anyone can send this header.
        NotSignedIn: the request has no principal, or one that does not identify one user.
        NotAllowed: the principal is an application, or its token lacks the required scope.
    """
    principal = _read(headers, policy.enabled, "Send the bearer token of a signed-in user.")
    provider = _provider(principal)
    if provider == ENTRA:
        _require_person(principal, policy.scope)
        user = _entra_user(principal)
    else:
        user = SignedInUser(_user_id(provider, _issuer(principal), _one(principal, _SUBJECT)))
    current_invocation().caller = "user"
    return user


def admit_service(
    headers: Mapping[str, str], roles: Collection[Role], *, sign_in_enabled: bool
) -> None:
    """Accept a service that has these app roles, and whose token the platform has checked.

    Raises:
        SignInNotEnabled: the platform does not check tokens, so anyone can send this header.
        NotSignedIn: the request has no principal, or one that does not identify one application.
        NotAllowed: the principal is not an application, or the application lacks one of the roles.
    """
    principal = _read(headers, sign_in_enabled, "Send the access token of an application.")
    needed = ", ".join(roles)
    if not _is_application(principal):
        raise NotAllowed(
            "This operation is for services. Send the access token of an application: with"
            f" idtyp={_APPLICATION}, and without a scope (scp).",
            allowed=needed,
        )
    current_invocation().caller = f"service:{_application_id(principal)}"
    if not _all(principal, _ROLES).issuperset(roles):
        raise NotAllowed(
            "The application lacks an app role that this operation requires.", allowed=needed
        )


def _is_application(principal: _Principal) -> bool:
    """Whether Entra issued the token to an application itself.

    A missing scope proves nothing: an ID token has none either.
    """
    has_scope = any(claim.typ in _SCOPE for claim in principal.claims)
    is_from_entra = _provider(principal) == ENTRA
    return is_from_entra and _all(principal, _TOKEN_TYPE) == {_APPLICATION} and not has_scope


def _application_id(principal: _Principal) -> str:
    """The id of the application, which a token may have in several claims."""
    ids = {text.lower() for text in _all(principal, _APPLICATION_ID)}
    if len(ids) != 1 or not _GUID.fullmatch(found := ids.pop()):
        raise _unclear()
    return found


def _require_person(principal: _Principal, required: str) -> None:
    """Refuse applications and ID tokens: only a delegated access token has a scope."""
    if _APPLICATION in {kind.lower() for kind in _all(principal, _TOKEN_TYPE)}:
        raise NotAllowed("An application is signed in. Operations under me are for users only.")
    scopes = {scope for claim in _all(principal, _SCOPE) for scope in claim.split()}
    if not scopes:
        raise NotAllowed(
            "The token has no delegated scope (scp). Send an access token for this app, not an ID"
            " token."
        )
    if required and required not in scopes:
        raise NotAllowed("The token lacks the scope that this service requires.", allowed=required)


def _entra_user(principal: _Principal) -> SignedInUser:
    if not _all(principal, _TENANT_ID):
        raise NotSignedIn(
            "The token has no tenant id (tid), so its user cannot be told apart from users of other"
            " tenants. Configure the app registration to emit the claim."
        )
    object_id = _one(principal, _OBJECT_ID)
    return SignedInUser(_user_id(ENTRA, _one(principal, _TENANT_ID), object_id), object_id)


def _read(headers: Mapping[str, str], enabled: bool, wanted: str) -> _Principal:
    if not enabled:
        raise SignInNotEnabled(
            "Enable App Service Authentication for this app and allow unauthenticated requests."
            " The platform then sets WEBSITE_AUTH_ENABLED."
        )
    text = headers.get(HEADER, "")
    if not text:
        raise NotSignedIn(wanted)
    if len(text) > LONGEST:
        raise NotSignedIn(
            f"The principal has {len(text)} bytes, more than {LONGEST}. The caller may be in too"
            " many groups: let the token contain fewer of them."
        )
    try:
        return msgspec.json.decode(base64.b64decode(text, validate=True), type=_Principal)
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise _unclear() from error


def _provider(principal: _Principal) -> str:
    if not _PROVIDER.fullmatch(principal.auth_typ):
        raise _unclear()
    return principal.auth_typ.lower()


def _all(principal: _Principal, names: tuple[str, ...]) -> set[str]:
    return {claim.val for claim in principal.claims if claim.typ in names and claim.val.strip()}


def _one(principal: _Principal, names: tuple[str, ...]) -> str:
    """The value of a required claim, which may have several names but only one value."""
    values = _all(principal, names)
    if len(values) != 1:
        raise _unclear()
    return values.pop()


def _issuer(principal: _Principal) -> str:
    """The issuer, or the placeholder for none. No issuer may have the placeholder's name."""
    if not _all(principal, _ISSUER):
        return _NO_ISSUER
    issuer = _one(principal, _ISSUER)
    if issuer == _NO_ISSUER:
        raise _unclear()
    return issuer


def _user_id(provider: str, issuer: str, subject: str) -> str:
    """The user id. Different users never have the same one.

    The provider, which comes first, has no slash. An issuer may have slashes, so those of the
    subject are escaped: the subject is what follows the last slash.
    """
    text = f"{provider}/{issuer}/{subject.replace('%', '%25').replace('/', '%2F')}"
    if len(text) > LONGEST_USER_ID:
        raise _unclear()
    return text


def _unclear() -> NotSignedIn:
    return NotSignedIn("The platform's principal does not identify one caller.")
