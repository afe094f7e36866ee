"""Runs functions as the Python worker does: one event loop, one task per invocation.

An invocation is never cancelled, not even when the caller disconnects. Log lines and trace spans
belong to the invocation that produced them.
"""

import asyncio
import contextvars
import inspect
import logging
import math
import re
import secrets
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from msgspec import Struct, field

from local.functions_host.indexing import Code

Encoded = TypeVar("Encoded")

logger = logging.getLogger(__name__)
_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("invocation", default=None)
_thread_local = threading.local()
_active: set[str] = set()
_TRACE_PARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_CONNECTION_STRING = "APPLICATIONINSIGHTS_CONNECTION_STRING"
_HOST_TELEMETRY = "AzureFunctionsJobHost__telemetryMode"
_WORKER_TELEMETRY = "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"


class TraceContext(Struct, frozen=True):
    """The invocation's place in a distributed trace, as in W3C Trace Context."""

    trace_parent: str = ""
    trace_state: str = ""
    attributes: dict[str, str] = field(default_factory=dict)

    def child(self) -> "TraceContext":
        """A new span in this trace, or in a new trace if the caller sent no valid one. Sampled."""
        caller = _TRACE_PARENT.fullmatch(self.trace_parent)
        trace = caller[1] if caller else secrets.token_hex(16)
        parent = f"00-{trace}-{secrets.token_hex(8)}-01"
        return TraceContext(parent, self.trace_state if caller else "")


class RetryContext(Struct, frozen=True):
    """Always the first attempt: retry policies are not supported here."""

    retry_count: int = 0
    max_retry_count: int = 0
    exception: None = None


class InvocationContext(Struct, frozen=True):
    """The value of a `context` parameter, with the attributes of `func.Context`."""

    invocation_id: str
    function_name: str
    function_directory: str
    trace_context: TraceContext
    retry_context: RetryContext = RetryContext()
    thread_local_storage: threading.local = _thread_local


# Called with the function's name and the caller's trace context; yields the invocation's own.
Tracing = Callable[[str, TraceContext], AbstractContextManager[TraceContext]]


def no_result(result: object) -> None:
    """Encode the result of a function without a return binding, which must be None.

    Raises:
        TypeError: the function returned a value.
    """
    if result is not None:
        raise TypeError(f"a function without a $return binding returned {type(result).__name__}")


def untraced(_name: str, _caller: TraceContext) -> AbstractContextManager[TraceContext]:
    """Give an invocation no trace context, as the host does without telemetry."""
    return nullcontext(TraceContext())


def continued(_name: str, caller: TraceContext) -> AbstractContextManager[TraceContext]:
    """Give an invocation a trace context without recording a span."""
    return nullcontext(caller.child())


class Invoker:
    """Starts invocations on the running loop. Functions that are not async run in threads.

    Args:
        tracing: gives each invocation its trace context.
        timeout: seconds after which the worker is killed; None means never.
        kill: ends this process soon, after the responses of what fails with it are sent.
    """

    def __init__(
        self,
        tracing: Tracing = untraced,
        timeout: float | None = None,
        kill: Callable[[], None] | None = None,
    ) -> None:
        self._tracing = tracing
        self._timeout = math.inf if timeout is None else timeout
        self._kill = kill
        self._is_killed = False
        self._threads = ThreadPoolExecutor(thread_name_prefix="function")
        # The loop itself keeps only weak references to its tasks.
        self._running: dict[asyncio.Task[Any], asyncio.Future[None]] = {}

    def start(
        self,
        code: Code,
        bind: Callable[[], Awaitable[object]],
        encode: Callable[[object], Encoded],
        trace: TraceContext | None = None,
    ) -> "asyncio.Task[Encoded | None]":
        """Call a function with the value that `bind` returns. The task returns its encoded result.

        The task never raises: an error is logged, and the result is None.
        """
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._timeout, self._expire, code)
        task = loop.create_task(self._run(code, bind, encode, trace or TraceContext()))
        self._running[task] = loop.create_future()

        def ended(_: object) -> None:
            timer.cancel()
            _release(self._running.pop(task))

        task.add_done_callback(ended)
        return task

    async def result(self, task: "asyncio.Task[Encoded | None]") -> Encoded | None:
        """The result of an invocation, or None if it fails or the worker is killed.

        A caller that is cancelled does not cancel the invocation.
        """
        if task in self._running and not self._is_killed:
            await self._running[task]
        return task.result() if task.done() else None

    def _expire(self, code: Code) -> None:
        logger.error(
            "Timeout value of %s s was exceeded by function: 'Functions.%s'. "
            "The worker is restarted.",
            self._timeout,
            code.name,
        )
        if self._is_killed:
            return
        self._is_killed = True
        for end in self._running.values():
            _release(end)
        if self._kill:
            self._kill()

    async def _run(
        self,
        code: Code,
        bind: Callable[[], Awaitable[object]],
        encode: Callable[[object], Encoded],
        trace: TraceContext,
    ) -> Encoded | None:
        with self._tracing(code.name, trace) as child:
            context = InvocationContext(str(uuid4()), code.name, code.directory, child)
            _current.set(context.invocation_id)
            _active.add(context.invocation_id)
            try:
                arguments = {code.parameter: await bind()}
                if code.takes_context:
                    arguments["context"] = context
                return encode(await self._call(partial(code.call, **arguments)))
            # A cancellation that leaves the function is a failure like any other.
            except (Exception, asyncio.CancelledError):
                logger.exception("Executed 'Functions.%s' (Failed)", code.name)
                return None
            finally:
                _active.discard(context.invocation_id)

    async def _call(self, call: "partial[Any]") -> object:
        if inspect.iscoroutinefunction(call.func):
            return await call()
        inherited = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, inherited.run, call)


def _release(end: "asyncio.Future[None]") -> None:
    if not end.done():
        end.set_result(None)


def _current_invocation() -> str | None:
    """The id of the invocation that this code belongs to, in its tasks and its threads."""
    return _current.get() or getattr(_thread_local, "invocation_id", None)


def _is_accepted(_record: logging.LogRecord) -> bool:
    """Whether the host accepts the record: it drops records of invocations that have ended.

    Source: Azure/azure-functions-host, GrpcWorkerChannel.Log.
    """
    invocation = _current_invocation()
    return invocation is None or invocation in _active


class _Line(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(invocation)s] %(message)s",
            "%Y-%m-%dT%H:%M:%S",
        )
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        record.invocation = _current_invocation() or "-"
        # Indented, so that a message with a line break cannot forge a second record.
        return "\n    ".join(super().format(record).splitlines())


def log_to_stderr() -> None:
    """Send records from INFO up to stderr, one line each, with further lines indented.

    As in the worker, only the formatted message is kept: `extra` is dropped.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    handler.addFilter(_is_accepted)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def configure_tracing(settings: MutableMapping[str, str]) -> Tracing:
    """Set up OpenTelemetry if the settings enable it for both the host and the worker.

    The host creates a span for each invocation and passes its context on. The worker configures
    Azure Monitor's exporter before it loads the app, and attaches that context to the invocation.
    Source: https://learn.microsoft.com/azure/azure-functions/opentelemetry-howto and
    otel.py of azure-functions-runtime 1.3.0.
    """
    host = settings.get(_HOST_TELEMETRY) == "OpenTelemetry"
    worker = settings.get(_WORKER_TELEMETRY, "").lower() == "true"
    if not (host and worker):
        return continued if host or settings.get(_CONNECTION_STRING) else untraced
    settings.setdefault("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "azure_functions")
    _export(settings)
    return _traced


def _export(settings: Mapping[str, str]) -> None:
    from azure.monitor.opentelemetry import (  # noqa: PLC0415 -- slow to import, off by default
        configure_azure_monitor,
    )

    configure_azure_monitor(
        connection_string=settings[_CONNECTION_STRING],
        logger_name=settings.get("PYTHON_APPLICATIONINSIGHTS_LOGGER_NAME", ""),
        enable_live_metrics=False,  # live metrics would send two requests per second
    )


@contextmanager
def _traced(name: str, caller: TraceContext) -> Iterator[TraceContext]:
    """Record a span for an invocation, in the caller's trace or in a new one."""
    from opentelemetry import context, trace  # noqa: PLC0415 -- slow to import, off by default
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 -- as above

    propagator = tracecontext.TraceContextTextMapPropagator()
    received = {"traceparent": caller.trace_parent, "tracestate": caller.trace_state}
    span = trace.get_tracer(__name__).start_span(
        name, propagator.extract(received), trace.SpanKind.SERVER
    )
    passed_on: dict[str, str] = {}
    propagator.inject(passed_on, trace.set_span_in_context(span))
    token = context.attach(propagator.extract(passed_on))
    try:
        yield TraceContext(passed_on["traceparent"], passed_on.get("tracestate", ""))
    finally:
        context.detach(token)
        span.end()
