"""One user's identity as its only caller knows it, and which responses are right. No I/O."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

SCOPES = ["chat", "voip"]
# Seconds within which every response must come.
DEADLINE = 10.0
# Statuses by which the app reports a failure of something else; 0 means no response.
FAILURES = {0, 429, 502, 503, 504}
# A deleted identity may be purged at any time: the sweep runs all the time.
_GONE = {"identity_not_found", "identity_deleted"}
_BUSY = "identity_busy"
# This many busy responses in a row mean that a purge was interrupted.
MAX_BUSY = 4
_PROBLEM_FIELDS = {"type", "title", "status", "code", "detail"}


def user_id(number: int) -> str:
    """Return the id of a user of the soak; numbers begin at 1."""
    return f"user-{number}@example.com"


class State(Enum):
    """What the user has."""

    NOTHING = "no identity"
    ACTIVE = "an identity"
    DELETED = "a deleted or purged identity"


@dataclass(frozen=True)
class Response:
    """A response; `status` is 0 if there was none."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def code(self) -> str:
        """The problem's code; empty for a success."""
        return str(self.body.get("code", ""))


@dataclass(frozen=True)
class Request:
    """A request."""

    operation: str
    method: str
    path: str
    body: object = None


@dataclass
class User:
    """A user with exactly one caller.

    Attributes:
        tokens: Tokens that were issued and must work.
        dead_tokens: Tokens that must not work any more.
        pending: The operation that failed last. It may have happened or may still happen: it is
            retried, and nothing else is requested, until `faults_are_over`.
        is_known: Whether the last response showed the result of the pending operation.
        busy: Number of consecutive responses with `identity_busy`.
        is_gone: ACS must have deleted the identity, though the app cannot be sure for an hour.
    """

    user_id: str
    state: State = State.NOTHING
    identity_id: str = ""
    tokens: list[str] = field(default_factory=list)
    dead_tokens: list[str] = field(default_factory=list)
    pending: str = ""
    is_known: bool = True
    busy: int = 0
    is_gone: bool = False

    def next_request(self, random: Random) -> Request:
        """Return what to request next."""
        return self._request(self.pending or random.choice(_CHOICES[self.state]))

    def faults_are_over(self) -> None:
        """Note that no earlier request is still in progress."""
        if self.is_known:
            self.pending = ""

    @property
    def must_wait(self) -> bool:
        """Whether a purge was interrupted: nothing can be requested until a sweep finishes it."""
        return self.is_gone or self.busy >= MAX_BUSY

    def check(self, request: Request, response: Response, allowed: Collection[int]) -> str:
        """Update the user's state; return what is wrong with the response, or nothing.

        `allowed` are the failures that the faults during the call may have caused.
        """
        if response.seconds > DEADLINE:
            return f"it took {response.seconds:.1f} s"
        if response.status >= 400 and not (  # noqa: PLR2004 -- as HTTP numbers them
            response.body.keys() >= _PROBLEM_FIELDS and response.code
        ):
            return "it is not a problem document"
        if self._waits_for_purge(request, response, allowed):
            return ""
        self.busy = 0
        if response.status in FAILURES:
            self.pending, self.is_known = request.operation, False
            if response.status in allowed:
                return ""
            return f"{response.status} {response.code} without a reason"
        wrong = _CHECKS[request.operation](self, response)
        self.is_known = True
        return wrong and f"{response.status} {response.code}: {wrong}"

    def _waits_for_purge(
        self, request: Request, response: Response, allowed: Collection[int]
    ) -> bool:
        """Whether the identity is being purged and the request had no effect.

        If ACS deleted the identity and the response was lost, this lasts an hour: until then "not
        found" proves nothing.
        """
        if self.state is State.ACTIVE and self.is_known:
            return False
        if response.code == _BUSY:
            self.busy += 1
            return True
        unsure = (request.operation, response.code) == ("purge_identity", "acs_unavailable")
        self.is_gone = unsure and response.status not in allowed
        return self.is_gone

    def _request(self, operation: str) -> Request:
        method, path, fields = _REQUESTS[operation]
        values = {"userId": self.user_id, "scopes": SCOPES}
        body = {name: values[name] for name in fields} or None
        return Request(operation, method, path.format(id=self.identity_id, user=self.user_id), body)

    def created(self, response: Response) -> str:
        """Check a creation: it returns the user's one identity, new or existing."""
        if response.status not in (200, 201):
            return self._refused(response)
        before, known, found = self.state, self.identity_id, str(response.body.get("id", ""))
        is_new = response.status == 201  # noqa: PLR2004 -- Created
        if not found:
            return "no identity"
        self.state, self.identity_id = State.ACTIVE, found
        if found != known:
            self._invalidate_tokens()
        if token := response.body.get("token"):
            self.tokens.append(str(token))
        if before is State.ACTIVE and (is_new or found != known):
            return "a second identity for one user"
        if before is State.DELETED and found == known:
            return "a deleted identity became active without a restore"
        if before is State.NOTHING and not is_new and self.is_known:
            return "an existing identity that was never created"
        return ""

    def issued(self, response: Response) -> str:
        """Check a token: it is this identity's. If the identity is deleted, it must not work."""
        if response.status != 200:  # noqa: PLR2004 -- OK
            return self._refused(response)
        token = str(response.body.get("token", ""))
        if not (token and self._is_mine(response)):
            return "not a token of this identity"
        (self.tokens if self.state is State.ACTIVE else self.dead_tokens).append(token)
        return ""

    def revoked(self, response: Response) -> str:
        """Check a revocation, which is also right for a deleted identity."""
        if response.status != 204:  # noqa: PLR2004 -- No Content
            return self._refused(response)
        self._invalidate_tokens()
        return ""

    def got(self, response: Response) -> str:
        """Check a read of the identity."""
        if response.status != 200 or self.state is not State.ACTIVE:  # noqa: PLR2004 -- OK
            return self._refused(response)
        return "" if self._is_mine(response) else "another identity"

    def listed(self, response: Response) -> str:
        """Check the list of the user's identities: one that is active, or none that is."""
        if response.status != 200:  # noqa: PLR2004 -- OK
            return "no list"
        listed = response.body.get("value", [])
        ids = [each.get("id") for each in listed if each.get("state") == "active"]
        expected = [self.identity_id] if self.state is State.ACTIVE else []
        return "" if ids == expected else f"it lists {len(ids)}, not {len(expected)}"

    def deleted(self, response: Response) -> str:
        """Check a deletion, which may be repeated."""
        may_be_gone = self.state is State.DELETED or not self.is_known
        if response.status == 202 and self.state is not State.NOTHING:  # noqa: PLR2004 -- Accepted
            self.state = State.DELETED
            self._invalidate_tokens()
            return ""
        return self._refused(response, may_be_gone=may_be_gone)

    def got_deleted(self, response: Response) -> str:
        """Check a read of the deleted identity, which may be purged."""
        if self.state is State.ACTIVE:
            return "" if response.code == "identity_not_found" else "it is not deleted"
        if response.status == 200:  # noqa: PLR2004 -- OK
            return "" if self._is_mine(response) else "another identity"
        return self._refused(response)

    def restored(self, response: Response) -> str:
        """Check a restore."""
        if response.status != 200:  # noqa: PLR2004 -- OK
            return self._refused(response)
        self.state = State.ACTIVE
        return "" if self._is_mine(response) else "another identity"

    def purged(self, response: Response) -> str:
        """Check a purge, which an active identity refuses."""
        if self.state is State.ACTIVE:
            return "" if response.code == "identity_not_deleted" else "it is not deleted"
        if response.status == 204:  # noqa: PLR2004 -- No Content
            self.state = State.NOTHING
            return ""
        return self._refused(response)

    def _refused(self, response: Response, *, may_be_gone: bool = False) -> str:
        """Check a refusal: it is right only if the identity is deleted or purged."""
        is_active = self.state is State.ACTIVE and not may_be_gone
        if is_active or response.code not in _GONE:
            return f"with {self.state.value}"
        if response.code == "identity_not_found":
            self.state = State.NOTHING
            self._invalidate_tokens()
        return ""

    def _invalidate_tokens(self) -> None:
        self.dead_tokens += self.tokens
        self.tokens = []

    def _is_mine(self, response: Response) -> bool:
        return response.body.get("id") == self.identity_id


# Method, path and fields of the body.
_REQUESTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "create_identity": ("POST", "identities", ("userId",)),
    "create_identity_with_token": ("POST", "identities/with-token", ("userId", "scopes")),
    "issue_token": ("POST", "identities/{id}/tokens", ("scopes",)),
    "revoke_tokens": ("DELETE", "identities/{id}/tokens", ()),
    "get_identity": ("GET", "identities/{id}", ()),
    "list_identities": ("GET", "identities?userId={user}", ()),
    "delete_identity": ("DELETE", "identities/{id}", ()),
    "get_deleted_identity": ("GET", "deleted-identities/{id}", ()),
    "restore_identity": ("POST", "deleted-identities/{id}/restore", ()),
    "purge_identity": ("DELETE", "deleted-identities/{id}", ()),
}
_CHECKS = {
    "create_identity": User.created,
    "create_identity_with_token": User.created,
    "issue_token": User.issued,
    "revoke_tokens": User.revoked,
    "get_identity": User.got,
    "list_identities": User.listed,
    "delete_identity": User.deleted,
    "get_deleted_identity": User.got_deleted,
    "restore_identity": User.restored,
    "purge_identity": User.purged,
}
_CHOICES = {
    State.NOTHING: ["create_identity", "create_identity_with_token"],
    State.ACTIVE: [
        *["issue_token"] * 6,
        *["get_identity", "list_identities", "create_identity", "revoke_tokens"],
        *["create_identity_with_token", "get_deleted_identity", "purge_identity"],
        *["delete_identity"] * 2,
    ],
    State.DELETED: [
        *["restore_identity"] * 4,
        *["issue_token", "get_identity", "list_identities", "create_identity", "delete_identity"],
        *["get_deleted_identity", "purge_identity", "revoke_tokens"],
    ],
}
