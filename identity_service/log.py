"""What the app logs: one line per event, `event key=value …`, readable by people and by queries."""

import asyncio
import logging
import math
import re
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from traceback import format_exception
from typing import Any, Self

from identity_service.scrubbing import scrub

# Lines that the host drops: it ignores what is logged after an invocation has returned, and an
# operation may continue after that. The next invocation logs them again.
# Source: Azure/azure-functions-host, GrpcWorkerChannel.Log.
unheard: deque[tuple[logging.Logger, int, str]] = deque(maxlen=1000)

# `logging` raises an error if a value has one of these names.
_RESERVED = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_NEEDS_QUOTES = re.compile(r"[\s\"=]")


# Seconds that a request may take to get its credential and its connection.
CONNECTING = 1.0


class Stopwatch:
    """Adds up durations, which may overlap."""

    def __init__(self) -> None:
        self._running = 0
        self._total = 0.0

    def start(self) -> None:
        """Start one duration."""
        self._running += 1
        self._total -= time.perf_counter()

    def stop(self) -> None:
        """Stop one duration."""
        self._running -= 1
        self._total += time.perf_counter()

    @property
    def milliseconds(self) -> int:
        """The sum so far. Durations that are still running count."""
        return round((self._total + self._running * time.perf_counter()) * 1000)


@dataclass(slots=True)
class Invocation:
    """One call of a trigger. Every task that works for it records its costs here.

    Attributes:
        id: The host's id of the invocation.
        caller: Who calls, once it is known: `key`, `service:` and an application id, `user`, or
            `sweep`. Never who the user is.
        identity_id: The identity that the call is about, once it is known.
        upstream_request_id: The id of the last response from ACS. Empty if it had none.
        throttles: How often ACS has responded with 429.
        acs: The time that ACS took.
        table: The time that calls to the table took, with the wait for their credential.
        credential: The time that calls to ACS waited for the app's own credential.
        is_over: The response has been returned. The host ignores what is logged after this.
        deadline: When the caller stops waiting, on the event loop's clock. None if nobody waits.
    """

    id: str = ""
    caller: str = ""
    identity_id: str = ""
    upstream_request_id: str = ""
    throttles: int = 0
    acs: Stopwatch = field(default_factory=Stopwatch)
    table: Stopwatch = field(default_factory=Stopwatch)
    credential: Stopwatch = field(default_factory=Stopwatch)
    is_over: bool = False
    deadline: float | None = None
    _waiting: set["UpstreamCall"] = field(default_factory=set)

    def acs_call(self) -> "UpstreamCall":
        """A call to ACS: first it waits for the credential, then for ACS."""
        return UpstreamCall(self._waiting, self.credential, self.acs)

    def table_call(self) -> "UpstreamCall":
        """A call to the table. The wait for its credential is part of it."""
        return UpstreamCall(self._waiting, self.table, self.table)

    @property
    def waited(self) -> float:
        """The seconds for which the oldest request to an upstream has had no response.

        A request that has no connection or no credential yet counts from `CONNECTING` seconds on: a
        new worker connects often, and slowly.
        """
        oldest = min((call.waits_since for call in self._waiting), default=math.inf)
        return max(0.0, asyncio.get_running_loop().time() - oldest)


class UpstreamCall:
    """A call to an upstream, which is measured in a `with` block.

    Attributes:
        is_sent: It has its credential, and its request has been sent.
        waits_since: The time of the event loop from which the upstream lets it wait.
    """

    def __init__(self, waiting: set["UpstreamCall"], first: Stopwatch, then: Stopwatch) -> None:
        self.is_sent = False
        self.waits_since = math.inf
        self._waiting = waiting
        self._watch, self._then = first, then

    def __enter__(self) -> Self:
        self._token = _call.set(self)
        self.waits_since = asyncio.get_running_loop().time() + CONNECTING
        self._waiting.add(self)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.stop()
        self._waiting.discard(self)
        _call.reset(self._token)

    def connected(self) -> None:
        """Record that the upstream has accepted the connection of the request."""
        self.waits_since = asyncio.get_running_loop().time()

    def sent(self) -> None:
        """Record that the request is being sent, possibly again."""
        if not self.is_sent:
            self.is_sent = True
            self._watch.stop()
            self._watch = self._then
            self._watch.start()


_current: ContextVar[Invocation] = ContextVar("invocation")
_call: ContextVar[UpstreamCall] = ContextVar("upstream_call")


def begin_invocation(invocation_id: str, caller: str = "") -> Invocation:
    """Start an invocation for this task and for all tasks that it starts from now on."""
    invocation = Invocation(invocation_id, caller)
    _current.set(invocation)
    return invocation


def current_invocation() -> Invocation:
    """The invocation that this task works for. Outside of any, a new one without an id."""
    return _current.get(None) or Invocation()


def connected() -> None:
    """Record that the upstream has accepted the connection of a request."""
    if call := _call.get(None):
        call.connected()


def request_sent() -> None:
    """Record that the call to ACS has its credential and sends its request."""
    if call := _call.get(None):
        call.sent()


class EventLog:
    """The events of one module.

    Only the formatted message reaches Application Insights, so the message has everything,
    including the invocation's id and its caller. Log handlers find the same values as attributes of
    the record, unless `logging` has an attribute of that name. No value may be a secret, a user id,
    or the hash of a user id. Only the events about Teams Phone access name a user's object in
    Entra: what they say would be useless without it.
    """

    def __init__(self, module: str) -> None:
        self._log = logging.getLogger(module)

    def info(self, event: str, **values: object) -> None:
        """Log an event that an operator may count or look up."""
        self._write(logging.INFO, event, values)

    def warning(self, event: str, error: BaseException | None = None, **values: object) -> None:
        """Log an unusual event, with the traceback of `error`."""
        self._write(logging.WARNING, event, values, error)

    def error(self, event: str, error: BaseException | None = None, **values: object) -> None:
        """Log an event that an operator should look at, with the traceback of `error`."""
        self._write(logging.ERROR, event, values, error)

    def _write(
        self, level: int, event: str, values: dict[str, Any], error: BaseException | None = None
    ) -> None:
        if not self._log.isEnabledFor(level):
            return
        invocation = current_invocation()
        if invocation.caller:
            values["caller"] = invocation.caller
        if invocation.id:
            values["invocation_id"] = invocation.id
        text, trace = line(event, values), scrub(_traceback(error)) if error else ""
        if scrub(text) != text:
            values = {key: scrub(v) if isinstance(v, str) else v for key, v in values.items()}
            text = scrub(line(event, values))
        extra = {key: value for key, value in values.items() if key not in _RESERVED}
        scrubbed = _Scrubbed(text + trace)
        self._log.log(level, scrubbed, extra={"event": event, **extra}, stacklevel=3)
        if invocation.is_over:
            unheard.append((self._log, level, f"{text} replayed=true{trace}"))
        elif invocation.id:
            _replay()


def restrain_libraries() -> None:
    """Keep secrets out of what libraries log, in the whole process.

    The Azure SDKs log warnings only: at INFO they log each request with its URL, and the URL of a
    user row has a hash of the user id. azure-identity logs no warnings: they repeat what
    `credential_unavailable` says. What libraries do log is scrubbed.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    create = logging.getLogRecordFactory()
    if not isinstance(create, _ScrubbedRecords):
        logging.setLogRecordFactory(_ScrubbedRecords(create))


class _Scrubbed(str):
    """A text without secrets. It need not be scrubbed again."""

    __slots__ = ()


class _ScrubbedRecords:
    """Creates log records without secrets."""

    def __init__(self, create: Callable[..., logging.LogRecord]) -> None:
        self._create = create

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._create(*args, **kwargs)
        _scrub_record(record)
        return record


def _scrub_record(record: logging.LogRecord) -> None:
    """Leave texts only in the record: some handlers export its objects themselves."""
    if isinstance(record.msg, _Scrubbed):
        return
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 -- invalid arguments: `logging` reports them, and never raises
        text = f"{record.msg} {record.args}"
    record.msg, record.args = scrub(text), None
    if record.exc_info:
        record.exc_text = scrub(_traceback(record.exc_info[1]).lstrip())
        record.exc_info = None


def line(event: str, values: dict[str, object]) -> str:
    """The event as one line that KQL's `parse-kv` can read."""
    return " ".join([event, *[f"{key}={_text(value)}" for key, value in values.items()]])


def _replay() -> None:
    """Log the dropped lines again, without attributes, so that no handler counts them twice."""
    while unheard:
        log, level, text = unheard.popleft()
        log.log(level, _Scrubbed(text))


def _traceback(error: BaseException | None) -> str:
    """The traceback as text. The error itself would keep all objects of its frames alive."""
    return "".join(["\n", *format_exception(error)]).rstrip() if error else ""


def _text(value: object) -> str:
    """The value: in double quotes if it would not stay in one piece, `-` if there is none."""
    text = "-" if value is None else str(value)
    if not _NEEDS_QUOTES.search(text):
        return text or "-"
    return '"{}"'.format(" ".join(text.split()).replace('"', "'"))
