"""Access tokens for your users, in your own server or bot, reused until they must be refreshed."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.request import Request, urlopen


def refresher(service: str, key: str, now: Callable[[], float] = time.time) -> Callable[[str], str]:
    """Return a function from a user id to an access token that is valid for at least ten minutes.

    Args:
        service: URL of the identity service, without `/api`.
        key: A function key of create_identity_with_token. Store it in your server's settings.
        now: The clock.
    """
    url, cache = f"{service}/api/identities/with-token", dict[str, dict[str, Any]]()

    def token_for(user_id: str) -> str:
        issued = cache.get(user_id)
        if not issued or now() >= datetime.fromisoformat(issued["refreshAfter"]).timestamp():
            body = json.dumps({"userId": user_id, "scopes": ["chat"]}).encode()
            with urlopen(Request(url, body, {"x-functions-key": key}), timeout=15) as response:
                issued = cache[user_id] = json.load(response)
        return str(issued["token"])

    return token_for
