"""How often each operation was called, and how often something came of it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local.acs.messages import Operation


class Ledger:
    """Counts attempts as they arrive, effects as they happen, and calls under way."""

    def __init__(self) -> None:
        self._attempts: Counter[Operation] = Counter()
        self._effects: Counter[Operation] = Counter()
        self._in_flight = 0
        self._peak = 0

    @contextmanager
    def call(self, operation: Operation) -> Iterator[None]:
        """Count an attempt that is under way until the block ends."""
        self._attempts[operation] += 1
        self._in_flight += 1
        self._peak = max(self._peak, self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1

    def took_effect(self, operation: Operation) -> None:
        """Count a call that did what it was asked for."""
        self._effects[operation] += 1

    def document(self) -> dict[str, Any]:
        """All counts, zeros included."""
        return {
            "operations": {
                operation: {
                    "attempts": self._attempts[operation],
                    "effects": self._effects[operation],
                }
                for operation in Operation
            },
            "inFlight": {"now": self._in_flight, "peak": self._peak},
        }

    def clear(self) -> None:
        """Begin at zero; calls under way stay counted as such."""
        self._attempts.clear()
        self._effects.clear()
        self._peak = self._in_flight
