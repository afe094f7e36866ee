"""What a watcher of the whole remembers along a schedule, and what must never be seen."""

from typing import NamedTuple

from identity_service.errors import ServiceError
from identity_service.model import IssuedToken
from identity_service.rows import IdentityRow, State
from tests.exploration.performance import Answer
from tests.exploration.stage import World
from tests.exploration.stand import Stand


class Violated(Exception):
    """Something happened that must never happen."""


class Watch(NamedTuple):
    """What has been seen so far.

    Attributes:
        free: Living tokens whose identity was not deleted, when they were minted or since then.
        marked: Living tokens that were there already when their identity was deleted: the
            identity, the date of the deletion, the token.
        seen: Who saw which identity active, with no deletion of it since.
        deletions: Deletions that were written down: the identity and the date.
        late_claims: Identities that had ended already when a user row was made to name them.
    """

    free: frozenset[str] = frozenset()
    marked: frozenset[tuple[str, object, str]] = frozenset()
    seen: frozenset[tuple[str, str]] = frozenset()
    deletions: frozenset[tuple[str, object]] = frozenset()
    late_claims: frozenset[str] = frozenset()

    @classmethod
    def first(cls, world: World) -> "Watch":
        """What there is to be seen at the beginning."""
        deleted = {row.id: row.deleted_on for row in world.rows if row.deleted_on}
        tokens = ((owner, token) for token, owner in world.tokens)
        dangling = (user.identity_id for user in world.users if not world.row(user.identity_id))
        return cls(
            free=frozenset(token for token, _ in world.tokens),
            marked=frozenset((one, deleted[one], token) for one, token in tokens if one in deleted),
            deletions=frozenset(deleted.items()),
            late_claims=frozenset(dangling),
        )

    def of_world(self, title: str, before: World, after: World) -> "Watch":
        """What has been seen once an operation has changed the world so.

        Raises:
            Violated: a user has two identities, or an identity came back as it must not.
        """
        watch = self
        if after.tokens != before.tokens:
            watch = watch._tokens(before, after)
        for row in after.rows - before.rows:
            old = before.row(row.id)
            _demand_no_return(title, old, row)
            watch = watch._row(old, row, after)
        for user in after.users - before.users:
            named = after.row(user.identity_id)
            if named is None or named.state is State.PURGING:
                watch = watch._replace(late_claims=watch.late_claims | {user.identity_id})
        return watch

    def of_answer(self, actor: str, answer: Answer) -> "Watch":
        """What has been seen once a call of the operation was answered so."""
        row = answer.value
        if isinstance(row, IdentityRow) and row.state is State.ACTIVE:
            return self._replace(seen=self.seen | {(actor, row.id)})
        return self

    def check(self, stand: Stand, world: World, identity_id: str) -> None:
        """Look at what the operation answered, if it has at this moment, about the identity.

        Raises:
            Violated: it answered what it must not.
        """
        outcome = stand.outcome
        if outcome is None:
            return
        if outcome.error:
            if not issubclass(outcome.error, ServiceError):
                raise Violated(f"{outcome.error.__name__} came out: {outcome.detail}")
        elif stand.actor.title == "delete":
            self._check_deletion(outcome)
        elif stand.actor.title == "purge":
            if world.row(identity_id) or identity_id in world.identities:
                raise Violated(f"the purge of {identity_id} is answered, and it is not gone")
        elif isinstance(outcome.value, IssuedToken):
            self._check_token(outcome.value, world)

    def _check_deletion(self, outcome: Answer) -> None:
        identity_id, deleted_on = outcome.value.id, outcome.value.deleted_on
        if (identity_id, deleted_on) not in self.deletions:
            raise Violated(f"the deletion of {identity_id} is answered, and was never written down")
        for marked_id, marked_on, token in sorted(self.marked, key=str):
            if (marked_id, marked_on) == (identity_id, deleted_on):
                raise Violated(f"the deletion of {identity_id} is answered, and {token} lives")

    def _check_token(self, issued: IssuedToken, world: World) -> None:
        if (issued.token, issued.id) in world.tokens and issued.token not in self.free:
            raise Violated(f"{issued.token} is given out, and {issued.id} is deleted")

    def _tokens(self, before: World, after: World) -> "Watch":
        alive = {token for token, _ in after.tokens}
        free = set(self.free & alive)
        for token, identity_id in after.tokens - before.tokens:
            row = before.row(identity_id)
            if row is None or row.state in (State.CREATING, State.ACTIVE):
                free.add(token)
        marked = frozenset(mark for mark in self.marked if mark[2] in alive)
        return self._replace(free=frozenset(free), marked=marked)

    def _row(self, old: IdentityRow | None, new: IdentityRow, world: World) -> "Watch":
        tokens = {token for token, identity_id in world.tokens if identity_id == new.id}
        if new.state is State.ACTIVE:
            _demand_one(new, world)
            return self._replace(free=self.free | tokens)
        if new.state is State.DELETED and (old is None or old.state is not State.DELETED):
            return self._replace(
                marked=self.marked | {(new.id, new.deleted_on, token) for token in tokens},
                seen=frozenset(one for one in self.seen if one[1] != new.id),
                deletions=self.deletions | {(new.id, new.deleted_on)},
            )
        return self


def _demand_no_return(title: str, old: IdentityRow | None, new: IdentityRow) -> None:
    if old is None or old.state is new.state:
        return
    if old.state is State.PURGING:
        raise Violated(f"{new.id} was being purged, and is {new.state} again")
    if old.state is State.DELETED and new.state is State.ACTIVE and title != "restore":
        raise Violated(f"{new.id} was deleted, and {title} brings it back")


def _demand_one(row: IdentityRow, world: World) -> None:
    for other in world.rows:
        both = other.id != row.id and other.state is State.ACTIVE
        if row.user_id and both and other.user_id == row.user_id:
            raise Violated(f"{row.id} and {other.id} are the same user's, and both active")
