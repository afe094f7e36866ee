"""`python -m tests.survival.worker`: a warm worker of the app, from which others are forked.

It prints a port. Each connection gets its own process, forked before any event loop or connection
exists. The process reads one task, works on it with the product's own clients, and sends messages
as lines of JSON. At a remote call that the order selects it may be killed or suspended.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar, cast

import msgspec

from identity_service.access_lifecycle import TeamsAccess
from identity_service.azure.clients import Clients
from identity_service.azure.registries import TableAccessRegistry
from identity_service.errors import RegistryUnavailable, ServiceError
from identity_service.lifecycle import Lifecycle
from identity_service.policies import CleanupPolicy, DeletionPolicy, TokenGrant
from identity_service.ports import Acs, Registry
from identity_service.services import Services
from identity_service.sweep import Sweep
from tests.support.product import CountedRegistry, ShiftedClock

T = TypeVar("T")

# A rate limit that has no effect.
UNLIMITED = 1_000_000
GRANT = TokenGrant(("chat",), minutes=1440)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The task of a worker.

    Attributes:
        table: The registry's table.
        tables: The address of the table service, if it is not that of the settings.
        identity_id: The identity of the operation, if it has one.
        user_id: The user of a creation, if it has one.
        ahead: Seconds by which the worker's clock is ahead.
        limit: The sweep's rate limit: calls that change ACS, per 30 seconds.
        traced: Whether to trace memory, which makes the worker several times slower.
    """

    operation: str
    table: str
    tables: str | None = None
    identity_id: str = ""
    user_id: str | None = None
    ahead: float = 0
    limit: int = UNLIMITED
    traced: bool = False


class Moment(StrEnum):
    """When an interruption happens: before the call is sent, or after its response arrived."""

    BEFORE = "before"
    AFTER = "after"


class Interruption(msgspec.Struct, frozen=True):
    """A signal that the worker sends itself at one of its remote calls.

    Attributes:
        call: The number of the call, from 1; only calls of `name` count, if it is given.
    """

    signal: signal.Signals
    call: int
    moment: Moment
    name: str = ""


class Order(msgspec.Struct, frozen=True):
    """A task, and the interruption during it."""

    task: Task
    interruption: Interruption | None


class Swept(msgspec.Struct, frozen=True):
    """The report of a sweep."""

    due: int
    revoked: int
    purged: int
    deferred: int
    stuck: int


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The worker finished its task.

    Attributes:
        calls: The names of its remote calls, in order.
        problem: The code of the error in which the operation ended, if it failed.
        swept: The report, if it was a sweep.
        requests: Number of requests to the table service.
        peak: Peak memory in bytes, beyond what was in use at the beginning.
    """

    calls: list[str]
    problem: str | None
    swept: Swept | None
    requests: int
    peak: int


class Interrupted(msgspec.Struct, frozen=True, tag=True):
    """The process of this id is killed or suspended at a call of this name."""

    name: str
    pid: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The worker failed unexpectedly."""

    trace: str


Message = Done | Interrupted | Failed


class Recorder:
    """Records the names of remote calls, and interrupts the process at one of them.

    Attributes:
        names: All calls, in the order in which they began.
    """

    def __init__(self, interruption: Interruption | None, announce: Callable[[str], None]) -> None:
        self.names: list[str] = []
        self._interruption = interruption
        self._announce = announce

    async def perform(self, name: str, call: Awaitable[T]) -> T:
        """Record and perform a call."""
        self.names.append(name)
        number = len(self.names)
        if self._interruption and self._interruption.name:
            number = self.names.count(name) if self._interruption.name == name else 0
        self._interrupt(name, number, Moment.BEFORE)
        try:
            return await call
        finally:
            self._interrupt(name, number, Moment.AFTER)

    def _interrupt(self, name: str, number: int, moment: Moment) -> None:
        planned = self._interruption
        if planned and (number, moment) == (planned.call, planned.moment):
            self._announce(name)
            os.kill(os.getpid(), planned.signal)


class Recorded:
    """Forwards each method of a port, and records its calls; of an iterator, each item."""

    def __init__(self, port: object, recorder: Recorder, prefix: str = "") -> None:
        self._port = port
        self._recorder = recorder
        self._prefix = prefix

    def __getattr__(self, method: str) -> Callable[..., Any]:
        """Return the recorded method."""
        name = f"{self._prefix}{method}"

        def call(*arguments: object, **options: object) -> Any:
            result = getattr(self._port, method)(*arguments, **options)
            if isinstance(result, AsyncIterator):
                return self._items(name, result)
            return self._recorder.perform(name, result)

        return call

    async def _items(self, name: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
        while item := await self._recorder.perform(name, anext(items, None)):
            yield item


class Product:
    """The product's clients, recorded, and its operations."""

    def __init__(self, task: Task, recorder: Recorder) -> None:
        self._services = Services(os.environ)
        self.counted = CountedRegistry(
            task.tables or self._services.settings.storage.table_service,
            task.table,
            Clients(self._services.settings).storage_credential,
        )
        self._task = task
        acs = cast(Acs, Recorded(self._services.acs, recorder, "acs."))
        self._registry = cast(Registry, Recorded(self.counted.registry, recorder))
        self._clock = ShiftedClock(timedelta(seconds=task.ahead))
        self._lifecycle = Lifecycle(acs, self._registry, self._clock)
        rows = TableAccessRegistry.sharing(self.counted.registry)
        self._teams_access = TeamsAccess(self._services.teams_assignments, rows, self._clock)

    async def warm_up(self) -> None:
        """Create the clients and fetch tokens."""
        await self._services.warm_up()

    async def run(self) -> object:
        """Run the task's operation and return its result."""
        task, lifecycle = self._task, self._lifecycle
        operations: dict[str, Callable[[], Awaitable[object]]] = {
            "create": lambda: lifecycle.create(task.user_id),
            "create with token": lambda: lifecycle.create_with_token(task.user_id, GRANT),
            "delete": lambda: lifecycle.delete(
                task.identity_id, DeletionPolicy(), registered_only=False
            ),
            "restore": lambda: lifecycle.restore(task.identity_id),
            "purge": lambda: lifecycle.purge(task.identity_id, DeletionPolicy()),
            "issue": lambda: lifecycle.issue_token(task.identity_id, GRANT, registered_only=False),
            "sweep": self._sweep,
        }
        return await operations[task.operation]()

    async def _sweep(self) -> Swept:
        cleanup = CleanupPolicy(deletes_per_30s=self._task.limit, time_budget=timedelta(minutes=10))
        sweep = Sweep(self._lifecycle, self._registry, self._clock, cleanup, self._teams_access)
        with suppress(RegistryUnavailable):  # it could not read what is due, but has purged some
            await sweep.run()
        return Swept(**{name: getattr(sweep.report, name) for name in Swept.__struct_fields__})


async def _work(order: Order, send: Callable[[Message], None]) -> None:
    def announce(name: str) -> None:
        send(Interrupted(name, os.getpid()))

    recorder = Recorder(order.interruption, announce)
    product = Product(order.task, recorder)
    await product.warm_up()
    if order.task.traced:
        tracemalloc.start()
    result, problem = None, None
    try:
        result = await product.run()
    except ServiceError as error:
        problem = error.code
    _, peak = tracemalloc.get_traced_memory()
    send(
        Done(
            calls=recorder.names,
            problem=problem,
            swept=result if isinstance(result, Swept) else None,
            requests=product.counted.requests,
            peak=peak,
        )
    )


def _serve(connection: socket.socket) -> None:
    """Work on the order that comes over the connection."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def send(message: Message) -> None:
        connection.sendall(msgspec.json.encode(message) + b"\n")

    try:
        order = msgspec.json.decode(connection.makefile("rb").readline(), type=Order)
        asyncio.run(_work(order, send))
    except Exception:  # noqa: BLE001 -- the test shows it
        send(Failed(traceback.format_exc()))


def main() -> None:
    """Fork a worker for each connection."""
    logging.basicConfig(level=logging.INFO)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", 0))
    gc.freeze()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        connection, _ = listener.accept()
        with connection:
            if os.fork() == 0:
                listener.close()
                _serve(connection)
                os._exit(0)


if __name__ == "__main__":
    main()
