"""What goes wrong when: drawn from a seed, so that it can be had again."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

# Seconds: how long a fault lasts, and the calm after it.
FAULT, CALM = 6.0, 12.0


@dataclass(frozen=True)
class Fault:
    """Something is made to fail.

    Attributes:
        kind: `acs` for an order to the ACS emulator; `outage`, `identity`, `storage`, `kill`.
        start: When it begins, in seconds from the beginning.
        order: What the ACS emulator is told.
    """

    name: str
    kind: str
    start: float
    order: dict[str, Any] = field(default_factory=dict)


_ACS: dict[str, dict[str, Any]] = {
    "ACS: 500": {"kind": "status", "status": 500, "share": 0.5},
    "ACS: 503 with Retry-After": {"kind": "status", "status": 503, "retryAfter": 2},
    "ACS: 429": {"kind": "status", "status": 429, "retryAfter": 1, "share": 0.5},
    "ACS: a second late": {"kind": "delay", "delaySeconds": 1},
    "ACS: dropped before the effect": {"kind": "drop", "share": 0.3},
    "ACS: dropped after the effect": {"kind": "drop", "when": "after", "share": 0.3},
    "ACS: half an answer": {"kind": "half", "share": 0.3},
    "ACS: HTML": {"kind": "status", "status": 502, "body": "html", "share": 0.5},
}
_OTHERS = {
    "ACS: connections refused": "outage",
    "managed identity: 500": "identity",
    "storage: no answer": "storage",
}
NAMES = (*_ACS, *_OTHERS)


def plan(seconds: float, seed: int) -> list[Fault]:
    """One fault after the other, with calm between and at the end.

    The worker is killed first, so that the rest of the time is one worker's. Each of the others
    comes once before any comes again.
    """
    dice = Random(seed)  # noqa: S311 -- repeatable, no secret
    starts = _starts(seconds)
    kill = [Fault("worker: killed", "kill", start) for start in [next(starts, None)] if start]
    others = zip(_drawn(dice), starts, strict=False)
    return kill + [
        Fault(name, _OTHERS.get(name, "acs"), at, _ACS.get(name, {})) for name, at in others
    ]


def _starts(seconds: float) -> Iterator[float]:
    start = CALM / 2
    while start + FAULT + CALM <= seconds:
        yield start
        start += FAULT + CALM


def _drawn(dice: Random) -> Iterator[str]:
    while True:
        yield from dice.sample(NAMES, len(NAMES))
