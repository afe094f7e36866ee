"""What is measured, in numbers."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Round:
    """What one contender did in one round.

    Attributes:
        seconds: How long the round took.
        cpu: Seconds of CPU that this process spent on it, all threads together.
        latencies: Seconds that each call took.
    """

    seconds: float
    cpu: float
    latencies: list[float]


@dataclass(frozen=True)
class Series:
    """All rounds of one contender, with so many calls at once and so many ms of upstream delay."""

    contender: str
    at_once: int
    delay_ms: int
    rounds: list[Round]

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of CPU per call: the median round's."""
        return median(one.cpu / len(one.latencies) for one in self.rounds) * 1000

    @property
    def per_second(self) -> float:
        """Calls per second: the median round's."""
        return median(len(one.latencies) / one.seconds for one in self.rounds)

    @property
    def p50_ms(self) -> float:
        """The median round's median."""
        return median(median(one.latencies) for one in self.rounds) * 1000

    @property
    def p99_ms(self) -> float:
        """Over the calls of all rounds: a round alone has too few."""
        return percentile([value for one in self.rounds for value in one.latencies], 99) * 1000


@dataclass(frozen=True)
class Work:
    """Everything that one long-lived process measures: `tokens` and the rates of the rest."""

    tokens: list[Series]
    creates: list[Series]
    deletes: list[Series]


@dataclass(frozen=True)
class Figures:
    """Everything there is: import times in ms and memory in MiB by contender, and the work."""

    imports: dict[str, float]
    memory: dict[str, float]
    work: Work

    def tokens(self, contender: str, at_once: int, delay_ms: int) -> Series:
        """The tokens of one contender under one load."""
        wanted = (contender, at_once, delay_ms)
        return next(
            series
            for series in self.work.tokens
            if (series.contender, series.at_once, series.delay_ms) == wanted
        )


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that at least so many per cent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
