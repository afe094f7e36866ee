"""Renders a schedule: each call, what it changed, and how to replay it."""

import shlex
from collections.abc import Iterator
from datetime import datetime

from identity_service.identity import DueEntry, Identity, State, UserRow
from tests.exploration.invariants import InvariantViolated
from tests.exploration.operation import Call, Response
from tests.exploration.scenarios import BEFORE, Scenario
from tests.exploration.scheduler import (
    UNLIMITED,
    Decision,
    Event,
    Scheduler,
    SystemState,
    format_schedule,
)
from tests.exploration.world import Product, Snapshot
from tests.support.virtual_time import START


def render(scenario: Scenario, schedule: list[Decision], product: Product | None = None) -> str:
    """The schedule as a numbered list."""
    command = shlex.join(["--scenario", str(scenario), "--replay", format_schedule(schedule)])
    lines = enumerate(_lines(scenario, schedule, product))
    return "\n".join(
        [
            str(scenario),
            f"     before: {', '.join(BEFORE[scenario.before]) or 'nothing'}",
            *(f"{number:4} {line}" for number, line in lines),
            f"     replay: python -m tests.exploration {command}",
        ]
    )


def _lines(scenario: Scenario, schedule: list[Decision], product: Product | None) -> Iterator[str]:
    scheduler = Scheduler(scenario, product)
    state = scheduler.start(UNLIMITED)
    yield f"{'':18} {_content(state.snapshot)}"
    for decision in schedule:
        if decision not in scheduler.decisions(state):
            yield f"{decision} is not possible: the operations have changed since"
            return
        call = f"{decision!s:18} {_target(state, decision)}"
        try:
            after = scheduler.decide(state, decision)
        except InvariantViolated as violated:
            yield call
            yield f"{'':18} VIOLATED: {violated}"
            return
        yield f"{call}{_effect(state, after, decision)}"
        state = after
    if not scheduler.decisions(state):
        yield f"{'':18} {_end(scheduler, state)}"


def _end(scheduler: Scheduler, state: SystemState) -> str:
    try:
        losses = scheduler.finish(state)
    except InvariantViolated as violated:
        return f"VIOLATED: {violated}"
    return f"after the sweeps: {'; '.join(losses) or 'nothing lost'}"


def _target(state: SystemState, decision: Decision) -> str:
    for progress in state.operations:
        for call in progress.pending:
            if call.id == decision.target:
                return f"{progress.operation.title}: {_call(call)}"
        if progress.operation.name == decision.target:
            happens = "is killed" if decision.event is Event.KILLED else "continues unawaited"
            return f"{progress.operation.title} {happens}"
    for call in state.late:
        if call.id == decision.target:
            return _call(call)
    return f"{decision.target} {decision.event}"


def _effect(before: SystemState, after: SystemState, decision: Decision) -> str:
    parts = list(_changes(before.snapshot, after.snapshot))
    for old, new in zip(before.operations, after.operations, strict=True):
        if len(new.received) == len(old.received):
            continue
        if not parts and decision.event is Event.SUCCEEDS:
            parts.append(_response(new.received[-1].response))
        if new.result:
            parts.append(f"the operation returns {_response(new.result)}")
    return f" -> {'; '.join(parts)}" if parts else ""


def _call(call: Call) -> str:
    return f"{call.service}.{call.name}" if call.service else call.name


def _response(response: Response) -> str:
    if response.error:
        return response.error.__name__
    value = response.value
    if isinstance(value, Identity):
        return _identity(value)
    if isinstance(value, tuple) and all(isinstance(one, DueEntry) for one in value):
        return ", ".join(map(_item, value)) or "nothing due"
    identity_id = getattr(value, "id", None)
    return f"{type(value).__name__} {identity_id}" if identity_id else _item(value)


def _content(snapshot: Snapshot) -> str:
    none: frozenset[str] = frozenset()
    empty = snapshot._replace(
        rows=frozenset(), users=frozenset(), identities=none, tokens=frozenset()
    )
    return "; ".join(_changes(empty, snapshot)) or "nothing"


def _changes(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for row in sorted(after.rows - before.rows, key=lambda row: row.id):
        old = before.row(row.id)
        yield f"{row.id}: {f'{_identity(old)} => ' if old else ''}{_identity(row)}"
    for row in sorted(before.rows, key=lambda row: row.id):
        if not after.row(row.id):
            yield f"{row.id}: row removed"
    yield from _difference(before.users, after.users)
    yield from _difference(before.identities, after.identities)
    yield from _difference(before.tokens, after.tokens)
    if before.rows == after.rows:
        yield from _difference(before.entries, after.entries)


def _difference(before: frozenset[object], after: frozenset[object]) -> Iterator[str]:
    yield from (f"-{one}" for one in sorted(map(_item, before - after)))
    yield from (f"+{one}" for one in sorted(map(_item, after - before)))


def _item(item: object) -> str:
    match item:
        case UserRow():
            return f"user row for {item.identity_id}"
        case DueEntry():
            return f"due entry {_since_start(item.due)} for {item.identity_id}"
        case (str(token), _):
            return token
    return str(item)


def _identity(row: Identity) -> str:
    words = [str(row.state)]
    marked_on = {State.DELETED: row.deleted_on, State.SUSPENDED: row.suspended_on}.get(row.state)
    if marked_on:
        revoked = "revoked" if row.revoked else "not revoked"
        words.append(f"{_since_start(marked_on)}, {revoked}")
    if row.deleted_by:
        words.append(f"by {row.deleted_by}")
    if row.state is not State.SUSPENDED and row.suspended_on:
        words.append(f"suspended {_since_start(row.suspended_on)}")
    if row.adopted:
        words.append("adopted")
    if row.due:
        words.append(f"due {_since_start(row.due)}")
    return " ".join(words)


def _since_start(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    return f"+{(moment - START).total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
