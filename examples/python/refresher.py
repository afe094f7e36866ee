"""Access tokens for your users, from your own server or bot: each asked for anew only when due."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.request import Request, urlopen


def refresher(service: str, key: str, now: Callable[[], float] = time.time) -> Callable[[str], str]:
    """A function from a user's id to an access token that is good for ten minutes at least.

    Args:
        service: where the identity service is, without `/api`.
        key: a function key of create_identity_with_token; it belongs in your server's settings.
        now: the clock.
    """
    url, kept = f"{service}/api/identities/with-token", dict[str, dict[str, Any]]()

    def token_for(user_id: str) -> str:
        answer = kept.get(user_id)
        if not answer or now() >= datetime.fromisoformat(answer["refreshAfter"]).timestamp():
            body = json.dumps({"userId": user_id, "scopes": ["chat"]}).encode()
            with urlopen(Request(url, body, {"x-functions-key": key}), timeout=15) as response:
                answer = kept[user_id] = json.load(response)
        return str(answer["token"])

    return token_for
