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
# ACS's "not found" proves nothing for an hour, so what asks ACS about an identity fails if a purge
# has deleted it there and lost the response.
_UNSURE = "acs_unavailable"
_BUSY = "identity_busy"
_PROBLEM_FIELDS = {"type", "title", "status", "code", "detail"}


def user_id(number: int) -> str:
    """Return the id of a user of the soak; numbers begin at 1."""
    return f"user-{number}@example.com"


class State(Enum):
    """What the user has."""

    NOTHING = "no identity"
    ACTIVE = "an identity"
    SUSPENDED = "a suspended identity"
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
        is_suspended: Whether it is suspended, which a deletion and a restore keep.
        tokens: Tokens that were issued and must work.
        dead_tokens: Tokens that must not work any more.
        gone: Identities that ACS must have deleted, because the app can no longer find them.
        pending: The operation that failed last. It may have happened or may still happen: it is
            retried, and nothing else is requested, until `faults_are_over`.
        is_known: Whether the last response showed the result of the pending operation.
        met_purge: Whether a creation failed because a purge released the user meanwhile. A purge
            does that once.
    """

    user_id: str
    state: State = State.NOTHING
    identity_id: str = ""
    is_suspended: bool = False
    tokens: list[str] = field(default_factory=list)
    dead_tokens: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    pending: str = ""
    is_known: bool = True
    met_purge: bool = False

    def next_request(self, random: Random) -> Request:
        """Return what to request next."""
        return self._request(self.pending or random.choice(_CHOICES[self.state]))

    def faults_are_over(self) -> None:
        """Note that no earlier request is still in progress."""
        if self.is_known:
            self.pending = ""

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
        if self._meets_purge(request, response, allowed):
            return ""
        if response.status in FAILURES:
            self.pending, self.is_known = request.operation, False
            if response.status in allowed:
                return ""
            return f"{response.status} {response.code} without a reason"
        wrong = _CHECKS[request.operation](self, response)
        self.is_known = True
        return wrong and f"{response.status} {response.code}: {wrong}"

    def _meets_purge(self, request: Request, response: Response, allowed: Collection[int]) -> bool:
        """Whether a purge explains the failure without a fault. Note what it shows.

        A purge that releases the user while a creation replaces the user row makes that creation
        fail without an effect. A purge whose response was lost makes the identity unknown to ACS.
        """
        if response.code == _BUSY and request.operation.startswith("create_identity"):
            is_first, self.met_purge = not (self._is_alive or self.met_purge), True
            return is_first
        may_be_purged = self.state is State.DELETED or self.pending == "delete_identity"
        if response.code != _UNSURE or response.status in allowed or not may_be_purged:
            return False
        self.gone.append(self.identity_id)
        self.state, self.pending, self.is_known = State.NOTHING, "", True
        self._invalidate_tokens()
        return True

    def _request(self, operation: str) -> Request:
        method, path, fields = _REQUESTS[operation]
        values = {"userId": self.user_id, "scopes": SCOPES}
        body = {name: values[name] for name in fields} or None
        return Request(operation, method, path.format(id=self.identity_id, user=self.user_id), body)

    def created(self, response: Response) -> str:
        """Check a creation: it returns the user's one identity, new or existing."""
        if self.state is State.SUSPENDED:
            return _unless_suspended(response)
        if response.status not in (200, 201):
            return self._refused(response)
        before, known, found = self.state, self.identity_id, str(response.body.get("id", ""))
        if not found:
            return "no identity"
        self.state, self.identity_id = State.ACTIVE, found
        if found != known:
            self._invalidate_tokens()
            self.is_suspended = self.met_purge = False
        if token := response.body.get("token"):
            self.tokens.append(str(token))
        return self._impossible(before, response.status == 201, found == known)  # noqa: PLR2004 -- Created

    def _impossible(self, before: State, is_new: bool, is_same: bool) -> str:
        """Why the user cannot have this identity, or nothing."""
        if before is State.ACTIVE and (is_new or not is_same):
            return "a second identity for one user"
        if before is State.DELETED and is_same:
            return "a deleted identity became active without a restore"
        if before is State.NOTHING and not is_new and self.is_known:
            return "an existing identity that was never created"
        return ""

    def issued(self, response: Response) -> str:
        """Check a token: it is this identity's. If the identity is deleted, it must not work."""
        if self.state is State.SUSPENDED:
            return _unless_suspended(response)
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
        if response.status != 200 or not self._is_alive:  # noqa: PLR2004 -- OK
            return self._refused(response)
        return self._unlike(response)

    def listed(self, response: Response) -> str:
        """Check the list of the user's identities: the one that it has, and no other."""
        if response.status != 200:  # noqa: PLR2004 -- OK
            return "no list"
        listed = response.body.get("value", [])
        living = [each for each in listed if each.get("state") in ("active", "suspended")]
        if len(living) != self._is_alive:
            return f"it lists {len(living)}, not {self._is_alive:d}"
        return self._unlike(Response(200, living[0])) if living else ""

    def suspended(self, response: Response) -> str:
        """Check a suspension, which may be repeated."""
        if response.status != 200 or not self._is_alive:  # noqa: PLR2004 -- OK
            return self._refused(response)
        self.state, self.is_suspended = State.SUSPENDED, True
        self._invalidate_tokens()
        return self._unlike(response)

    def resumed(self, response: Response) -> str:
        """Check a resumption, which may be repeated."""
        if response.status != 200 or not self._is_alive:  # noqa: PLR2004 -- OK
            return self._refused(response)
        self.state, self.is_suspended = State.ACTIVE, False
        return self._unlike(response)

    def deleted(self, response: Response) -> str:
        """Check a deletion, which may be repeated."""
        may_be_gone = self.state is State.DELETED or not self.is_known
        if response.status == 202 and self.state is not State.NOTHING:  # noqa: PLR2004 -- Accepted
            self.state = State.DELETED
            self._invalidate_tokens()
            return _unless_by_service(response)
        return self._refused(response, may_be_gone=may_be_gone)

    def got_deleted(self, response: Response) -> str:
        """Check a read of the deleted identity, which may be purged."""
        if self._is_alive:
            return "" if response.code == "identity_not_found" else "it is not deleted"
        if response.status == 200:  # noqa: PLR2004 -- OK
            return _unless_by_service(response) if self._is_mine(response) else "another identity"
        return self._refused(response)

    def restored(self, response: Response) -> str:
        """Check a restore, which brings a suspended identity back as suspended."""
        if response.status != 200:  # noqa: PLR2004 -- OK
            return self._refused(response)
        self.state = State.SUSPENDED if self.is_suspended else State.ACTIVE
        return self._unlike(response)

    def purged(self, response: Response) -> str:
        """Check a purge, which needs a deletion."""
        if self._is_alive:
            return "" if response.code == "identity_not_deleted" else "it is not deleted"
        if response.status == 204:  # noqa: PLR2004 -- No Content
            self.state = State.NOTHING
            return ""
        return self._refused(response)

    @property
    def _is_alive(self) -> bool:
        return self.state in (State.ACTIVE, State.SUSPENDED)

    def _refused(self, response: Response, *, may_be_gone: bool = False) -> str:
        """Check a refusal: it is right only if the identity is deleted or purged."""
        is_alive = self._is_alive and not may_be_gone
        if is_alive or response.code not in _GONE:
            return f"with {self.state.value}"
        if response.code == "identity_not_found":
            self.state = State.NOTHING
            self._invalidate_tokens()
        return ""

    def _invalidate_tokens(self) -> None:
        self.dead_tokens += self.tokens
        self.tokens = []

    def _unlike(self, response: Response) -> str:
        """What differs from the user's living identity, or nothing."""
        if not self._is_mine(response):
            return "another identity"
        if response.body.get("state") != self.state.name.lower():
            return f"it is {response.body.get('state')}"
        has_date = "suspendedOn" in response.body
        return "" if has_date is self.is_suspended else "suspendedOn does not fit"

    def _is_mine(self, response: Response) -> bool:
        return response.body.get("id") == self.identity_id


def _unless_suspended(response: Response) -> str:
    return "" if response.code == "identity_suspended" else "it is suspended"


def _unless_by_service(response: Response) -> str:
    """All callers are services."""
    return "" if response.body.get("deletedBy") == "service" else "deletedBy is not service"


# Method, path and fields of the body.
_REQUESTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "create_identity": ("POST", "identities", ("userId",)),
    "create_identity_with_token": ("POST", "identities/with-token", ("userId", "scopes")),
    "issue_token": ("POST", "identities/{id}/tokens", ("scopes",)),
    "revoke_tokens": ("DELETE", "identities/{id}/tokens", ()),
    "get_identity": ("GET", "identities/{id}", ()),
    "list_identities": ("GET", "identities?userId={user}", ()),
    "suspend_identity": ("POST", "identities/{id}/suspend", ()),
    "resume_identity": ("POST", "identities/{id}/resume", ()),
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
    "suspend_identity": User.suspended,
    "resume_identity": User.resumed,
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
        *["suspend_identity", "resume_identity"],
        *["delete_identity"] * 2,
    ],
    State.SUSPENDED: [
        *["resume_identity"] * 4,
        *["issue_token", "get_identity", "list_identities", "create_identity", "suspend_identity"],
        *["create_identity_with_token", "get_deleted_identity", "purge_identity", "revoke_tokens"],
        *["delete_identity"] * 2,
    ],
    State.DELETED: [
        *["restore_identity"] * 4,
        *["issue_token", "get_identity", "list_identities", "create_identity", "delete_identity"],
        *["get_deleted_identity", "purge_identity", "revoke_tokens"],
        *["suspend_identity", "resume_identity"],
    ],
}
