"""What must hold after each decision, and at the end of each schedule."""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from typing import NamedTuple

from identity_service.errors import ServiceError
from identity_service.identity import DueEntry, Identity, State, UserRow
from identity_service.schemas import IssuedTokenResponse
from tests.exploration.operation import Progress, Received, Response
from tests.exploration.world import THEN, USER, Snapshot

# The only ways in which an identity may be lost; docs/cleanup.md lists them.
RESPONSE_LOST = "the response to its creation was lost"
KILLED_NEXT = "killed before the next call"
UNDELETABLE = "neither recorded nor deleted in ACS"
# What a creation or a registration that others have overtaken may leave, if it then fails or is
# killed: a user row that names an identity without a row, or another user's.
DANGLING_USER_ROW = "a user row without an identity"
# What an unregister that was killed, or whose last response was lost, may leave.
USER_ROW_LEFT = "a user row that unregister did not remove"

LIVING = (State.ACTIVE, State.DELETED)
# After the success of one of these, nothing that was sent before it may change the identity's row.
FINAL = ("delete", "restore", "register", "register for user", "register for other user")
# No two operations read the same second.
CLOCKS_DIFFER = timedelta(seconds=10)


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
        late_user_rows: Identities that had already ended, or were another user's, when a user row
            was written for them.
        left_user_rows: Identities whose row an unregister has removed before their user row.
        ended: Identities whose row was removed.
        elsewhere: Identities in ACS that rightly have no row: they were created elsewhere or were
            unregistered.
        overtaken: Late calls, and the operations that started after their callers had given up.
        settled: Late calls that must not change an identity any more: such an operation succeeded.
    """

    permitted: frozenset[str] = frozenset()
    revocable: frozenset[tuple[str, object, str]] = frozenset()
    seen: frozenset[tuple[str, str]] = frozenset()
    deletions: frozenset[tuple[str, object]] = frozenset()
    late_user_rows: frozenset[str] = frozenset()
    left_user_rows: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    overtaken: frozenset[tuple[str, str]] = frozenset()
    settled: frozenset[tuple[str, str]] = frozenset()

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
                user.identity_id for user in snapshot.users if not _counts(user, snapshot)
            ),
            elsewhere=snapshot.identities - {row.id for row in snapshot.rows},
        )

    def after_change(self, title: str, before: Snapshot, after: Snapshot) -> "History":
        """The history after an operation has changed the snapshot.

        Raises:
            InvariantViolated: a user has two identities, an ended identity came back, or somebody's
                identity was deleted.
        """
        history = self
        if after.identities != before.identities:
            self._check_deleted_in_acs(title, before, after)
        if after.tokens != before.tokens:
            history = history._with_tokens(before, after)
        for row in after.rows - before.rows:
            old = before.row(row.id)
            _check_transition(title, old, row, after)
            history = history._with_row(old, row, after)
        for row in before.rows - after.rows:
            if not after.row(row.id):
                history = history._without_row(title, row, after)
        for user in after.users - before.users:
            named = after.row(user.identity_id)
            if not _counts(user, after) and (named or user.identity_id in history.ended):
                late = history.late_user_rows | {user.identity_id}
                history = history._replace(late_user_rows=late)
        return history

    def after_response(
        self, progress: Progress, response: Response, late: Collection[str]
    ) -> "History":
        """The history after an operation received the response, while calls are late."""
        history, operation = self, progress.operation
        row = response.value
        if isinstance(row, Identity) and row.state is State.ACTIVE:
            history = history._replace(seen=history.seen | {(operation.name, row.id)})
        if late and len(progress.received) == 1 and operation.title in FINAL:
            overtaken = history.overtaken | {(call_id, operation.name) for call_id in late}
            history = history._replace(overtaken=overtaken)
        if history.overtaken and progress.result:
            history = history._with_result(operation.name, progress.result)
        return history

    def after_arrival(self, call_id: str, before: Snapshot, after: Snapshot) -> "History":
        """The history after a late call took effect.

        Raises:
            InvariantViolated: it changed an identity about which a later operation has succeeded.
        """
        for settled, identity_id in sorted(self.settled):
            if settled == call_id and before.row(identity_id) != after.row(identity_id):
                raise InvariantViolated(
                    f"{call_id} was sent before an operation that has succeeded, and changed"
                    f" {identity_id} after it"
                )
        return self._replace(
            overtaken=frozenset(one for one in self.overtaken if one[0] != call_id),
            settled=frozenset(one for one in self.settled if one[0] != call_id),
        )

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
            return
        title = progress.operation.title.split(THEN)[-1]
        if title == "delete":
            self._check_deletion(result, snapshot)
        elif title == "purge":
            if snapshot.row(identity_id) or identity_id in snapshot.identities:
                raise InvariantViolated(f"the purge of {identity_id} returned, and it still exists")
        elif isinstance(result.value, IssuedTokenResponse):
            self._check_token(result.value, snapshot)
        _check_row(title, result, snapshot)

    def _check_deleted_in_acs(self, title: str, before: Snapshot, after: Snapshot) -> None:
        for gone in sorted(before.identities - after.identities):
            row = before.row(gone)
            if gone in self.elsewhere or (row and row.state is State.REGISTERING):
                raise InvariantViolated(f"{title} deleted {gone} in ACS, which is not ours")

    def _check_deletion(self, result: Response, snapshot: Snapshot) -> None:
        identity_id, deleted_on = result.value.id, result.value.deleted_on
        row = snapshot.row(identity_id)
        is_deleted_again = row and row.state is State.DELETED and not row.adopted
        if (identity_id, deleted_on) not in self.deletions and not is_deleted_again:
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
            if row is None or row.state in (State.CREATING, State.REGISTERING, State.ACTIVE):
                permitted.add(token)
        revocable = frozenset(one for one in self.revocable if one[2] in valid)
        return self._replace(permitted=frozenset(permitted), revocable=revocable)

    def _with_row(self, old: Identity | None, new: Identity, snapshot: Snapshot) -> "History":
        history = self
        if old is None or old.state is not new.state:
            history = history._replace(
                settled=frozenset(one for one in self.settled if one[1] != new.id),
                elsewhere=self.elsewhere - {new.id},
            )
        if new.state in LIVING:
            _check_only_living(new, snapshot)
        tokens = {token for token, identity_id in snapshot.tokens if identity_id == new.id}
        if new.state is State.ACTIVE:
            return history._replace(permitted=self.permitted | tokens)
        if new.state is State.DELETED and (old is None or old.state is not State.DELETED):
            return history._replace(
                revocable=self.revocable | {(new.id, new.deleted_on, token) for token in tokens},
                seen=frozenset(one for one in self.seen if one[1] != new.id),
                deletions=self.deletions | {(new.id, new.deleted_on)},
            )
        return history

    def _without_row(self, title: str, old: Identity, snapshot: Snapshot) -> "History":
        """The history after an operation has removed the row."""
        history = self._replace(
            ended=self.ended | {old.id},
            settled=frozenset(one for one in self.settled if one[1] != old.id),
        )
        if old.state in (State.ACTIVE, State.REGISTERING):
            if old.state is State.ACTIVE and "unregister" not in title:
                raise InvariantViolated(f"{title} removed the row of {old.id}, which was active")
            history = history._replace(
                elsewhere=self.elsewhere | {old.id},
                seen=frozenset(one for one in self.seen if one[1] != old.id),
            )
            if "unregister" in title:
                history = history._replace(left_user_rows=self.left_user_rows | {old.id})
            if _is_named_again(old, snapshot):
                history = history._replace(late_user_rows=self.late_user_rows | {old.id})
        elif old.state is State.DELETED and old.id in snapshot.identities:
            if not old.adopted:
                raise InvariantViolated(f"{title} removed the row of {old.id}, which is deleted")
            # ACS denied that it has the identity. So the deletion must not succeed.
            history = history._replace(
                elsewhere=self.elsewhere | {old.id},
                deletions=self.deletions - {(old.id, old.deleted_on)},
            )
        return history

    def _with_result(self, name: str, result: Response) -> "History":
        own = {one for one in self.overtaken if one[1] == name}
        settled = set() if result.error else {(one[0], result.value.id) for one in own}
        return self._replace(overtaken=self.overtaken - own, settled=self.settled | settled)


def _check_row(title: str, result: Response, snapshot: Snapshot) -> None:
    """Check the row of the identity that a creation or a registration has just returned."""
    if not title.startswith(("create", "register")):
        return
    row = snapshot.row(result.value.id)
    if row is None or row.state is not State.ACTIVE:
        raise InvariantViolated(f"{title} returned {result.value.id}, which is not active")
    if title.endswith("for user") and row.user_id != USER:
        raise InvariantViolated(f"{title} returned {row.id}, which is somebody else's")


def _counts(user: UserRow, snapshot: Snapshot) -> bool:
    named = snapshot.row(user.identity_id)
    return named is not None and named.belongs_to(user.user_id)


def _is_named_again(removed: Identity, snapshot: Snapshot) -> bool:
    """Whether an operation of this schedule has written a user row that names the identity.

    It may have done so after the remover had read the user row. The ETag of a row that existed
    before does not begin with a letter in upper case.
    """
    return any(
        user.identity_id == removed.id and user.etag[:1].isupper() for user in snapshot.users
    )


def _check_transition(title: str, old: Identity | None, new: Identity, snapshot: Snapshot) -> None:
    if old is None:
        return
    if old.user_id != new.user_id:
        raise InvariantViolated(f"{title} gave {new.id} to another user")
    if old.state is new.state:
        return
    if old.state is State.PURGING:
        raise InvariantViolated(f"{new.id} was being purged, and is {new.state} again")
    if old.state is State.DELETED and new.state is State.ACTIVE and "restore" not in title:
        raise InvariantViolated(f"{new.id} was deleted, and {title} made it active")
    if old.scheduled_purge_on and new.state is State.PURGING and "sweep" in title:
        if title == "held sweep":
            raise InvariantViolated(f"purges are on hold, and a sweep purges {new.id}")
        if old.scheduled_purge_on > snapshot.now + CLOCKS_DIFFER:
            raise InvariantViolated(f"a sweep purges {new.id} before its time")


def _check_only_living(row: Identity, snapshot: Snapshot) -> None:
    for other in snapshot.rows:
        both = other.id != row.id and other.state in LIVING
        if row.user_id and both and other.user_id == row.user_id:
            raise InvariantViolated(f"{row.id} and {other.id} are of the same user")


def check_end(snapshot: Snapshot, history: History, operations: Collection[Progress]) -> list[str]:
    """Check the end of a schedule. Returns the kind of each loss; each is a permitted one.

    Raises:
        InvariantViolated: anything else is lost or left over.
    """
    _check_rows(snapshot)
    _check_results(snapshot, history, operations)
    lost = snapshot.identities - {row.id for row in snapshot.rows} - history.elsewhere
    return [
        *(_kind_of_loss(identity_id, operations) for identity_id in lost),
        *_check_user_rows(snapshot, history, operations),
    ]


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


def _check_user_rows(
    snapshot: Snapshot, history: History, operations: Collection[Progress]
) -> Iterator[str]:
    named = {user.user_id: user.identity_id for user in snapshot.users}
    for row in snapshot.rows:
        if row.user_id and named.get(row.user_id) != row.id:
            raise InvariantViolated(f"{row.id} has a user, and the user row does not name it")
    for user in snapshot.users:
        if _counts(user, snapshot):
            continue
        if user.identity_id in history.left_user_rows and any(map(_is_unfinished, operations)):
            yield USER_ROW_LEFT
        elif user.identity_id in history.late_user_rows:
            yield DANGLING_USER_ROW
        else:
            whose = "another user's" if snapshot.row(user.identity_id) else "gone"
            raise InvariantViolated(f"a user row names {user.identity_id}, which is {whose}")


def _is_unfinished(progress: Progress) -> bool:
    """Whether it is an unregister that has not received the response to its last step."""
    title = progress.operation.title
    if title in ("unregister", "unregister for user"):
        return progress.is_killed or progress.result is None or bool(progress.result.error)
    return "unregister" in title and not any(
        one.name == "remove_user" and not one.response.error for one in progress.received
    )


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
