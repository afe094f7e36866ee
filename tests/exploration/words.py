"""How a trace calls things."""

from collections.abc import Iterator
from datetime import datetime

from identity_service.rows import AgendaRow, IdentityRow, State, UserRow
from tests.exploration.performance import Answer, Call
from tests.exploration.stage import START, World


def of_call(call: Call) -> str:
    """The call: of what, and which."""
    return f"{call.service}.{call.name}" if call.service else call.name


def of_answer(answer: Answer) -> str:
    """What somebody was answered."""
    if answer.error:
        return answer.error.__name__
    value = answer.value
    if isinstance(value, IdentityRow):
        return _row(value)
    if isinstance(value, tuple) and all(isinstance(one, AgendaRow) for one in value):
        return ", ".join(map(_thing, value)) or "nothing due"
    named = getattr(value, "id", None)
    return f"{type(value).__name__} {named}" if named else _thing(value)


def of_world(world: World) -> str:
    """What there is in the world."""
    none: frozenset[str] = frozenset()
    empty = world._replace(rows=frozenset(), users=frozenset(), identities=none, tokens=frozenset())
    return "; ".join(of_change(empty, world)) or "nothing"


def of_change(before: World, after: World) -> Iterator[str]:
    """What became different."""
    for row in sorted(after.rows - before.rows, key=lambda row: row.id):
        old = before.row(row.id)
        yield f"{row.id}: {f'{_row(old)} => ' if old else ''}{_row(row)}"
    for row in sorted(before.rows, key=lambda row: row.id):
        if not after.row(row.id):
            yield f"{row.id}: row gone"
    yield from _difference(before.users, after.users)
    yield from _difference(before.identities, after.identities)
    yield from _difference(before.tokens, after.tokens)
    if before.rows == after.rows:
        yield from _difference(before.entries, after.entries)


def _difference(before: frozenset[object], after: frozenset[object]) -> Iterator[str]:
    yield from (f"-{one}" for one in sorted(map(_thing, before - after)))
    yield from (f"+{one}" for one in sorted(map(_thing, after - before)))


def _thing(thing: object) -> str:
    match thing:
        case UserRow():
            return f"claim on {thing.identity_id}"
        case AgendaRow():
            return f"entry {_after(thing.due)} for {thing.identity_id}"
        case (str(token), _):
            return token
    return str(thing)


def _row(row: IdentityRow) -> str:
    words = [str(row.state)]
    if row.state is State.DELETED:
        words.append(f"{_after(row.deleted_on)}, {'revoked' if row.revoked else 'not revoked'}")
    if row.due:
        words.append(f"due {_after(row.due)}")
    return " ".join(words)


def _after(moment: datetime | None) -> str:
    if moment is None:
        return "at no time"
    return f"+{(moment - START).total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
