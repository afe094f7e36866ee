"""What is right to answer: one user's identity as its only caller knows it. Nothing here waits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

SCOPES = ["chat", "voip"]
# Seconds within which every answer comes.
PROMISE = 10.0
# The answers that say that something else fails; 0 is no answer.
FAILURES = {0, 429, 502, 503, 504}
# What is deleted may be purged at any time: the sweep runs all the time.
_GONE = {"identity_not_found", "identity_deleted"}
_BUSY = "identity_busy"
# Answered so often in a row, it is no purge that goes well.
CUT_SHORT = 4
_MEMBERS = {"type", "title", "status", "code", "detail"}


def user_id(number: int) -> str:
    """The soak's users, from 1."""
    return f"user-{number}@example.com"


class State(Enum):
    """What the user has."""

    NOTHING = "no identity"
    ACTIVE = "an identity"
    DELETED = "a deleted identity, or by now none"


@dataclass(frozen=True)
class Answer:
    """What came back; `status` is 0 where nothing did."""

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def code(self) -> str:
        """The problem's code; empty for a success."""
        return str(self.body.get("code", ""))


@dataclass(frozen=True)
class Step:
    """One request."""

    operation: str
    method: str
    path: str
    body: object = None


@dataclass
class Subject:
    """A user, whom nobody else works on.

    Attributes:
        tokens: Those that came out and were not revoked since.
        dead_tokens: Those that must not work any more.
        pending: The operation that failed last. It may have happened, and may happen yet: until
            `calm`, nothing but the same is asked for.
        is_known: Whether the last answer told what has become of it.
        busy: How often in a row it was answered that the identity is changing.
        is_gone: ACS must have it no more, though the app cannot be sure of that for an hour.
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

    def next(self, dice: Random) -> Step:
        """What to ask next."""
        return self._step(self.pending or dice.choice(_CHOICES[self.state]))

    def calm(self) -> None:
        """Nothing that was begun is still under way."""
        if self.is_known:
            self.pending = ""

    @property
    def has_to_wait(self) -> bool:
        """Whether a purge was cut short: until it is finished, nothing else can be asked for."""
        return self.is_gone or self.busy >= CUT_SHORT

    def judge(self, step: Step, answer: Answer, excused: Collection[int]) -> str:
        """What is wrong with the answer, in words; empty where it is right. It is remembered.

        `excused` are the failures that were caused while the call was under way.
        """
        if answer.seconds > PROMISE:
            return f"it took {answer.seconds:.1f} s"
        if answer.status >= 400 and not (answer.body.keys() >= _MEMBERS and answer.code):  # noqa: PLR2004 -- as HTTP numbers them
            return "it is no problem document"
        if self._waits(step, answer, excused):
            return ""
        self.busy = 0
        if answer.status in FAILURES:
            self.pending, self.is_known = step.operation, False
            return "" if answer.status in excused else f"{answer.status} {answer.code} unprovoked"
        wrong = _RIGHT[step.operation](self, answer)
        self.is_known = True
        return wrong and f"{answer.status} {answer.code}: {wrong}"

    def _waits(self, step: Step, answer: Answer, excused: Collection[int]) -> bool:
        """Whether it is being purged, and the user is told to wait, with nothing done.

        An hour, where ACS deleted it and the answer was lost: so long "not found" proves nothing.
        """
        if self.state is State.ACTIVE and self.is_known:
            return False
        if answer.code == _BUSY:
            self.busy += 1
            return True
        unsure = (step.operation, answer.code) == ("purge_identity", "acs_unavailable")
        self.is_gone = unsure and answer.status not in excused
        return self.is_gone

    def _step(self, operation: str) -> Step:
        method, path, members = _REQUESTS[operation]
        known = {"userId": self.user_id, "scopes": SCOPES}
        body = {name: known[name] for name in members} or None
        return Step(operation, method, path.format(id=self.identity_id, user=self.user_id), body)

    def created(self, answer: Answer) -> str:
        """The user's one identity, new or found."""
        if answer.status not in (200, 201):
            return self._refused(answer)
        before, known, found = self.state, self.identity_id, str(answer.body.get("id", ""))
        is_new = answer.status == 201  # noqa: PLR2004 -- Created
        if not found:
            return "no identity"
        self.state, self.identity_id = State.ACTIVE, found
        if found != known:
            self._bury()
        if token := answer.body.get("token"):
            self.tokens.append(str(token))
        if before is State.ACTIVE and (is_new or found != known):
            return "a second identity for one user"
        if before is State.DELETED and found == known:
            return "a deleted identity came back by itself"
        if before is State.NOTHING and not is_new and self.is_known:
            return "an identity that nobody had made"
        return ""

    def issued(self, answer: Answer) -> str:
        """A token of this identity. One that came out beside its purge is dead."""
        if answer.status != 200:  # noqa: PLR2004 -- OK
            return self._refused(answer)
        token = str(answer.body.get("token", ""))
        if not (token and self._is_it(answer)):
            return "not a token of this identity"
        (self.tokens if self.state is State.ACTIVE else self.dead_tokens).append(token)
        return ""

    def revoked(self, answer: Answer) -> str:
        """No token works any more. The tokens of a deleted identity may be revoked again."""
        if answer.status != 204:  # noqa: PLR2004 -- No Content
            return self._refused(answer)
        self._bury()
        return ""

    def got(self, answer: Answer) -> str:
        """The identity."""
        if answer.status != 200 or self.state is not State.ACTIVE:  # noqa: PLR2004 -- OK
            return self._refused(answer)
        return "" if self._is_it(answer) else "another identity"

    def listed(self, answer: Answer) -> str:
        """The user's identities: one or none."""
        if answer.status != 200:  # noqa: PLR2004 -- OK
            return "no list"
        ids = [each.get("id") for each in answer.body.get("value", [])]
        expected = [self.identity_id] if self.state is State.ACTIVE else []
        return "" if ids == expected else f"it lists {len(ids)}, not {len(expected)}"

    def deleted(self, answer: Answer) -> str:
        """Deleted now, or before."""
        may_be_gone = self.state is State.DELETED or not self.is_known
        if answer.status == 202 and self.state is not State.NOTHING:  # noqa: PLR2004 -- Accepted
            self.state = State.DELETED
            self._bury()
            return ""
        return self._refused(answer, may_be_gone=may_be_gone)

    def got_deleted(self, answer: Answer) -> str:
        """The deleted identity, as long as it is there."""
        if self.state is State.ACTIVE:
            return "" if answer.code == "identity_not_found" else "it is not deleted"
        if answer.status == 200:  # noqa: PLR2004 -- OK
            return "" if self._is_it(answer) else "another identity"
        return self._refused(answer)

    def restored(self, answer: Answer) -> str:
        """Active again."""
        if answer.status != 200:  # noqa: PLR2004 -- OK
            return self._refused(answer)
        self.state = State.ACTIVE
        return "" if self._is_it(answer) else "another identity"

    def purged(self, answer: Answer) -> str:
        """Gone for ever, unless it is active."""
        if self.state is State.ACTIVE:
            return "" if answer.code == "identity_not_deleted" else "it is not deleted"
        if answer.status == 204:  # noqa: PLR2004 -- No Content
            self.state = State.NOTHING
            return ""
        return self._refused(answer)

    def _refused(self, answer: Answer, *, may_be_gone: bool = False) -> str:
        """Right only where the identity is deleted, or gone."""
        if self.state is State.ACTIVE and not may_be_gone:
            return f"with {self.state.value}"
        if answer.code not in _GONE:
            return f"with {self.state.value}"
        if answer.code == "identity_not_found":
            self.state = State.NOTHING
            self._bury()
        return ""

    def _bury(self) -> None:
        self.dead_tokens += self.tokens
        self.tokens = []

    def _is_it(self, answer: Answer) -> bool:
        return answer.body.get("id") == self.identity_id


# How each is asked for, and the members of its body.
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
_RIGHT = {
    "create_identity": Subject.created,
    "create_identity_with_token": Subject.created,
    "issue_token": Subject.issued,
    "revoke_tokens": Subject.revoked,
    "get_identity": Subject.got,
    "list_identities": Subject.listed,
    "delete_identity": Subject.deleted,
    "get_deleted_identity": Subject.got_deleted,
    "restore_identity": Subject.restored,
    "purge_identity": Subject.purged,
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
