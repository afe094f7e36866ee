"""`python -m tests.survival.worker`: a warm worker of the app, from which others are forked.

It prints a port. Whoever connects there is given a process of its own, forked before any event loop
or connection existed: it reads one task, works on it with the product's own clients, and says in
lines of JSON what it came to. It may die, or be frozen, at a remote call of the task's choice.
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
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableClient

from identity_service.errors import ServiceError
from identity_service.model import CleanupPolicy, DeletionPolicy, TokenPolicy
from identity_service.operations.create_identity import CreateIdentity, create_identity
from identity_service.operations.create_identity_with_token import (
    CreateIdentityWithToken,
    create_identity_with_token,
)
from identity_service.operations.delete_identity import delete_identity
from identity_service.operations.issue_token import IssueToken, issue_token
from identity_service.operations.purge_deleted_identities import Report, purge_deleted_identities
from identity_service.operations.purge_identity import purge_identity
from identity_service.operations.restore_identity import restore_identity
from identity_service.registry import TableRegistry
from identity_service.services import Services
from tests.support.azurite import CONNECTION
from tests.survival.ports import AheadClock, Fate, Log, WatchedAcs, WatchedRegistry

# As fast as it goes.
UNPACED = 1_000_000
TOKENS = TokenPolicy(("chat",), default_minutes=1440, max_minutes=1440)


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is to do.

    Attributes:
        table: The registry's table.
        tables: The address of the table service, where it is not that of the settings.
        identity_id: Of whom the operation is, if of anybody.
        user_id: For whom a creation is, if for anybody.
        ahead: Seconds by which its clock is ahead.
        pace: The sweep's calls that change ACS, per 30 seconds.
        traced: Its memory is traced, which makes it several times slower.
    """

    operation: str
    table: str
    tables: str | None = None
    identity_id: str = ""
    user_id: str | None = None
    ahead: float = 0
    pace: int = UNPACED
    traced: bool = False


class Order(msgspec.Struct, frozen=True):
    """A task, and what befalls the worker meanwhile."""

    task: Task
    fate: Fate | None


class Swept(msgspec.Struct, frozen=True):
    """What a sweep reported."""

    due: int
    revoked: int
    purged: int
    deferred: int
    stuck: int


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """It worked on the task to its end.

    Attributes:
        calls: The names of its remote calls, in order.
        problem: The code of the error in which the operation ended, if it did.
        swept: What it reported, if it was a sweep.
        requests: The requests that it sent to the table service.
        peak: The most memory in bytes that it held at once beyond what it held at the beginning.
    """

    calls: list[str]
    problem: str | None
    swept: Swept | None
    requests: int
    peak: int


class Farewell(msgspec.Struct, frozen=True, tag=True):
    """The process of this id dies, or freezes, at a call of this name."""

    name: str
    pid: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It stumbled."""

    trace: str


Word = Done | Farewell | Failed


class CountingTransport(AioHttpTransport):  # type: ignore[misc]  # the SDK leaves it untyped
    """The SDK's own transport, counting what it sends."""

    sent = 0

    async def send(self, *arguments: Any, **options: Any) -> Any:
        """Send a request."""
        self.sent += 1
        return await super().send(*arguments, **options)


class Bench:
    """What a worker works with: the product's clients, watched."""

    def __init__(self, task: Task, log: Log) -> None:
        services = Services(os.environ)
        self.transport = CountingTransport(**CONNECTION)
        table = TableClient(
            task.tables or services.settings.storage.table_service,
            task.table,
            credential=services.storage_credential,
            transport=self.transport,
            **CONNECTION,
        )
        self.task = task
        self.acs = WatchedAcs(services.acs, log)
        self.registry = WatchedRegistry(TableRegistry(table), log)
        self.clock = AheadClock(task.ahead)
        self.services = services


async def _create(bench: Bench) -> object:
    body = (
        CreateIdentity()
        if bench.task.user_id is None
        else CreateIdentity(user_id=bench.task.user_id)
    )
    return await create_identity(body, bench.acs, bench.registry, bench.clock)


async def _create_with_token(bench: Bench) -> object:
    body = CreateIdentityWithToken(scopes=["chat"])
    if bench.task.user_id is not None:
        body.user_id = bench.task.user_id
    return await create_identity_with_token(body, bench.acs, bench.registry, bench.clock, TOKENS)


async def _delete(bench: Bench) -> object:
    return await delete_identity(
        bench.task.identity_id,
        bench.acs,
        bench.registry,
        bench.clock,
        DeletionPolicy(),
        registered_only=False,
    )


async def _restore(bench: Bench) -> object:
    return await restore_identity(bench.task.identity_id, bench.acs, bench.registry)


async def _purge(bench: Bench) -> None:
    await purge_identity(
        bench.task.identity_id, bench.acs, bench.registry, bench.clock, DeletionPolicy()
    )


async def _issue(bench: Bench) -> object:
    return await issue_token(
        bench.task.identity_id,
        IssueToken(scopes=["chat"]),
        bench.acs,
        bench.registry,
        TOKENS,
        registered_only=False,
    )


async def _sweep(bench: Bench) -> object:
    cleanup = CleanupPolicy(deletes_per_30s=bench.task.pace, time_budget=timedelta(minutes=10))
    return await purge_deleted_identities(bench.acs, bench.registry, bench.clock, cleanup)


OPERATIONS: dict[str, Callable[[Bench], Awaitable[object]]] = {
    "create": _create,
    "create with token": _create_with_token,
    "delete": _delete,
    "restore": _restore,
    "purge": _purge,
    "issue": _issue,
    "sweep": _sweep,
}


async def _work(order: Order, say: Callable[[Word], None]) -> None:
    task = order.task

    def farewell(name: str) -> None:
        say(Farewell(name, os.getpid()))

    log = Log(order.fate, farewell)
    bench = Bench(task, log)
    await bench.services.warm_up()
    if task.traced:
        tracemalloc.start()
    result, problem = None, None
    try:
        result = await OPERATIONS[task.operation](bench)
    except ServiceError as error:
        problem = error.code
    _, peak = tracemalloc.get_traced_memory()
    say(
        Done(
            calls=log.names,
            problem=problem,
            swept=_swept(result) if isinstance(result, Report) else None,
            requests=bench.transport.sent,
            peak=peak,
        )
    )


def _swept(report: Report) -> Swept:
    return Swept(**{name: getattr(report, name) for name in Swept.__struct_fields__})


def _serve(connection: socket.socket) -> None:
    """Be a worker."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def say(word: Word) -> None:
        connection.sendall(msgspec.json.encode(word) + b"\n")

    try:
        order = msgspec.json.decode(connection.makefile("rb").readline(), type=Order)
        asyncio.run(_work(order, say))
    except Exception:  # noqa: BLE001 -- whoever gave the task must be told
        say(Failed(traceback.format_exc()))


def main() -> None:
    """Fork a worker for everybody who connects."""
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
