"""What the scheduler can decide. Written down, the decisions are the schedule: it can be replayed.

A3              the call A3 takes effect and is answered
A3:fails        it fails before its effect
A3:throttled    ACS refuses it: too many
A3:unanswered   it takes effect, and its answer is lost
A3:late         nobody waits for it any longer; it takes effect some time
A3:arrives      the late call takes effect
A:killed        the operation A never goes on
lease passes    (or `retention`) time passes
sweeps run      all that is due is finished while a late call is still on its way
"""

from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from identity_service.rows import LEASE

RETENTION = timedelta(days=7)
PASSES = {
    "lease": LEASE + timedelta(seconds=1),
    "retention": RETENTION + timedelta(seconds=1),
}


class Fate(StrEnum):
    """What befalls a call, an operation, or the time."""

    HAPPENS = "happens"
    FAILS = "fails"
    THROTTLED = "throttled"
    UNANSWERED = "unanswered"
    LATE = "late"
    ARRIVES = "arrives"
    KILLED = "killed"
    PASSES = "passes"
    RUN = "run"


FAULTS = {Fate.FAILS, Fate.THROTTLED, Fate.UNANSWERED, Fate.LATE, Fate.KILLED}


class Decision(NamedTuple):
    """One decision: whom it concerns, and what befalls it."""

    who: str
    fate: Fate = Fate.HAPPENS

    def __str__(self) -> str:
        return self.who if self.fate is Fate.HAPPENS else f"{self.who}:{self.fate}"

    @classmethod
    def parse(cls, text: str) -> "Decision":
        """The decision that `str` gave."""
        who, colon, fate = text.partition(":")
        return cls(who, Fate(fate)) if colon else cls(who)


class Budget(NamedTuple):
    """How much may still go wrong, and how often time may still pass."""

    faults: int = 0
    passes: int = 0

    def after(self, decision: Decision) -> "Budget":
        """What is left of it."""
        return Budget(
            self.faults - (decision.fate in FAULTS), self.passes - (decision.fate is Fate.PASSES)
        )


def written(decisions: list[Decision]) -> str:
    """The schedule in one line."""
    return " ".join(map(str, decisions))


def read(schedule: str) -> list[Decision]:
    """The schedule that was written in one line."""
    return [Decision.parse(word) for word in schedule.split()]
