"""A schedule, told: who did which call, what came of it, and how to see it again."""

import shlex
from collections.abc import Iterator

from tests.exploration import words
from tests.exploration.cast import Product
from tests.exploration.decisions import Budget, Decision, Fate, written
from tests.exploration.exploration import Exploration, Moment
from tests.exploration.scenarios import BEFORE, Scenario
from tests.exploration.watch import Violated

ENOUGH = Budget(99, 99)


def told(scenario: Scenario, schedule: list[Decision], product: Product | None = None) -> str:
    """The schedule as a numbered list, from a fresh start."""
    command = shlex.join(["--scenario", str(scenario), "--replay", written(schedule)])
    lines = enumerate(_lines(scenario, schedule, product))
    return "\n".join(
        [
            str(scenario),
            f"     before: {', '.join(BEFORE[scenario.before]) or 'nothing'}",
            *(f"{number:4} {line}" for number, line in lines),
            f"     again: python -m tests.exploration {command}",
        ]
    )


def _lines(scenario: Scenario, schedule: list[Decision], product: Product | None) -> Iterator[str]:
    exploration = Exploration(scenario, product)
    moment = exploration.start(ENOUGH)
    yield f"{'':18} {words.of_world(moment.world)}"
    for decision in schedule:
        if decision not in exploration.decisions(moment):
            yield f"{decision} cannot be: the operations have changed since"
            return
        who = f"{decision!s:18} {_who(moment, decision)}"
        try:
            after = exploration.decide(moment, decision)
        except Violated as violated:
            yield who
            yield f"{'':18} VIOLATED: {violated}"
            return
        yield f"{who}{_what(moment, after, decision)}"
        moment = after
    if not exploration.decisions(moment):
        yield f"{'':18} {_end(exploration, moment)}"


def _end(exploration: Exploration, moment: Moment) -> str:
    try:
        lost = exploration.end(moment)
    except Violated as violated:
        return f"VIOLATED: {violated}"
    return f"the sweeps end it; {'; '.join(lost) or 'all is well'}"


def _who(moment: Moment, decision: Decision) -> str:
    for stand in moment.stands:
        for call in stand.waiting:
            if call.id == decision.who:
                return f"{stand.actor.title}: {words.of_call(call)}"
        if stand.actor.name == decision.who:
            return f"{stand.actor.title} dies"
    for call in moment.late:
        if call.id == decision.who:
            return words.of_call(call)
    return f"{decision.who} {decision.fate}"


def _what(before: Moment, after: Moment, decision: Decision) -> str:
    parts = list(words.of_change(before.world, after.world))
    for old, new in zip(before.stands, after.stands, strict=True):
        if len(new.heard) == len(old.heard):
            continue
        if not parts and decision.fate is Fate.HAPPENS:
            parts.append(words.of_answer(new.heard[-1].answer))
        if new.outcome:
            parts.append(f"and it answers {words.of_answer(new.outcome)}")
    return f" -> {'; '.join(parts)}" if parts else ""
