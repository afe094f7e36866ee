"""What the app says: one line per event, `event key=value …`, for people and for queries alike."""

import logging
import re
from collections import deque
from traceback import format_exception
from typing import Any

from identity_service.invocation import current

# The host drops the lines of an invocation that has its answer already, and an operation may go on
# after that. So each of them is said again beside the next line of any other invocation.
# Source: Azure/azure-functions-host, GrpcWorkerChannel.Log.
unheard: deque[tuple[logging.Logger, int, str]] = deque(maxlen=1000)
_NEEDS_QUOTES = re.compile(r"[\s\"=]")


class Events:
    """The events of one module.

    Only the formatted message reaches Application Insights through the Functions host; so
    everything is in it, the invocation's id included. The record has the same values as attributes
    of its own, for handlers. No value may be secret, a user id, or a hash of one.
    """

    def __init__(self, module: str) -> None:
        self._log = logging.getLogger(module)

    def info(self, event: str, **values: object) -> None:
        """Something that an operator may want to count or to look up."""
        self._say(logging.INFO, event, values)

    def warning(self, event: str, error: BaseException | None = None, **values: object) -> None:
        """Something out of the ordinary; of `error` the traceback is logged."""
        self._say(logging.WARNING, event, values, error)

    def error(self, event: str, error: BaseException | None = None, **values: object) -> None:
        """Something that an operator should look at; of `error` the traceback is logged."""
        self._say(logging.ERROR, event, values, error)

    def _say(
        self, level: int, event: str, values: dict[str, Any], error: BaseException | None = None
    ) -> None:
        if not self._log.isEnabledFor(level):
            return
        invocation = current()
        if invocation.id:
            values["invocation_id"] = invocation.id
        text = line(event, values)
        self._log.log(
            level, "%s", text, exc_info=error, extra={"event": event, **values}, stacklevel=3
        )
        if invocation.is_over:
            unheard.append((self._log, level, f"{text} said_again=true{_traceback(error)}"))
        elif invocation.id:
            _say_again()


def _say_again() -> None:
    """Say what the host has not heard; without attributes, so that no handler counts it twice."""
    while unheard:
        log, level, text = unheard.popleft()
        log.log(level, "%s", text)


def _traceback(error: BaseException | None) -> str:
    """As text: the error itself would keep alive all that its frames hold."""
    return "".join(["\n", *format_exception(error)]).rstrip() if error else ""


def line(event: str, values: dict[str, object]) -> str:
    """The event in one line, which KQL's `parse-kv` and people can read."""
    return " ".join([event, *(f"{key}={_text(value)}" for key, value in values.items())])


def _text(value: object) -> str:
    """The value: in double quotes where it would not stay in one piece, `-` where there is none."""
    text = "-" if value is None else str(value)
    if not _NEEDS_QUOTES.search(text):
        return text or "-"
    return '"{}"'.format(" ".join(text.split()).replace('"', "'"))
