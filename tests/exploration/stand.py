"""Where an operation stands: what it has heard so far, and what it waits for now.

An operation is a function of the answers it heard and of the time at which it heard them. So each
stand is computed once, by running the operation; every schedule that leads there shares it.
"""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.exploration.performance import Answer, Call, Performance

# An operation looks at no clock before its first call.
_NEVER = datetime.min.replace(tzinfo=UTC)


class Actor(NamedTuple):
    """An operation to be performed.

    Attributes:
        name: One letter.
        number: Its place among the others.
        title: What it does, as the scenarios call it.
        act: Starts it.
        set_clock: Sets the clock it looks at.
    """

    name: str
    number: int
    title: str
    act: Callable[[], Coroutine[Any, Any, Any]]
    set_clock: Callable[[datetime], None]


class Heard(NamedTuple):
    """An answer that reached an operation."""

    call_id: str
    name: str
    answer: Answer
    now: datetime


class Stand:
    """Where an operation stands.

    Attributes:
        heard: The answers that brought it here.
        waiting: The calls it waits for.
        outcome: What it answered, once it has.
        is_killed: It is dead.
    """

    def __init__(self, actor: Actor, heard: tuple[Heard, ...] = ()) -> None:
        self.actor = actor
        self.heard = heard
        self.waiting: tuple[Call, ...] = ()
        self.outcome: Answer | None = None
        self.is_killed = False
        self._performance: Performance | None = None
        self._next: dict[Heard | None, Stand] = {}

    @classmethod
    def first(cls, actor: Actor) -> "Stand":
        """The stand of an operation that has not heard anything."""
        stand = cls(actor)
        return stand._reached(stand._performed())

    def after(self, call: Call, answer: Answer, now: datetime) -> "Stand":
        """The stand once the call is answered."""
        heard = Heard(call.id, call.name, answer, now)
        if heard not in self._next:
            performance = self._performed()
            self.actor.set_clock(now)
            performance.hear(call.id, answer)
            stand = Stand(self.actor, (*self.heard, heard))
            self._next[heard] = stand._reached(performance)
        return self._next[heard]

    def killed(self) -> "Stand":
        """The stand once the operation is dead: it waits for nothing, and answers nobody."""
        if None not in self._next:
            self._next[None] = Stand(self.actor, self.heard)
            self._next[None].is_killed = True
        return self._next[None]

    def _reached(self, performance: Performance) -> "Stand":
        self._performance = performance
        self.waiting = tuple(performance.waiting.values())
        self.outcome = performance.outcome
        return self

    def _performed(self) -> Performance:
        """The operation run up to here: the first time as it ran, later on by running it again."""
        performance, self._performance = self._performance, None
        if performance is None:
            self.actor.set_clock(_NEVER)
            performance = Performance(self.actor.name, self.actor.number, self.actor.act)
            for call_id, _, answer, now in self.heard:
                self.actor.set_clock(now)
                performance.hear(call_id, answer)
        return performance
