"""Log records on stderr, each with the invocation it belongs to.

The worker forwards only the formatted message to Application Insights, and the host drops it where
its invocation has ended; so does this.
"""

import logging
import sys
import time

from local.functions_host.invocations import current_invocation, is_heard


class _Line(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s [%(invocation)s] %(message)s",
            "%Y-%m-%dT%H:%M:%S",
        )
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        record.invocation = current_invocation() or "-"
        # Indented, or a message with a line break could pass for a record of its own.
        return "\n    ".join(super().format(record).splitlines())


def to_stderr() -> None:
    """Send everything from INFO up to stderr, one line per record, tracebacks indented below."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    handler.addFilter(lambda _: is_heard())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
