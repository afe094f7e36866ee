"""Access tokens for your users, in your own server or bot, reused until they must be refreshed."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.request import Request, urlopen

# Returns the headers that authenticate your server.
Authenticate = Callable[[], dict[str, str]]


def with_key(key: str) -> Authenticate:
    """Authenticate with a function key of create_identity_with_token, from your settings."""
    return lambda: {"x-functions-key": key}


def with_entra(credential: Any, application: str) -> Authenticate:
    """Authenticate without a key, if the service has `SERVICE_AUTHENTICATION=entra`.

    Args:
        credential: A credential of azure-identity, such as `ManagedIdentityCredential()`. It caches
            its tokens. Its identity needs the roles Identities.Manage and Tokens.Issue.
        application: The client id of the service's app registration.
    """
    scope = f"api://{application}/.default"
    return lambda: {"Authorization": f"Bearer {credential.get_token(scope).token}"}


def refresher(
    service: str, authenticate: Authenticate, now: Callable[[], float] = time.time
) -> Callable[[str], str]:
    """Return a function from a user id to an access token that is valid for at least ten minutes.

    Args:
        service: URL of the identity service, without `/api`.
        authenticate: `with_key(…)` or `with_entra(…)`.
        now: The clock.
    """
    url, cache = f"{service}/api/identities/with-token", dict[str, dict[str, Any]]()

    def token_for(user_id: str) -> str:
        issued = cache.get(user_id)
        if not issued or now() >= datetime.fromisoformat(issued["refreshAfter"]).timestamp():
            body = json.dumps({"userId": user_id, "scopes": ["chat"]}).encode()
            with urlopen(Request(url, body, authenticate()), timeout=15) as response:
                issued = cache[user_id] = json.load(response)
        return str(issued["token"])

    return token_for
