"""What must hold after each decision, and at the end of each schedule."""

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from identity_service.errors import IdentityNotFound, ServiceError
from identity_service.identity import Actor, Identity, State, UserRow
from identity_service.schemas import DeletionResponse, IdentityResponse, IssuedTokenResponse
from tests.exploration.operation import ANSWERED, Progress, Received, Response
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
# A creation without a user whose last step was on its way when its caller got another response, or
# whose response to that step was lost.
UNREPORTED = "active, and its caller did not get it"
# Nobody finds what these create unless their caller gets it.
WITHOUT_USER = ("create", "create with token")

LIVING = (State.ACTIVE, State.SUSPENDED, State.DELETED)
MARKED = (State.SUSPENDED, State.DELETED)
# After the success of one of these, nothing that was sent before it may change the identity's row.
FINAL = (
    *("suspend", "resume", "delete", "restore", "delete by user", "restore by user"),
    *("register", "register for user", "register for other user"),
)
_NEVER = datetime.min.replace(tzinfo=UTC)
# No two operations read the same second.
CLOCKS_DIFFER = timedelta(seconds=10)


class InvariantViolated(Exception):
    """Something happened that must never happen."""


class Mark(NamedTuple):
    """A deletion or a suspension.

    Attributes:
        identity_id: The identity.
        state: Which of the two.
        date: When it was written.
        by: Who has deleted it, or has repeated the deletion of a user.
    """

    identity_id: str
    state: State
    date: datetime
    by: Actor = Actor.SERVICE

    @classmethod
    def all_of(cls, row: Identity) -> "Iterator[Mark]":
        """The marks that the row has. A deletion keeps a suspension."""
        if row.suspended_on:
            yield cls(row.id, State.SUSPENDED, row.suspended_on)
        if row.state is State.DELETED and row.deleted_on:
            yield cls(row.id, State.DELETED, row.deleted_on, row.deleter)

    @classmethod
    def returned(cls, title: str, value: object) -> "Mark | None":
        """The mark that an operation returned, if it is one that marks an identity."""
        if isinstance(value, DeletionResponse):
            by = Actor.USER if title.endswith("by user") else Actor.SERVICE
            return cls(value.id, State.DELETED, value.deleted_on, by)
        if title.endswith("suspend") and isinstance(value, IdentityResponse):
            return cls(value.id, State.SUSPENDED, value.suspended_on or _NEVER)
        return None

    def __str__(self) -> str:
        return "suspension" if self.state is State.SUSPENDED else "deletion"


class History(NamedTuple):
    """What happened so far, as far as the invariants need it.

    Attributes:
        permitted: Valid tokens whose identity was not deleted or suspended when they were issued,
            or at some time since.
        revocable: Valid tokens that existed when their identity was marked, so that this mark must
            revoke them.
        seen: Which operation read which identity as active, if it was not deleted since.
        marks: The deletions and suspensions that were recorded.
        returned: Those of them that an operation has returned and that nothing has undone.
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
    revocable: frozenset[tuple[str, State, datetime, str]] = frozenset()
    seen: frozenset[tuple[str, str]] = frozenset()
    marks: frozenset[Mark] = frozenset()
    returned: frozenset[Mark] = frozenset()
    late_user_rows: frozenset[str] = frozenset()
    left_user_rows: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    overtaken: frozenset[tuple[str, str]] = frozenset()
    settled: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def start(cls, snapshot: Snapshot) -> "History":
        """The history of the snapshot in which a scenario starts."""
        marks = frozenset(mark for row in snapshot.rows for mark in Mark.all_of(row))
        revoked = {(row.id, row.state) for row in snapshot.rows if row.revoked}
        return cls(
            permitted=frozenset(token for token, _ in snapshot.tokens),
            revocable=frozenset(
                (*mark[:3], token) for mark in marks for token in _tokens(mark[0], snapshot)
            ),
            marks=marks,
            returned=frozenset(mark for mark in marks if mark[:2] in revoked),
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
            history._check_restore(title, old, row)
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
        self, progress: Progress, response: Response, late: Collection[str], snapshot: Snapshot
    ) -> "History":
        """The history after an operation received the response, while calls are late."""
        history, operation = self, progress.operation
        mark = Mark.returned(operation.title, progress.result and progress.result.value)
        marked = snapshot.row(mark.identity_id) if mark else None
        if mark and marked and mark[:3] in [one[:3] for one in Mark.all_of(marked)]:
            history = history._replace(returned=history.returned | {mark})
        row = response.value
        if isinstance(row, Identity) and row.state is State.ACTIVE:
            history = history._replace(seen=history.seen | {(operation.name, row.id)})
        if late and len(progress.received) == 1 and operation.title in FINAL:
            overtaken = history.overtaken | {(call_id, operation.name) for call_id in late}
            history = history._replace(overtaken=overtaken)
        if history.overtaken and progress.result:
            history = history._with_result(progress, progress.result)
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
        title = progress.operation.title.split(THEN)[-1]
        if result.error:
            if not issubclass(result.error, ServiceError):
                raise InvariantViolated(f"{result.error.__name__} escaped: {result.detail}")
            row = snapshot.row(identity_id)
            is_hidden = result.error is IdentityNotFound and row and row.state is State.ACTIVE
            if title == "issue" and is_hidden:
                raise InvariantViolated(f"{identity_id} is active, and issue does not find it")
            return
        mark = Mark.returned(title, result.value)
        if mark:
            self._check_mark(mark, snapshot)
        elif title.startswith("restore") and result.value.state is State.SUSPENDED:
            self._check_revoked(result.value.id, snapshot)
        elif title == "purge":
            if snapshot.row(identity_id) or identity_id in snapshot.identities:
                raise InvariantViolated(f"the purge of {identity_id} returned, and it still exists")
        elif isinstance(result.value, IssuedTokenResponse):
            self._check_token(result.value, snapshot)
        _check_row(title, result, snapshot)

    def _check_deleted_in_acs(self, title: str, before: Snapshot, after: Snapshot) -> None:
        for gone in sorted(before.identities - after.identities):
            row = before.row(gone)
            foreign = row and row.state in (State.REGISTERING, State.SUSPENDED)
            if gone in self.elsewhere or foreign:
                raise InvariantViolated(f"{title} deleted {gone} in ACS, which is not ours")

    def _check_mark(self, mark: Mark, snapshot: Snapshot) -> None:
        row = snapshot.row(mark.identity_id)
        # ACS denied that it has the identity, so its row was removed. It may be marked again.
        is_removed = mark.identity_id in self.ended
        is_marked_again = is_removed and row and row.state in MARKED and not row.adopted
        if not {mark, mark._replace(by=Actor.SERVICE)} & self.marks and not is_marked_again:
            raise InvariantViolated(f"a {mark} of {mark.identity_id} returned, and is not recorded")
        for *marked, token in sorted(self.revocable, key=str):
            if tuple(marked) == mark[:3]:
                raise InvariantViolated(
                    f"the {mark} of {mark.identity_id} returned, and {token} is still valid"
                )

    def _check_revoked(self, identity_id: str, snapshot: Snapshot) -> None:
        for token in sorted(_tokens(identity_id, snapshot) & self.permitted):
            raise InvariantViolated(f"{identity_id} counts as revoked, and {token} is still valid")

    def _check_restore(self, title: str, old: Identity | None, new: Identity) -> None:
        """What a service has deleted, its user cannot restore."""
        if old is None or old.state is not State.DELETED or not title.endswith("restore by user"):
            return
        marks = {mark for mark in self.returned if mark[:2] == (old.id, State.DELETED)}
        if old.deleter is Actor.SERVICE or any(mark.by is Actor.SERVICE for mark in marks):
            raise InvariantViolated(f"a service has deleted {new.id}, and its user restored it")

    def _check_token(self, issued: IssuedTokenResponse, snapshot: Snapshot) -> None:
        is_valid = (issued.token, issued.id) in snapshot.tokens
        if is_valid and issued.token not in self.permitted:
            raise InvariantViolated(
                f"{issued.token} was returned, and {issued.id} is deleted or suspended"
            )

    def _with_tokens(self, before: Snapshot, after: Snapshot) -> "History":
        valid = {token for token, _ in after.tokens}
        permitted = set(self.permitted & valid)
        for token, identity_id in after.tokens - before.tokens:
            row = before.row(identity_id)
            if row is None or row.state in (State.CREATING, State.REGISTERING, State.ACTIVE):
                permitted.add(token)
        revocable = frozenset(one for one in self.revocable if one[3] in valid)
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
        tokens = _tokens(new.id, snapshot)
        if new.state is State.ACTIVE:
            history = history._replace(permitted=self.permitted | tokens)
        if new.state is State.DELETED:
            history = history._replace(seen=frozenset(one for one in self.seen if one[1] != new.id))
        if new.state in MARKED and new.revoked:
            history._check_revoked(new.id, snapshot)
        marks = set(Mark.all_of(new))
        known, kept = ({mark[:3] for mark in each} for each in (self.marks, marks))
        added = {mark for mark in marks if mark[:3] not in known}
        return history._replace(
            revocable=self.revocable | {(*mark[:3], token) for mark in added for token in tokens},
            marks=self.marks | marks,
            returned=frozenset(
                mark
                for mark in self.returned
                if mark.identity_id != new.id or new.state is State.PURGING or mark[:3] in kept
            ),
        )

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
        elif old.state in MARKED:
            if not old.adopted and old.id in snapshot.identities:
                raise InvariantViolated(
                    f"{title} removed the row of {old.id}, which is {old.state}"
                )
            if old.id in snapshot.identities:
                # ACS denied that it has the identity. So its marks must not be returned.
                for mark in self.returned & set(Mark.all_of(old)):
                    raise InvariantViolated(f"{title} removed the row of {old.id} after its {mark}")
                history = history._replace(
                    elsewhere=self.elsewhere | {old.id},
                    marks=self.marks - set(Mark.all_of(old)),
                    permitted=self.permitted | _tokens(old.id, snapshot),
                )
        return history._replace(
            returned=frozenset(mark for mark in history.returned if mark.identity_id != old.id)
        )

    def _with_result(self, progress: Progress, result: Response) -> "History":
        own = {one for one in self.overtaken if one[1] == progress.operation.name}
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


def _tokens(identity_id: str, snapshot: Snapshot) -> set[str]:
    """The valid tokens of the identity."""
    return {token for token, owner in snapshot.tokens if owner == identity_id}


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
    if title.endswith("by user") and old.user_id != USER:
        raise InvariantViolated(f"{title} changed {new.id}, which is somebody else's")
    if (old.created_on, old.known_on) != (new.created_on, new.known_on):
        raise InvariantViolated(f"{title} changed the age of {new.id}")
    if old.state is State.PURGING is not new.state:
        raise InvariantViolated(f"{new.id} was being purged, and is {new.state} again")
    _check_marks(title, old, new)
    if old.state is new.state:
        return
    if old.scheduled_purge_on and new.state is State.PURGING and "sweep" in title:
        if title == "held sweep":
            raise InvariantViolated(f"purges are on hold, and a sweep purges {new.id}")
        if old.scheduled_purge_on > snapshot.now + CLOCKS_DIFFER:
            raise InvariantViolated(f"a sweep purges {new.id} before its time")


def _check_marks(title: str, old: Identity, new: Identity) -> None:
    """Only a restore undoes a deletion, and only a resume lifts a suspension."""
    if old.suspended_on and not new.suspended_on and "resume" not in title:
        raise InvariantViolated(f"{new.id} was suspended, and {title} lifted that")
    if (new.state is State.SUSPENDED and not new.suspended_on) or (
        new.state is State.ACTIVE and new.suspended_on
    ):
        raise InvariantViolated(f"{title} made {new.id} {new.state}, contrary to its date")
    undone = {State.DELETED: "restore", State.SUSPENDED: "resume"}.get(old.state, "")
    is_undone = old.state is not new.state and new.state in (State.ACTIVE, State.SUSPENDED)
    if is_undone and undone not in title:
        raise InvariantViolated(f"{new.id} was {old.state}, and {title} made it {new.state}")
    if old.state is State.SUSPENDED and new.state is State.PURGING:
        raise InvariantViolated(f"{new.id} was suspended, and {title} purges it")


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
        *_check_reported(snapshot, operations),
        *_check_user_rows(snapshot, history, operations),
    ]


def _check_rows(snapshot: Snapshot) -> None:
    for row in sorted(snapshot.rows, key=lambda row: row.id):
        is_finished = row.state is State.SUSPENDED and row.revoked
        if row.state is not State.ACTIVE and not is_finished:
            raise InvariantViolated(f"{row.id} is {row.state} and forgotten")
        if row.id not in snapshot.identities:
            raise InvariantViolated(f"{row.id} is {row.state}, and ACS has no such identity")
    due = {row.due_entry for row in snapshot.rows if row.due_entry}
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


def _check_reported(snapshot: Snapshot, operations: Iterable[Progress]) -> Iterator[str]:
    """What was created without a user is returned to a caller who waits, or purged."""
    for progress in operations:
        if progress.operation.title not in WITHOUT_USER:
            continue
        is_got = progress.result and not progress.result.error and not progress.is_answered
        created = next((one for one in progress.received if one.call_id), None)
        row = created and snapshot.row(f"identity-{created.call_id}")
        if not row or is_got:
            continue
        if not _was_on_its_way(progress):
            raise InvariantViolated(f"{row.id} is {row.state}, and no caller got it")
        yield UNREPORTED


def _was_on_its_way(progress: Progress) -> bool:
    """Whether a creation sent its last step before its caller got another response.

    Or the response to this step was lost.
    """
    names = [one.name for one in progress.received]
    if progress.is_answered:
        return "insert" in names[: names.index(ANSWERED)]
    return any(one.name == "update" and one.response.error for one in progress.received)


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
    rest = [(one.name, bool(one.response.error)) for one in received[1:] if one.name != ANSWERED]
    if not rest and progress.is_killed:
        return KILLED_NEXT
    unrecorded = rest[:1] == [("insert", True)]
    # What comes after that are other steps of an operation that consists of several.
    undeleted = rest[1:2] == [("delete", True)] or (len(rest) == 1 and progress.is_killed)
    return UNDELETABLE if unrecorded and undeleted else None
