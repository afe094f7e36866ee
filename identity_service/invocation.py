"""What is known about the invocation that runs here: its id, and what it cost upstream."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Invocation:
    """One call of a trigger. Whatever is done for it, in whichever task, notes its cost here.

    Attributes:
        id: As the host names it.
        upstream_request_id: The id that ACS gave its last answer; empty where it gave none.
        throttles: How often ACS has answered 429.
        is_over: It has its answer. What is still done for it, the host hears no more of.
    """

    id: str = ""
    upstream_request_id: str = ""
    throttles: int = 0
    is_over: bool = False
    _acs_calls: int = 0
    _acs_seconds: float = 0.0

    @property
    def acs_seconds(self) -> float:
        """How long calls to ACS have taken so far, all together; those under way count."""
        return self._acs_seconds + self._acs_calls * time.perf_counter()

    @contextmanager
    def acs_call(self) -> Iterator[None]:
        """A call to ACS is under way during the block."""
        # What it took is its end less its beginning, whichever other calls are under way.
        self._acs_calls += 1
        self._acs_seconds -= time.perf_counter()
        try:
            yield
        finally:
            self._acs_calls -= 1
            self._acs_seconds += time.perf_counter()


_current: ContextVar[Invocation] = ContextVar("invocation")


def begin(invocation_id: str) -> Invocation:
    """Say which invocation this task works for; tasks that it starts from now on inherit that."""
    invocation = Invocation(invocation_id)
    _current.set(invocation)
    return invocation


def current() -> Invocation:
    """The invocation that runs here; outside of any, a new one without an id."""
    return _current.get(None) or Invocation()
