"""Runs functions as the Python worker does: one event loop, a task for each invocation.

An invocation is never cancelled; what the caller does meanwhile is of no matter to it.
"""

import asyncio
import contextvars
import inspect
import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from local.functions_host.indexing import Code

Encoded = TypeVar("Encoded")

logger = logging.getLogger(__name__)
_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("invocation", default=None)
_thread_local = threading.local()
_unanswered: set[str] = set()
_TRACE_PARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The invocation's place in a distributed trace, in the words of W3C Trace Context."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    def child(self) -> "TraceContext":
        """A new span in the same trace, or in a new one where there is none."""
        caller = _TRACE_PARENT.fullmatch(self.trace_parent)
        trace, flags = caller.groups() if caller else (secrets.token_hex(16), "00")
        parent = f"00-{trace}-{secrets.token_hex(8)}-{flags}"
        return TraceContext(parent, self.trace_state if caller else "")


@dataclass(frozen=True, slots=True)
class RetryContext:
    """Always the first attempt: retry policies are not carried out here."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


@dataclass(frozen=True, slots=True)
class InvocationContext:
    """What a `context` parameter gets: `func.Context` by shape, as in the worker."""

    invocation_id: str
    function_name: str
    function_directory: str
    trace_context: TraceContext
    retry_context: RetryContext = RetryContext()
    thread_local_storage: threading.local = _thread_local


def current_invocation() -> str | None:
    """The id of the invocation that runs here, known in its tasks and threads alike."""
    return _current.get() or getattr(_thread_local, "invocation_id", None)


def is_heard() -> bool:
    """Whether the host takes what is logged here: not of an invocation that has ended.

    Source: Azure/azure-functions-host, GrpcWorkerChannel.Log.
    """
    invocation = current_invocation()
    return invocation is None or invocation in _unanswered


def no_result(result: object) -> None:
    """Encodes what a function without a return binding returns: nothing.

    Raises:
        TypeError: it returned something.
    """
    if result is not None:
        raise TypeError(f"a function without a $return binding returned {type(result).__name__}")


@contextmanager
def untraced(_name: str, caller: TraceContext) -> Iterator[TraceContext]:
    """An invocation of which no trace is kept; it has its place in one all the same."""
    yield caller.child()


class Invoker:
    """Starts invocations on the running loop; functions that are not async get a thread."""

    def __init__(
        self,
        tracing: Callable[[str, TraceContext], AbstractContextManager[TraceContext]] = untraced,
    ) -> None:
        self._tracing = tracing
        self._threads = ThreadPoolExecutor(thread_name_prefix="function")
        # The loop itself holds its tasks weakly.
        self._running: set[asyncio.Task[Any]] = set()

    def start(
        self,
        code: Code,
        value: object,
        encode: Callable[[object], Encoded],
        trace: TraceContext | None = None,
    ) -> "asyncio.Task[Encoded | None]":
        """Call a function with its trigger's value; the task tells its encoded result.

        The task does not fail: what goes wrong is logged, and the result is None.
        """
        task = asyncio.create_task(self._traced(code, value, encode, trace or TraceContext()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _traced(
        self,
        code: Code,
        value: object,
        encode: Callable[[object], Encoded],
        trace: TraceContext,
    ) -> Encoded | None:
        with self._tracing(code.name, trace) as child:
            context = InvocationContext(str(uuid4()), code.name, code.directory, child)
            return await self._run(code, value, encode, context)

    async def _run(
        self,
        code: Code,
        value: object,
        encode: Callable[[object], Encoded],
        context: InvocationContext,
    ) -> Encoded | None:
        _current.set(context.invocation_id)
        _unanswered.add(context.invocation_id)
        arguments = {code.parameter: value}
        if code.takes_context:
            arguments["context"] = context
        try:
            return encode(await self._call(partial(code.call, **arguments)))
        # A function that lets a cancellation out of it has failed like any other.
        except (Exception, asyncio.CancelledError):
            logger.exception("Executed 'Functions.%s' (Failed)", code.name)
            return None
        finally:
            _unanswered.discard(context.invocation_id)

    async def _call(self, call: "partial[Any]") -> object:
        if inspect.iscoroutinefunction(call.func):
            return await call()
        inherited = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, inherited.run, call)
