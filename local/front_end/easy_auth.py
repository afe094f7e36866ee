"""App Service Authentication (Easy Auth), configured to allow unauthenticated requests.

A request without a bearer token passes as anonymous. A request with an invalid token gets 401.
Only this layer can set the headers that tell the app who the caller is.

Source: https://learn.microsoft.com/azure/app-service/configure-authentication-user-identities
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self

import jwt
import msgspec
from msgspec.structs import replace

from local.functions_host.http import Handler, Request, Response

_RESERVED_HEADERS = ("x-ms-client-principal", "x-ms-token-")
_XML_SOAP = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims"
_MICROSOFT = "http://schemas.microsoft.com"
_ROLE = f"{_MICROSOFT}/ws/2008/06/identity/claims/role"
# Easy Auth gives these claims other names in the principal than they have in the token. It does not
# always do so for roles, and perhaps not for the others.
# Source: https://github.com/Azure/static-web-apps/issues/655
_LONG_NAMES = {
    "amr": f"{_MICROSOFT}/claims/authnmethodsreferences",
    "email": f"{_XML_SOAP}/emailaddress",
    "family_name": f"{_XML_SOAP}/surname",
    "given_name": f"{_XML_SOAP}/givenname",
    "idp": f"{_MICROSOFT}/identity/claims/identityprovider",
    "oid": f"{_MICROSOFT}/identity/claims/objectidentifier",
    "roles": _ROLE,
    "scp": f"{_MICROSOFT}/identity/claims/scope",
    "sub": f"{_XML_SOAP}/nameidentifier",
    "tid": f"{_MICROSOFT}/identity/claims/tenantid",
    "upn": f"{_XML_SOAP}/upn",
}
_UNAUTHORIZED = Response(HTTPStatus.UNAUTHORIZED, (("WWW-Authenticate", "Bearer"),))


class _Document(msgspec.Struct):
    issuer: Annotated[str, msgspec.Meta(min_length=1)]
    audience: Annotated[str, msgspec.Meta(min_length=1)]
    jwks: dict[str, Any]
    names: Literal["long", "short"] = "long"


@dataclass(frozen=True)
class EasyAuth:
    """Checks the tokens of one issuer for one audience.

    Attributes:
        names: the names that claims have in the principal, by their names in the token; the same
            name if it is missing.
    """

    issuer: str
    audience: str
    keys: tuple[jwt.PyJWK, ...]
    names: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `{"issuer": …, "audience": …, "jwks": {"keys": […]}}`, optional `names`.

        Raises:
            ValueError: the text is malformed.
        """
        try:
            document = msgspec.json.decode(text, type=_Document)
            keys = jwt.PyJWKSet.from_dict(document.jwks).keys
        except jwt.PyJWTError as error:
            raise ValueError(f"jwks: {error}") from error
        names = _LONG_NAMES if document.names == "long" else {}
        return cls(document.issuer, document.audience, tuple(keys), names)

    async def layer(self, request: Request, rest: Handler) -> Response:
        """Pass the request on, with the caller's principal if there is a token, or reject it."""
        headers = {
            name: value
            for name, value in request.headers.items()
            if not name.startswith(_RESERVED_HEADERS)
        }
        token = _bearer_token(headers)
        if token is not None and not _is_admin(request.path):
            claims = self._claims(token)
            if claims is None:
                return _UNAUTHORIZED
            headers |= _principal_headers(claims, self.names)
        return await rest(replace(request, headers=headers))

    def _claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token, or None if it is invalid."""
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            return jwt.decode(
                token,
                next(key for key in self.keys if key.key_id == key_id),
                algorithms=["RS256"],
                audience=self.audience,
                issuer=self.issuer,
                options={"require": ["exp", "aud", "iss"]},
            )
        except (jwt.InvalidTokenError, StopIteration, RecursionError):
            return None


def _bearer_token(headers: Mapping[str, str]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _is_admin(path: str) -> bool:
    # The platform's own calls to these endpoints have bearer tokens that are not a user's.
    return f"{path.lower()}/".startswith("/admin/")


def _principal_headers(claims: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    document = {
        "auth_typ": "aad",
        "claims": [
            {"typ": names.get(name, name), "val": value}
            for name, values in claims.items()
            for value in _texts(values)
        ],
        "name_typ": f"{_XML_SOAP}/emailaddress",
        "role_typ": _ROLE,
    }
    headers = {
        "x-ms-client-principal": base64.b64encode(json.dumps(document).encode()).decode(),
        "x-ms-client-principal-idp": "aad",
    }
    for name, claim in (("id", "oid"), ("name", "preferred_username")):
        if claim in claims:
            headers[f"x-ms-client-principal-{name}"] = str(claims[claim])
    return headers


def _texts(values: object) -> list[str]:
    """A claim's values as texts. The principal has one claim for each value of a list."""
    items = values if isinstance(values, list) else [values]
    return [item if isinstance(item, str) else json.dumps(item) for item in items]
