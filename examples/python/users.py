"""Stands for your own users and your own sign-in. Everything is in memory."""

import hashlib
import hmac
import secrets
import threading
import uuid
from dataclasses import dataclass, field


class Refused(Exception):
    """The request is refused with this HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(eq=False)
class User:
    """A user.

    Attributes:
        id: For the identity service. A name can be changed, or given to another user.
        has_identity: Whether the user has an identity, or a request for it has been sent.
        must_revoke: Whether the user's access tokens still have to be revoked.
    """

    name: str
    salt: bytes
    password: bytes
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    has_identity: bool = False
    must_revoke: bool = False


class Users:
    """Users and their sessions. Threads can share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: dict[str, User] = {}
        self._sessions: dict[str, User] = {}

    def sign_up(self, name: str, password: str) -> None:
        """Create a user."""
        user = User(name, *_hash(password))
        with self._lock:
            if self._users.setdefault(name, user) is not user:
                raise Refused(409, "The name is taken")

    def sign_in(self, name: str, password: str) -> str:
        """Return a new session."""
        with self._lock:
            user = self._users.get(name, _NOBODY)
        _check(user, password)
        session = secrets.token_urlsafe()
        with self._lock:
            self._sessions[session] = user
        return session

    def signed_in(self, session: str) -> User:
        """Return the user of the session."""
        with self._lock:
            user = self._sessions.get(session)
        if not user:
            raise Refused(401, "Sign in first")
        return user

    def change_password(self, session: str, password: str, new_password: str) -> User:
        """Change the password, end the user's other sessions, and mark the tokens."""
        user = self.signed_in(session)
        _check(user, password)
        with self._lock:
            user.salt, user.password = _hash(new_password)
            user.must_revoke = user.has_identity
            self._end_sessions(user, but=session)
        return user

    def sign_out(self, session: str) -> User:
        """End the session. If it was the user's last one, mark the tokens."""
        user = self.signed_in(session)
        with self._lock:
            self._sessions.pop(session, None)
            if user not in self._sessions.values():
                user.must_revoke = user.has_identity
        return user

    def remove(self, user: User) -> None:
        """Remove the user and end the sessions."""
        with self._lock:
            self._users.pop(user.name, None)
            self._end_sessions(user)

    def _end_sessions(self, user: User, but: str = "") -> None:
        ended = [key for key, each in self._sessions.items() if each is user and key != but]
        for key in ended:
            del self._sessions[key]


def _hash(password: str, salt: bytes | None = None) -> tuple[bytes, bytes]:
    salt = salt or secrets.token_bytes(16)
    return salt, hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


def _check(user: User, password: str) -> None:
    if not hmac.compare_digest(_hash(password, user.salt)[1], user.password):
        raise Refused(401, "The name or the password is wrong")


# Takes as long to check as a user, so that the time does not say which names exist.
_NOBODY = User("", *_hash(secrets.token_urlsafe()))
