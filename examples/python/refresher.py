"""Access tokens for your users, each reused until it must be refreshed.

    tokens = AccessTokens(Service("https://APP.azurewebsites.net", with_key(key)))
    token = tokens.get("alice").token

Microsoft's clients can refresh with it, for example in a bot. Of azure.communication.chat, and of
azure.communication.chat.aio:

    refresh = partial(tokens.get, "bot")
    CommunicationTokenCredential(refresh().token, token_refresher=refresh)

    refresh_async = partial(asyncio.to_thread, refresh)
    CommunicationTokenCredential(refresh().token, token_refresher=refresh_async)
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from service import Service, ServiceError

# How many requests are sent at the same time.
CONNECTIONS = 16


class AccessToken(NamedTuple):
    """What Microsoft's `AccessToken` has, when to refresh it, and the id of the identity.

    `expires_on` and `refresh_after` are in seconds since 1970.
    """

    token: str
    expires_on: int
    refresh_after: int
    id: str


@dataclass
class _Entry:
    """A user's token, the request for the next one, and the last error with the next try's time."""

    token: AccessToken | None = None
    request: Future[AccessToken] | None = None
    error: ServiceError | None = None
    failures: int = 0
    not_before: float = 0


class AccessTokens:
    """The access tokens of your users. Threads can share it.

    Args:
        service: The identity service.
        scopes: The scopes of every token. For other scopes, create another object.
        users: How many users' tokens are kept. Who asked least recently is dropped first.
    """

    def __init__(
        self, service: Service, scopes: Sequence[str] = ("chat",), users: int = 10_000
    ) -> None:
        self._service, self._scopes, self._users = service, scopes, users
        self._lock, self._entries = threading.Lock(), OrderedDict[str, _Entry]()
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def get(self, user_id: str) -> AccessToken:
        """Return a valid token. The first call for a user creates the user's identity.

        If the service fails, the last token is returned until it expires.

        Raises:
            ServiceError: There is no valid token.
        """
        with self._lock:
            entry, now = self._entry(user_id), self._service.now()
            # In its last second, a token would expire on its way.
            valid = entry.token if entry.token and now < entry.token.expires_on - 1 else None
            if valid and (now < max(valid.refresh_after, entry.not_before) or entry.request):
                return valid
            if entry.error and now < entry.not_before:
                raise entry.error
            # All callers of a user wait for the same request.
            if not entry.request:
                entry.request = self._pool.submit(self._refresh, user_id, entry, valid)
            request = entry.request
        token: AccessToken = self._wait(request, valid)
        return token

    def forget(self, user_id: str) -> None:
        """Drop the user's token. A request that is under way does not bring it back."""
        with self._lock:
            self._entries.pop(user_id, None)

    def revoke(self, user_id: str) -> None:
        """Revoke all of the user's tokens, on every device. The next `get` returns a new one."""
        try:
            self._on_identity(user_id, "/tokens")
        except ServiceError as error:
            # The tokens of a suspended, deleted or lost identity are revoked already.
            if not error.refuses_user:
                raise

    def delete(self, user_id: str) -> None:
        """Delete the user's identity. From now on, this user id gets no token.

        A user without an identity gets one first. It blocks the user id: a token request that is
        under way cannot create an identity that nobody would delete.
        """
        try:
            self._on_identity(user_id, "")
        except ServiceError as error:
            if error.code != "identity_deleted":
                raise

    def _on_identity(self, user_id: str, path: str) -> None:
        def delete() -> None:
            identity = self._service.send("POST", "identities", {"userId": user_id})["id"]
            self._service.send("DELETE", f"identities/{quote(identity)}{path}")

        try:
            self._wait(self._pool.submit(delete))
        finally:
            self.forget(user_id)

    def _wait(self, request: Future[Any], otherwise: Any = None) -> Any:
        try:
            return request.result(self._service.seconds)
        except TimeoutError as error:
            if otherwise:
                return otherwise
            raise ServiceError("The service took too long") from error

    def _entry(self, user_id: str) -> _Entry:
        entry = self._entries.setdefault(user_id, _Entry())
        self._entries.move_to_end(user_id)
        if len(self._entries) > self._users:
            self._entries.popitem(last=False)
        return entry

    def _refresh(self, user_id: str, entry: _Entry, valid: AccessToken | None) -> AccessToken:
        try:
            # With a valid token, nobody has to wait for a second attempt.
            token = self._issue(user_id, attempts=1 if valid else None)
        except ServiceError as error:
            with self._lock:
                if error.refuses_user:
                    entry.token = valid = None
                if error.temporary or valid:
                    entry.error, entry.failures = error, entry.failures + 1
                    entry.not_before = self._service.now() + error.pause(entry.failures)
            if valid:
                return valid
            raise
        else:
            with self._lock:
                entry.token, entry.error, entry.failures, entry.not_before = token, None, 0, 0
            return token
        finally:
            with self._lock:
                entry.request = None

    def _issue(self, user_id: str, attempts: int | None) -> AccessToken:
        body = {"userId": user_id, "scopes": self._scopes}
        issued = self._service.send("POST", "identities/with-token", body, attempts=attempts)
        try:
            expires_on, refresh_after = map(_seconds, (issued["expiresOn"], issued["refreshAfter"]))
            return AccessToken(issued["token"], expires_on, refresh_after, issued["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceError("No valid response: it is not a token") from error


def _seconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp())
