"""What is known about the invocation that runs here: its id, and what it cost upstream."""

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Invocation:
    """One call of a trigger. Whatever is done for it, in whichever task, notes its cost here.

    Attributes:
        id: As the host names it.
        upstream_request_id: The id that ACS gave its last answer; empty where it gave none.
        acs_seconds: How long calls to ACS have taken, all together.
        throttles: How often ACS has answered 429.
        is_over: It has its answer. What is still done for it, the host hears no more of.
    """

    id: str = ""
    upstream_request_id: str = ""
    acs_seconds: float = 0.0
    throttles: int = 0
    is_over: bool = False


_current: ContextVar[Invocation] = ContextVar("invocation")


def begin(invocation_id: str) -> Invocation:
    """Say which invocation this task works for; tasks that it starts from now on inherit that."""
    invocation = Invocation(invocation_id)
    _current.set(invocation)
    return invocation


def current() -> Invocation:
    """The invocation that runs here; outside of any, a new one without an id."""
    return _current.get(None) or Invocation()
