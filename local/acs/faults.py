"""Faults on demand: what goes wrong, with which calls, and how often."""

import random
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from local.acs.messages import Answer, Operation

When = Literal["before", "after"]
Target = Literal["any", "create", "issue", "revoke", "delete", "exchange"]


class Fault(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename="camel",
    tag_field="kind",
):
    """What all kinds share.

    `times` bounds how often it strikes (None: until cleared), `share` is the part of the matching
    calls that it strikes, drawn from `seed`. `delay_seconds` pass before anything else happens.
    """

    operation: Target = "any"
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    delay_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Status(Fault, frozen=True, kw_only=True, tag="status"):
    """Another answer instead; `retry_after` is in seconds, or an HTTP date."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    when: When = "before"
    retry_after: int | str | None = None
    body: Literal["json", "html", "empty"] = "json"
    code: str = "InjectedFault"
    message: str = "This fault was asked for."

    def answer(self) -> Answer:
        """What the caller gets."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        match self.body:
            case "json":
                error = {"code": self.code, "message": self.message}
                return Answer.error(self.status, error, headers)
            case "html":
                page = f"<!DOCTYPE html><title>{self.status}</title>".encode()
                return Answer(self.status, page, {**headers, "Content-Type": "text/html"})
            case "empty":
                return Answer(self.status, b"", headers)


class Delay(Fault, frozen=True, kw_only=True, tag="delay"):
    """The right answer, late. A client that goes meanwhile does not undo the effect."""

    when: When = "before"


class Hang(Fault, frozen=True, kw_only=True, tag="hang"):
    """No answer until the fault is cleared. A client that goes before the effect prevents it."""

    when: When = "before"


class Drop(Fault, frozen=True, kw_only=True, tag="drop"):
    """The connection is dropped without an answer."""

    when: When = "before"


class Half(Fault, frozen=True, kw_only=True, tag="half"):
    """The effect happens; half of the answer is sent, then the connection ends."""

    when: ClassVar[When] = "after"


class UnknownKey(Fault, frozen=True, kw_only=True, tag="unknownKey"):
    """The effect happens; the token in the answer is signed with a key that nobody knows."""

    when: ClassVar[When] = "after"


AnyFault = Status | Delay | Hang | Drop | Half | UnknownKey


@dataclass(slots=True, eq=False)
class Armed:
    """A fault that waits for its calls."""

    id: int
    fault: AnyFault
    struck: int = 0
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.fault.seed)  # noqa: S311 -- repeatable, no secret

    def strikes(self, operation: Operation) -> bool:
        """Whether it strikes this call; counts it where it does."""
        fault = self.fault
        if fault.operation not in ("any", operation):
            return False
        if fault.times is not None and self.struck >= fault.times:
            return False
        if self.dice.random() >= fault.share:
            return False
        self.struck += 1
        return True

    def document(self) -> dict[str, Any]:
        """The fault as it was asked for, with its id and how often it struck."""
        return {"id": self.id, "struck": self.struck, **msgspec.to_builtins(self.fault)}


class FaultPlan:
    """The armed faults, oldest first. One call meets one fault at most: the first that strikes."""

    def __init__(self) -> None:
        self._armed: dict[int, Armed] = {}
        self._ids = count(1)

    def arm(self, fault: AnyFault) -> Armed:
        """Let a fault wait for its calls."""
        armed = Armed(next(self._ids), fault)
        self._armed[armed.id] = armed
        return armed

    def strike(self, operation: Operation) -> Armed | None:
        """The fault that this call meets, if any."""
        return next((armed for armed in self._armed.values() if armed.strikes(operation)), None)

    def disarm(self, fault_id: int) -> Armed | None:
        """Take one fault away; None where there is none of that id."""
        return self._armed.pop(fault_id, None)

    def clear(self) -> None:
        """Take all faults away."""
        self._armed.clear()

    def document(self) -> list[dict[str, Any]]:
        """All faults, those used up included."""
        return [armed.document() for armed in self._armed.values()]
