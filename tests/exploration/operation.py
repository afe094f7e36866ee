"""One operation under way, run from answer to answer."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.exploration.loop import Loop

READS = {"read", "read_user", "agenda", "active"}
BEGIN = "begin"


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """A remote call that waits for the scheduler.

    Attributes:
        id: The operation's name and the number of its call: A4.
        service: `acs`, `registry`, or nothing for the beginning of an operation.
        effect: What it does when it takes effect.
    """

    id: str
    service: str
    name: str
    effect: Callable[[], Any]

    @property
    def changes(self) -> bool:
        """Whether it does anything but look."""
        return self.name not in READS


class Answer(NamedTuple):
    """What somebody was answered: a value, or an error."""

    value: Any = None
    error: type[Exception] | None = None
    detail: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Answer":
        """The answer that is this error. Errors are made anew each time: they gather tracebacks."""
        assert isinstance(error, Exception)
        return cls(None, type(error), str(error))


class Performance:
    """An operation of the product, run up to where it waits for answers."""

    def __init__(self, name: str, number: int, act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.number = number
        self.waiting: dict[str, Call] = {}
        self._name = name
        self._calls = 0
        self._gates: dict[str, asyncio.Future[Any]] = {}
        self._loop = Loop()  # type: ignore[abstract]  # the rest is never asked for
        context = copy_context()
        context.run(_PERFORMING.set, self)
        self._task = self._loop.create_task(act(), context=context)
        self._loop.drain()

    async def ask(self, service: str, name: str, effect: Callable[[], Any]) -> Any:
        """Wait for the scheduler's answer to a call."""
        self._calls += 1
        call = Call(f"{self._name}{self._calls}", service, name, effect)
        self.waiting[call.id] = call
        self._gates[call.id] = self._loop.create_future()
        return await self._gates[call.id]

    def hear(self, call_id: str, answer: Answer) -> None:
        """Give the answer to a call, and run on."""
        del self.waiting[call_id]
        gate = self._gates.pop(call_id)
        if answer.error:
            gate.set_exception(answer.error(answer.detail))
        else:
            gate.set_result(answer.value)
        self._loop.drain()

    @property
    def outcome(self) -> Answer | None:
        """What the operation answered, once it has."""
        if not self._task.done():
            return None
        error = self._task.exception()
        return Answer.of(error) if error else Answer(self._task.result())


_PERFORMING: ContextVar[Performance | None] = ContextVar("performing", default=None)


def performing() -> Performance | None:
    """The operation that runs at this moment."""
    return _PERFORMING.get()


async def ask(service: str, name: str, effect: Callable[[], Any]) -> Any:
    """Wait until the scheduler answers a call of the operation that runs."""
    performance = performing()
    assert performance
    return await performance.ask(service, name, effect)


async def begin() -> None:
    """Wait until the scheduler lets the operation begin: from here on it looks at the clock."""
    await ask("", BEGIN, lambda: None)
