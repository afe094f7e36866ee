"""What surrounds an exploration."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tests.exploration.variant import VARIANT


class _Loud(logging.Handler):
    """Raises what the product logs as an internal error: swallowed, it would go unseen."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            raise record.exc_info[1]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no internal error of the operations pass; what else they log is of no use here.

    The garbage collector rests: it would look through all the moments again and again.
    """
    loud = _Loud(logging.ERROR)
    loggers = [logging.getLogger(name) for name in ("identity_service", VARIANT)]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(loud)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for logger, level, propagate in before:
            logger.removeHandler(loud)
            logger.setLevel(level)
            logger.propagate = propagate
