"""What must hold when everything has come to its end and the sweeps have finished the rest."""

from collections.abc import Collection, Iterable, Iterator

from identity_service.rows import AgendaRow, State
from tests.exploration.stage import World
from tests.exploration.stand import Heard, Stand
from tests.exploration.watch import Violated, Watch

# The three windows through which an identity may be lost; docs/cleanup.md names them.
UNTOLD = "its creation was not told"
DIED = "died before the very next call"
UNDELETABLE = "neither recorded nor deleted again"
# What may be left of a creator that froze and died: a user row that names a dead identity.
RESIDUE = "a claim on a dead identity"


def check_end(
    world: World, watch: Watch, stands: Collection[Stand], elsewhere: Collection[str]
) -> list[str]:
    """What is lost or left, by kind, all of it allowed.

    Raises:
        Violated: something else is.
    """
    _check_rows(world)
    _check_answers(world, watch, stands)
    untouched = set(elsewhere) - {identity_id for identity_id, _ in watch.deletions}
    orphans = world.identities - {row.id for row in world.rows} - untouched
    return [*(_window(orphan, stands) for orphan in orphans), *_check_claims(world, watch)]


def _check_rows(world: World) -> None:
    for row in sorted(world.rows, key=lambda row: row.id):
        if row.state is not State.ACTIVE:
            raise Violated(f"{row.id} is {row.state}, and forgotten")
        if row.id not in world.identities:
            raise Violated(f"{row.id} is active, and ACS has no such identity")
    due = {AgendaRow(row.due, row.id) for row in world.rows if row.due}
    if world.entries != due:
        raise Violated("agenda rows and identity rows do not agree")
    users = [row.user_id for row in world.rows if row.user_id]
    if len(users) != len(set(users)):
        raise Violated("a user has two identities")


def _check_answers(world: World, watch: Watch, stands: Iterable[Stand]) -> None:
    for stand in stands:
        if stand.outcome is None or stand.outcome.error:
            continue
        answered = getattr(stand.outcome.value, "id", None)
        row = world.row(answered) if answered else None
        if (stand.actor.name, answered) in watch.seen and row is None:
            raise Violated(f"{answered} was answered to {stand.actor.title}, and it is gone")
        if stand.actor.title == "sweep" and stand.outcome.value.purged > _removed(stand):
            raise Violated(f"{stand.actor.name} reports a purge that it has not done")


def _removed(stand: Stand) -> int:
    return sum(heard.name == "remove" and not heard.answer.error for heard in stand.heard)


def _check_claims(world: World, watch: Watch) -> Iterator[str]:
    claims = {user.user_id: user.identity_id for user in world.users}
    for row in world.rows:
        if row.user_id and claims.get(row.user_id) != row.id:
            raise Violated(f"{row.id} is its user's, and the user row does not name it")
    for user_id, identity_id in claims.items():
        named = world.row(identity_id)
        if named and named.user_id != user_id:
            raise Violated(f"a user row names {identity_id}, which is not the user's")
        if named is None:
            if identity_id not in watch.late_claims:
                raise Violated(f"a user row names {identity_id}, which is gone")
            yield RESIDUE


def _window(identity_id: str, stands: Iterable[Stand]) -> str:
    """Through which window the identity was lost.

    Raises:
        Violated: through none.
    """
    call_id = identity_id.removeprefix("identity-")
    for stand in stands:
        names = [heard.call_id for heard in stand.heard]
        if call_id in names:
            kind = _kind(stand, stand.heard[names.index(call_id) :])
            if kind:
                return kind
    raise Violated(f"{identity_id} is in ACS, and has no row")


def _kind(stand: Stand, heard: tuple[Heard, ...]) -> str | None:
    if heard[0].answer.error:
        return UNTOLD
    rest = [(one.name, bool(one.answer.error)) for one in heard[1:]]
    if not rest and stand.is_killed:
        return DIED
    unrecorded = rest[:1] == [("insert", True)]
    undeleted = rest[1:] == [("delete", True)] or (len(rest) == 1 and stand.is_killed)
    return UNDELETABLE if unrecorded and undeleted else None
