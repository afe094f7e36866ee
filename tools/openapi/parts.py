"""The fixed parts of the OpenAPI document."""

from http import HTTPStatus
from typing import Any

from identity_service.schemas import PROBLEMS, IdentityId, ObjectId, TenantId
from tools.openapi.json_schemas import Json, inline

_RETRY = f"{PROBLEMS}#when-to-retry"

DESCRIPTION = f"""\
Identities of Azure Communication Services and their access tokens.

Services send a function key or, with `SERVICE_AUTHENTICATION=entra`, the bearer token of an
application that has app roles. Signed-in users send the bearer token of their sign-in. Bodies are
JSON, at most 16 KiB (512 KiB for an import), with a Content-Length. Unknown fields are refused.
Errors are problems (RFC 9457); the `type` of a problem links to its cause and its fix.

When to repeat a request: as `Retry-After` says. Without it, after 500, 502, 503 and 504 only, first
after a second and then more slowly. The rule in full: {_RETRY}.

The platform in front of the app responds to some requests itself. Such a response is not a problem:
its body is empty or, for some 503, a short text or an HTML page.

- 401 if the key is missing or wrong, or if the bearer token is invalid or has expired
- 404 if no operation has this path and method
- 400, 414 or 431 if the request is malformed or too long
- 500 if the body is cut off or larger than the platform's limit, or if the app's process has ended
- 503 while no instance of the app can respond
"""

_SERVICE = {"name": "Service", "description": "About this service itself."}
_TAGS = {
    "identities": {"name": "Identities", "description": "Identities and their access tokens."},
    "deleted-identities": {
        "name": "Deleted identities",
        "description": "A deleted identity can be restored until it is purged.",
    },
    "teams": {"name": "Teams", "description": "Access tokens for users of Teams."},
    "teams/access": {
        "name": "Teams Phone access",
        "description": "Who may use the ACS resource with their own Entra sign-in.",
    },
    "me": {"name": "Me", "description": "A signed-in user's own identity and tokens."},
}
TAGS = [*_TAGS.values(), _SERVICE]

PARAMETERS: Json = {
    name: {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": inline(kind),
    }
    for name, description, kind in (
        ("id", "The identity.", IdentityId),
        ("tenantId", "The Entra tenant.", TenantId),
        ("objectId", "The user or the resource account.", ObjectId),
    )
}

HEADERS: Json = {
    "CacheControl": {
        "description": "Responses must not be cached.",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
    "CacheControlOfApp": {
        "description": "Responses must not be cached. The platform does not send this header.",
        "schema": {"type": "string", "const": "no-store"},
    },
    "Location": {
        "description": "The URL of the identity, or of the access.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "RetryAfter": {
        "description": "Repeat the request after this many seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "RetryAfterIfKnown": {
        "description": f"Repeat the request after this many seconds. If absent: {_RETRY}.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Authenticate": {
        "description": "How to sign in. The app sends `Bearer`; the platform can add parameters.",
        "schema": {"type": "string", "pattern": "^Bearer"},
    },
}

SECURITY_SCHEMES: Json = {
    "functionKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-functions-key",
        "description": "The key of the function, or a host key, which opens every function.",
    },
    "functionKeyInQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "code",
        "description": "The same key. URLs end up in logs, so prefer the header.",
    },
    "signIn": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A user's Entra token for this app. App Service Authentication checks it.",
    },
    "appRoles": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An application's Entra token for this app, with all app roles that the"
        " operation lists. Instead of the key, with `SERVICE_AUTHENTICATION=entra`.",
    },
}

# What the platform in front of the app sends itself, by status.
FROM_PLATFORM = {
    401: "The platform sends this, with an empty body, if the bearer token is invalid or has"
    " expired.",
    500: "The platform sends this, with an empty body, if the body of the request is cut off or"
    " larger than its limit, or if the app's process has ended.",
    503: "The platform sends this while no instance of the app can respond. Its body is empty, a"
    " short text or an HTML page.",
}
KEY_REFUSED = (
    "The platform sends this, with an empty body, if the key is missing or wrong, or if the bearer"
    " token is invalid or has expired."
)

SUCCESS = {
    200: "Success.",
    201: "The identity is created or registered, or the access is assigned.",
    202: "Deleted, and its tokens are revoked. It can be restored until it is purged.",
    204: "Success, without content.",
    503: "Something is not available.",
}


def tag(path: str) -> str:
    """The tag of the operation at this path."""
    first, _, rest = path.partition("/")
    return _TAGS.get(f"{first}/{rest.partition('/')[0]}", _TAGS.get(first, _SERVICE))["name"]


def header(name: str) -> Json:
    """A reference to a header."""
    return {"$ref": f"#/components/headers/{name}"}


def response(description: str, headers: Json, content: Json | None = None) -> Json:
    """A response of this app. None of them may be cached."""
    whole: dict[str, Any] = {
        "description": description,
        "headers": {"Cache-Control": header("CacheControl"), **headers},
    }
    return {**whole, "content": content} if content else whole


def also_from_platform(response: Json | None, status: int, note: str) -> Json:
    """The response if the platform sends this status too, without the app's headers.

    A 401 has no content: an expired token is its most frequent cause, and then the body is empty.
    OpenAPI cannot say that a body may be empty.
    """
    if response is None:
        return {"description": note}
    if "$ref" in response:
        return response
    headers = {**response["headers"], "Cache-Control": header("CacheControlOfApp")}
    described = {"description": f"{response['description']}\n\n{note}", "headers": headers}
    if status == HTTPStatus.UNAUTHORIZED:
        return described
    return {**response, **described}
