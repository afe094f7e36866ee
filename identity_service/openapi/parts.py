"""What stands in the OpenAPI document whatever the operations are."""

from typing import Any

from identity_service.model import IdentityId
from identity_service.openapi.schemas import Json, inline

DESCRIPTION = """\
Identities of Azure Communication Services and their access tokens.

Services bring a function key, signed-in users the bearer token of their sign-in. Bodies are JSON of
at most 16 KiB and are sent with a Content-Length; a member that is not known is refused. What goes
wrong comes back as a problem (RFC 9457), whose `type` leads to its cause and its remedy.

What stands in front of the app answers some requests by itself, without a body: 401 where the key
is missing or wrong or a bearer token is not good, 404 where no operation has this path and method,
400, 413, 414 and 431 for what is no request or too long a one.
"""

_SERVICE = {"name": "Service", "description": "About this service itself."}
_TAGS = {
    "identities": {"name": "Identities", "description": "Identities and their access tokens."},
    "deleted-identities": {
        "name": "Deleted identities",
        "description": "What is deleted can be restored until it is purged.",
    },
    "teams": {"name": "Teams", "description": "Access tokens for users of Teams."},
    "me": {"name": "Me", "description": "A signed-in user's own identity and tokens."},
}
TAGS = [*_TAGS.values(), _SERVICE]

PARAMETERS: Json = {
    "id": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The identity.",
        "schema": inline(IdentityId),
    }
}

HEADERS: Json = {
    "CacheControl": {
        "description": "No answer is for a cache.",
        "required": True,
        "schema": {"type": "string", "const": "no-store"},
    },
    "Location": {
        "description": "Where the new identity is.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "RetryAfter": {
        "description": "Ask again after so many seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "RetryAfterIfKnown": {
        "description": "Ask again after so many seconds. Without it: after a second, then slower.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Authenticate": {
        "description": "How to sign in.",
        "required": True,
        "schema": {"type": "string", "const": "Bearer"},
    },
}

SECURITY_SCHEMES: Json = {
    "functionKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-functions-key",
        "description": "The function's own key, or a host key, which opens every function.",
    },
    "functionKeyInQuery": {
        "type": "apiKey",
        "in": "query",
        "name": "code",
        "description": "The same key. Addresses end up in logs: prefer the header.",
    },
    "signIn": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A user's Entra token for this app. App Service Authentication checks it.",
    },
}

KEY_REFUSED: Json = {
    "description": "The key is missing or wrong. The Functions host says so, without a body."
}

SUCCESS = {
    200: "Done.",
    201: "A new identity.",
    202: "Deleted, and its tokens revoked. It can be restored until it is purged.",
    204: "Done; there is nothing to say.",
    503: "Something does not answer.",
}


def tag(path: str) -> str:
    """The tag of an operation, by where it is."""
    return _TAGS.get(path.split("/", maxsplit=1)[0], _SERVICE)["name"]


def header(name: str) -> Json:
    """Where a header stands."""
    return {"$ref": f"#/components/headers/{name}"}


def answer(description: str, headers: Json, content: Json | None = None) -> Json:
    """An answer of ours: whatever it says, no cache keeps it."""
    whole: dict[str, Any] = {
        "description": description,
        "headers": {"Cache-Control": header("CacheControl"), **headers},
    }
    return {**whole, "content": content} if content else whole
