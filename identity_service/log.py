"""What the app logs: one line per event, `event key=value …`, readable by people and by queries."""

import logging
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from traceback import format_exception
from typing import Any

# Lines that the host drops: it ignores what is logged after an invocation has returned, and an
# operation may continue after that. The next invocation logs them again.
# Source: Azure/azure-functions-host, GrpcWorkerChannel.Log.
unheard: deque[tuple[logging.Logger, int, str]] = deque(maxlen=1000)

# `logging` raises an error if a value has one of these names.
_RESERVED = {*vars(logging.makeLogRecord({})), "message", "asctime"}
_NEEDS_QUOTES = re.compile(r"[\s\"=]")


@dataclass(slots=True)
class Invocation:
    """One call of a trigger. Every task that works for it records its costs here.

    Attributes:
        id: The host's id of the invocation.
        upstream_request_id: The id of the last response from ACS. Empty if it had none.
        throttles: How often ACS has responded with 429.
        is_over: The response has been returned. The host ignores what is logged after this.
    """

    id: str = ""
    upstream_request_id: str = ""
    throttles: int = 0
    is_over: bool = False
    _acs_calls: int = 0
    _acs_seconds: float = 0.0

    @property
    def acs_seconds(self) -> float:
        """The time spent in calls to ACS so far, including calls that are still running."""
        return self._acs_seconds + self._acs_calls * time.perf_counter()

    @contextmanager
    def acs_call(self) -> Iterator[None]:
        """Measure a call to ACS. Calls may overlap."""
        self._acs_calls += 1
        self._acs_seconds -= time.perf_counter()
        try:
            yield
        finally:
            self._acs_calls -= 1
            self._acs_seconds += time.perf_counter()


_current: ContextVar[Invocation] = ContextVar("invocation")


def begin_invocation(invocation_id: str) -> Invocation:
    """Start an invocation for this task and for all tasks that it starts from now on."""
    invocation = Invocation(invocation_id)
    _current.set(invocation)
    return invocation


def current_invocation() -> Invocation:
    """The invocation that this task works for. Outside of any, a new one without an id."""
    return _current.get(None) or Invocation()


class EventLog:
    """The events of one module.

    Only the formatted message reaches Application Insights, so the message has everything,
    including the invocation's id. Log handlers find the same values as attributes of the record,
    unless `logging` has an attribute of that name. No value may be a secret, a user id, or the hash
    of a user id.
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
        if invocation.id:
            values["invocation_id"] = invocation.id
        text = line(event, values)
        extra = {key: values[key] for key in values.keys() - _RESERVED}
        self._log.log(
            level, "%s", text, exc_info=error, extra={"event": event, **extra}, stacklevel=3
        )
        if invocation.is_over:
            unheard.append((self._log, level, f"{text} replayed=true{_traceback(error)}"))
        elif invocation.id:
            _replay()


def silence_libraries() -> None:
    """Let the Azure SDKs log warnings only.

    At INFO they log each request with its URL, and the URL of a user row has a hash of the user id.
    """
    logging.getLogger("azure").setLevel(logging.WARNING)


def line(event: str, values: dict[str, object]) -> str:
    """The event as one line that KQL's `parse-kv` can read."""
    return " ".join([event, *(f"{key}={_text(value)}" for key, value in values.items())])


def _replay() -> None:
    """Log the dropped lines again, without attributes, so that no handler counts them twice."""
    while unheard:
        log, level, text = unheard.popleft()
        log.log(level, "%s", text)


def _traceback(error: BaseException | None) -> str:
    """The traceback as text. The error itself would keep all objects of its frames alive."""
    return "".join(["\n", *format_exception(error)]).rstrip() if error else ""


def _text(value: object) -> str:
    """The value: in double quotes if it would not stay in one piece, `-` if there is none."""
    text = "-" if value is None else str(value)
    if not _NEEDS_QUOTES.search(text):
        return text or "-"
    return '"{}"'.format(" ".join(text.split()).replace('"', "'"))
