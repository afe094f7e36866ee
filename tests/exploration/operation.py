"""Runs an operation of the product from response to response.

An operation is a function of the responses it received and of the times at which it received them.
So each step of it is computed once, and every schedule that leads to the same step shares it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from identity_service.log import begin_invocation

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

READS = {"read", "read_user", "due_entries", "count_due", "get", "due"}
BEGIN = "begin"
# Not a call: the operation goes on, but its caller has got a response.
ANSWERED = "answered"

# No operation reads the clock before its first call.
_NEVER = datetime.min.replace(tzinfo=UTC)


class Operation(NamedTuple):
    """An operation that a scenario runs.

    Attributes:
        name: One letter.
        number: Its place among the operations of the scenario.
        title: Its name in the scenarios.
        start: Creates its coroutine.
        set_clock: Sets the clock that it reads.
    """

    name: str
    number: int
    title: str
    start: Callable[[], Coroutine[Any, Any, Any]]
    set_clock: Callable[[datetime], None]


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """A remote call that waits for the scheduler.

    Attributes:
        id: The name of the operation and the number of the call, such as A4.
        service: `acs` or `registry`. Empty for the start of an operation.
        effect: Makes the call take effect.
    """

    id: str
    service: str
    name: str
    effect: Callable[[], Any]

    @property
    def is_write(self) -> bool:
        """Whether it changes anything."""
        return self.name not in READS


class Response(NamedTuple):
    """What a call or an operation returned: a value or an error."""

    value: Any = None
    error: type[Exception] | None = None
    detail: str = ""

    @classmethod
    def of_error(cls, error: BaseException) -> "Response":
        """The response for an error. It keeps the class only: an instance collects tracebacks."""
        assert isinstance(error, Exception)
        return cls(None, type(error), str(error))


class Execution:
    """A running operation. It runs whenever it has a response, until it waits for the next one.

    Attributes:
        pending: The calls that it waits for, by id.
    """

    def __init__(self, operation: Operation) -> None:
        self.number = operation.number
        self.pending: dict[str, Call] = {}
        self._name = operation.name
        self._calls = 0
        self._gates: dict[str, asyncio.Future[Any]] = {}
        self._loop = _Loop()  # type: ignore[abstract]  # operations need no other methods
        context = copy_context()
        context.run(_RUNNING.set, self)
        self._invocation = context.run(begin_invocation, "")
        self._task = self._loop.create_task(operation.start(), context=context)
        self._loop.drain()

    async def call(self, service: str, name: str, effect: Callable[[], Any]) -> Any:
        """Wait for the scheduler's response to a call."""
        self._calls += 1
        call = Call(f"{self._name}{self._calls}", service, name, effect)
        self.pending[call.id] = call
        self._gates[call.id] = self._loop.create_future()
        return await self._gates[call.id]

    def answer_caller(self) -> None:
        """Let the caller get a response. The operation does not notice it until it looks."""
        self._invocation.is_over = True

    def respond(self, call_id: str, response: Response) -> None:
        """Respond to a call, and run the operation up to its next call."""
        del self.pending[call_id]
        gate = self._gates.pop(call_id)
        if response.error:
            gate.set_exception(response.error(response.detail))
        else:
            gate.set_result(response.value)
        self._loop.drain()

    @property
    def result(self) -> Response | None:
        """What the operation returned. None while it runs."""
        if not self._task.done():
            return None
        error = self._task.exception()
        return Response.of_error(error) if error else Response(self._task.result())


_RUNNING: ContextVar[Execution | None] = ContextVar("running", default=None)


def running() -> Execution | None:
    """The operation that is running."""
    return _RUNNING.get()


async def remote_call(service: str, name: str, effect: Callable[[], Any]) -> Any:
    """Wait until the scheduler responds to a call of the running operation."""
    execution = running()
    assert execution
    return await execution.call(service, name, effect)


async def begin() -> None:
    """Wait until the scheduler starts the operation. Only then may it read the clock."""
    await remote_call("", BEGIN, lambda: None)


class Received(NamedTuple):
    """A response that an operation received, or `ANSWERED`."""

    call_id: str
    name: str
    response: Response
    now: datetime


class Progress:
    """How far an operation has got.

    Attributes:
        received: The responses so far.
        pending: The calls that it waits for.
        result: What it returned. None while it runs.
        is_killed: It was killed, so it neither runs on nor returns.
    """

    def __init__(self, operation: Operation, received: tuple[Received, ...] = ()) -> None:
        self.operation = operation
        self.received = received
        self.pending: tuple[Call, ...] = ()
        self.result: Response | None = None
        self.is_killed = False
        self._execution: Execution | None = None
        self._next: dict[Received | None, Progress] = {}

    @classmethod
    def first(cls, operation: Operation) -> "Progress":
        """The progress of an operation that has received no response."""
        progress = cls(operation)
        return progress._reached(progress._executed())

    def after(self, call: Call, response: Response, now: datetime) -> "Progress":
        """The progress after the response to a call."""
        return self._after(Received(call.id, call.name, response, now))

    def answered(self, now: datetime) -> "Progress":
        """The progress after its caller has got a response."""
        return self._after(Received("", ANSWERED, Response(), now))

    @property
    def is_answered(self) -> bool:
        """Whether its caller has got a response before it returned."""
        return any(one.name == ANSWERED for one in self.received)

    def killed(self) -> "Progress":
        """The progress after the operation was killed."""
        if None not in self._next:
            self._next[None] = Progress(self.operation, self.received)
            self._next[None].is_killed = True
        return self._next[None]

    def _after(self, received: Received) -> "Progress":
        if received not in self._next:
            execution = self._executed()
            self._receive(execution, received)
            progress = Progress(self.operation, (*self.received, received))
            self._next[received] = progress._reached(execution)
        return self._next[received]

    def _receive(self, execution: Execution, received: Received) -> None:
        self.operation.set_clock(received.now)
        if received.name == ANSWERED:
            execution.answer_caller()
        else:
            execution.respond(received.call_id, received.response)

    def _reached(self, execution: Execution) -> "Progress":
        self._execution = execution
        self.pending = tuple(execution.pending.values())
        self.result = execution.result
        return self

    def _executed(self) -> Execution:
        """An execution up to here. The first one is at hand; every other one starts again."""
        execution, self._execution = self._execution, None
        if execution is None:
            self.operation.set_clock(_NEVER)
            execution = Execution(self.operation)
            for received in self.received:
                self._receive(execution, received)
        return execution


class _Loop(asyncio.AbstractEventLoop):
    """An event loop without time and I/O: what is ready runs in the order in which it got ready."""

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()

    def drain(self) -> None:
        """Run until every task waits."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while self._ready:
                self._ready.popleft()._run()
        finally:
            asyncio._set_running_loop(outer)

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """See `asyncio`."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """See `asyncio`."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **_: Any,
    ) -> asyncio.Task[T]:
        """See `asyncio`."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        """See `asyncio`."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Ignore tasks that never end: that is how a killed operation looks."""
