"""What must hold after each decision, and at the end of each schedule."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from identity_service.errors import ServiceError
from identity_service.identity import DueEntry, Identity, State
from identity_service.schemas import IssuedTokenResponse
from tests.exploration.operation import Progress, Received, Response
from tests.exploration.world import Snapshot

# The only ways in which an identity may be lost; docs/cleanup.md lists them.
RESPONSE_LOST = "the response to its creation was lost"
KILLED_NEXT = "killed before the next call"
UNDELETABLE = "neither recorded nor deleted in ACS"
# What a creation that was suspended and then killed may leave: a user row without an identity.
DANGLING_USER_ROW = "a user row without an identity"


class InvariantViolated(Exception):
    """Something happened that must never happen."""


class History(NamedTuple):
    """What happened so far, as far as the invariants need it.

    Attributes:
        permitted: Valid tokens whose identity was not deleted when they were issued, or at some
            time since.
        revocable: Valid tokens that existed when their identity was deleted, so that this deletion
            must revoke them: the identity, the date of the deletion, the token.
        seen: Which operation read which identity as active, if it was not deleted since.
        deletions: The deletions that were recorded: the identity and the date.
        late_user_rows: Identities that had already ended when a user row was written for them.
    """

    permitted: frozenset[str] = frozenset()
    revocable: frozenset[tuple[str, object, str]] = frozenset()
    seen: frozenset[tuple[str, str]] = frozenset()
    deletions: frozenset[tuple[str, object]] = frozenset()
    late_user_rows: frozenset[str] = frozenset()

    @classmethod
    def start(cls, snapshot: Snapshot) -> "History":
        """The history of the snapshot in which a scenario starts."""
        deleted = {row.id: row.deleted_on for row in snapshot.rows if row.deleted_on}
        return cls(
            permitted=frozenset(token for token, _ in snapshot.tokens),
            revocable=frozenset(
                (owner, deleted[owner], token)
                for token, owner in snapshot.tokens
                if owner in deleted
            ),
            deletions=frozenset(deleted.items()),
            late_user_rows=frozenset(
                user.identity_id for user in snapshot.users if not snapshot.row(user.identity_id)
            ),
        )

    def after_change(self, title: str, before: Snapshot, after: Snapshot) -> "History":
        """The history after an operation has changed the snapshot.

        Raises:
            InvariantViolated: a user has two identities, or an ended identity came back.
        """
        history = self
        if after.tokens != before.tokens:
            history = history._with_tokens(before, after)
        for row in after.rows - before.rows:
            old = before.row(row.id)
            _check_transition(title, old, row)
            history = history._with_row(old, row, after)
        for user in after.users - before.users:
            named = after.row(user.identity_id)
            if named is None or named.state is State.PURGING:
                late = history.late_user_rows | {user.identity_id}
                history = history._replace(late_user_rows=late)
        return history

    def after_response(self, operation: str, response: Response) -> "History":
        """The history after the operation received the response."""
        row = response.value
        if isinstance(row, Identity) and row.state is State.ACTIVE:
            return self._replace(seen=self.seen | {(operation, row.id)})
        return self

    def check_result(self, progress: Progress, snapshot: Snapshot, identity_id: str) -> None:
        """Check what the operation returned, if it has just returned.

        Raises:
            InvariantViolated: it must not return that now.
        """
        result = progress.result
        if result is None:
            return
        if result.error:
            if not issubclass(result.error, ServiceError):
                raise InvariantViolated(f"{result.error.__name__} escaped: {result.detail}")
        elif progress.operation.title == "delete":
            self._check_deletion(result)
        elif progress.operation.title == "purge":
            if snapshot.row(identity_id) or identity_id in snapshot.identities:
                raise InvariantViolated(f"the purge of {identity_id} returned, and it still exists")
        elif isinstance(result.value, IssuedTokenResponse):
            self._check_token(result.value, snapshot)

    def _check_deletion(self, result: Response) -> None:
        identity_id, deleted_on = result.value.id, result.value.deleted_on
        if (identity_id, deleted_on) not in self.deletions:
            raise InvariantViolated(f"a deletion of {identity_id} returned that was not recorded")
        for deleted_id, date, token in sorted(self.revocable, key=str):
            if (deleted_id, date) == (identity_id, deleted_on):
                raise InvariantViolated(
                    f"the deletion of {identity_id} returned, and {token} is still valid"
                )

    def _check_token(self, issued: IssuedTokenResponse, snapshot: Snapshot) -> None:
        is_valid = (issued.token, issued.id) in snapshot.tokens
        if is_valid and issued.token not in self.permitted:
            raise InvariantViolated(f"{issued.token} was returned, and {issued.id} is deleted")

    def _with_tokens(self, before: Snapshot, after: Snapshot) -> "History":
        valid = {token for token, _ in after.tokens}
        permitted = set(self.permitted & valid)
        for token, identity_id in after.tokens - before.tokens:
            row = before.row(identity_id)
            if row is None or row.state in (State.CREATING, State.ACTIVE):
                permitted.add(token)
        revocable = frozenset(one for one in self.revocable if one[2] in valid)
        return self._replace(permitted=frozenset(permitted), revocable=revocable)

    def _with_row(self, old: Identity | None, new: Identity, snapshot: Snapshot) -> "History":
        tokens = {token for token, identity_id in snapshot.tokens if identity_id == new.id}
        if new.state is State.ACTIVE:
            _check_only_active(new, snapshot)
            return self._replace(permitted=self.permitted | tokens)
        if new.state is State.DELETED and (old is None or old.state is not State.DELETED):
            return self._replace(
                revocable=self.revocable | {(new.id, new.deleted_on, token) for token in tokens},
                seen=frozenset(one for one in self.seen if one[1] != new.id),
                deletions=self.deletions | {(new.id, new.deleted_on)},
            )
        return self


def _check_transition(title: str, old: Identity | None, new: Identity) -> None:
    if old is None or old.state is new.state:
        return
    if old.state is State.PURGING:
        raise InvariantViolated(f"{new.id} was being purged, and is {new.state} again")
    if old.state is State.DELETED and new.state is State.ACTIVE and title != "restore":
        raise InvariantViolated(f"{new.id} was deleted, and {title} made it active")


def _check_only_active(row: Identity, snapshot: Snapshot) -> None:
    for other in snapshot.rows:
        both = other.id != row.id and other.state is State.ACTIVE
        if row.user_id and both and other.user_id == row.user_id:
            raise InvariantViolated(f"{row.id} and {other.id} are active and of the same user")


def check_end(snapshot: Snapshot, history: History, operations: Collection[Progress]) -> list[str]:
    """Check the end of a schedule. Returns the kind of each loss; each is a permitted one.

    Raises:
        InvariantViolated: anything else is lost or left over.
    """
    _check_rows(snapshot)
    _check_results(snapshot, history, operations)
    lost = snapshot.identities - {row.id for row in snapshot.rows} - _untouched(history)
    return [
        *(_kind_of_loss(identity_id, operations) for identity_id in lost),
        *_check_user_rows(snapshot, history),
    ]


def _untouched(history: History) -> set[str]:
    """The identities that were created elsewhere and that no operation has recorded."""
    return {"identity-elsewhere"} - {identity_id for identity_id, _ in history.deletions}


def _check_rows(snapshot: Snapshot) -> None:
    for row in sorted(snapshot.rows, key=lambda row: row.id):
        if row.state is not State.ACTIVE:
            raise InvariantViolated(f"{row.id} is {row.state} and forgotten")
        if row.id not in snapshot.identities:
            raise InvariantViolated(f"{row.id} is active, and ACS has no such identity")
    due = {DueEntry(row.due, row.id, row.due_kind) for row in snapshot.rows if row.due}
    if snapshot.entries != due:
        raise InvariantViolated("the due entries do not match the identity rows")
    users = [row.user_id for row in snapshot.rows if row.user_id]
    if len(users) != len(set(users)):
        raise InvariantViolated("a user has two identities")


def _check_results(snapshot: Snapshot, history: History, operations: Iterable[Progress]) -> None:
    for progress in operations:
        if progress.result is None or progress.result.error:
            continue
        operation = progress.operation
        returned = getattr(progress.result.value, "id", None)
        row = snapshot.row(returned) if returned else None
        if (operation.name, returned) in history.seen and row is None:
            raise InvariantViolated(f"{operation.title} returned {returned}, and it is gone")
        if operation.title == "sweep" and progress.result.value.purged > _removals(progress):
            raise InvariantViolated(f"{operation.name} reports a purge that it did not do")


def _removals(progress: Progress) -> int:
    return sum(one.name == "remove" and not one.response.error for one in progress.received)


def _check_user_rows(snapshot: Snapshot, history: History) -> Iterator[str]:
    named = {user.user_id: user.identity_id for user in snapshot.users}
    for row in snapshot.rows:
        if row.user_id and named.get(row.user_id) != row.id:
            raise InvariantViolated(f"{row.id} has a user, and the user row does not name it")
    for user_id, identity_id in named.items():
        identity = snapshot.row(identity_id)
        if identity and identity.user_id != user_id:
            raise InvariantViolated(f"a user row names {identity_id}, which is not the user's")
        if identity is None:
            if identity_id not in history.late_user_rows:
                raise InvariantViolated(f"a user row names {identity_id}, which is gone")
            yield DANGLING_USER_ROW


def _kind_of_loss(identity_id: str, operations: Iterable[Progress]) -> str:
    """How the identity was lost.

    Raises:
        InvariantViolated: in no permitted way.
    """
    call_id = identity_id.removeprefix("identity-")
    for progress in operations:
        ids = [one.call_id for one in progress.received]
        if call_id in ids:
            kind = _permitted(progress, progress.received[ids.index(call_id) :])
            if kind:
                return kind
    raise InvariantViolated(f"{identity_id} is in ACS and has no row")


def _permitted(progress: Progress, received: tuple[Received, ...]) -> str | None:
    if received[0].response.error:
        return RESPONSE_LOST
    rest = [(one.name, bool(one.response.error)) for one in received[1:]]
    if not rest and progress.is_killed:
        return KILLED_NEXT
    unrecorded = rest[:1] == [("insert", True)]
    undeleted = rest[1:] == [("delete", True)] or (len(rest) == 1 and progress.is_killed)
    return UNDELETABLE if unrecorded and undeleted else None
