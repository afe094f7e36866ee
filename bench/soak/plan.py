"""What goes wrong when: drawn from a seed, so that it can be had again."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from random import Random
from typing import Any

# Seconds: how long most faults last, and the calm after each.
FAULT, CALM = 6.0, 12.0
# azure-identity asks the endpoint again after 30 s at the earliest: a shorter fault may miss it.
IDENTITY_FAULT = 33.0


@dataclass(frozen=True)
class Fault:
    """Something is made to fail.

    Attributes:
        kind: `acs` for an order to the ACS emulator; `outage`, `identity`, `storage`, `kill`.
        excused: How calls may be answered that feel it; 0 is no answer.
        order: What the ACS emulator is told.
        seconds: How long it lasts; 0 where it is over at once.
        start: When it begins, in seconds from the beginning.
    """

    name: str
    kind: str
    excused: frozenset[int] = frozenset({503})
    order: dict[str, Any] = field(default_factory=dict)
    seconds: float = FAULT
    start: float = 0.0


KILL = Fault("worker: killed", "kill", frozenset({0}), seconds=0)
# The app promises that nobody notices these.
_NOTHING: frozenset[int] = frozenset()
FAULTS = (
    Fault("ACS: 500", "acs", order={"kind": "status", "status": 500, "share": 0.5}),
    Fault(
        "ACS: 503 with Retry-After",
        "acs",
        order={"kind": "status", "status": 503, "retryAfter": 2},
    ),
    Fault(
        "ACS: 429",
        "acs",
        frozenset({429}),
        order={"kind": "status", "status": 429, "retryAfter": 1, "share": 0.5},
    ),
    Fault("ACS: a second late", "acs", _NOTHING, order={"kind": "delay", "delaySeconds": 1}),
    Fault("ACS: dropped before the effect", "acs", order={"kind": "drop", "share": 0.3}),
    Fault(
        "ACS: dropped after the effect",
        "acs",
        order={"kind": "drop", "when": "after", "share": 0.3},
    ),
    Fault("ACS: half an answer", "acs", order={"kind": "half", "share": 0.3}),
    Fault(
        "ACS: HTML", "acs", order={"kind": "status", "status": 502, "body": "html", "share": 0.5}
    ),
    Fault("ACS: connections refused", "outage"),
    Fault("managed identity: 500", "identity", _NOTHING, seconds=IDENTITY_FAULT),
    Fault("storage: no answer", "storage", frozenset({503, 504})),
)


def plan(seconds: float, seed: int) -> list[Fault]:
    """One fault after the other, with calm between and at the end.

    The worker is killed first, so that the rest of the time is one worker's. Each of the others
    comes once before any comes again.
    """
    dice = Random(seed)  # noqa: S311 -- repeatable, no secret
    planned: list[Fault] = []
    start = CALM / 2
    for fault in chain([KILL], _drawn(dice)):
        if start + fault.seconds + CALM > seconds:
            break
        planned.append(replace(fault, start=start))
        start += fault.seconds + CALM
    return planned


def _drawn(dice: Random) -> Iterator[Fault]:
    while True:
        yield from dice.sample(FAULTS, len(FAULTS))
