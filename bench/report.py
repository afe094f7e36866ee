"""The figures of the comparison as Markdown tables with their targets, and as a plot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.inside import CLIENTS, REQUESTS, TRIGGER
from bench.load import Series
from tools.markdown import table

APP = "the app"
BEFORE = "the app before"
QUICKSTART = "quickstart, Functions"
EXPRESS = "quickstart, Express"
# What a request costs without a token.
HOST_ALONE = "Functions host alone"
EXPRESS_ALONE = "Express alone"
TOKENS = (APP, BEFORE, QUICKSTART, EXPRESS)
# The load that limits the worker, whose ratios have the targets.
BUSY = (16, 0)
BEFORE_TARGET, EXPRESS_TARGET, LATENCY_TARGET_MS = 0.70, 1.45, 1.5
# The attributes of a round and of a series, with their titles.
FIGURES = {
    "cpu_ms": "CPU ms per token",
    "per_second": "tokens per second",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
}
# In the plot the app is blue and the quickstarts are grey; p99 is paler than p50.
_COLOURS = {APP: ("#1f6fb5", "#a9cbe8"), BEFORE: ("#6a9fcb", "#cfe1f1")}
_GREY = ("#777777", "#cccccc")
_BAR = 0.38


@dataclass(frozen=True)
class Figures:
    """All figures.

    Attributes:
        served: Over HTTP: every contender under every load.
        inside: In one process, one call at a time, with 20 ms of delay.
    """

    served: list[Series]
    inside: list[Series]

    def loads(self) -> list[tuple[int, int]]:
        """Return calls at once and milliseconds of delay of every load."""
        return list(dict.fromkeys((one.at_once, one.delay_ms) for one in self.served))

    def under(self, load: tuple[int, int]) -> dict[str, Series]:
        """Return the contenders under one load, by name."""
        found = (one for one in self.served if (one.at_once, one.delay_ms) == load)
        return {one.contender: one for one in found}


def report(figures: Figures, commit: str) -> str:
    """Return all tables. `commit` is that of the app before."""
    title = f"The app compared with commit {commit} and with two quickstarts"
    parts = [f"## {title}", _titled("Targets", _targets(figures)), *_loads(figures)]
    parts.append(_titled("CPU at 16 at once, without delay", _busy(figures)))
    return "\n\n".join([*parts, _titled("In the process, one call at a time", _inside(figures))])


def _inside(figures: Figures) -> str:
    rows = [(one.contender, f"{one.cpu_ms:.2f}", f"{one.p50_ms:.1f}") for one in figures.inside]
    return table(("", FIGURES["cpu_ms"], FIGURES["p50_ms"]), rows)


def _targets(figures: Figures) -> str:
    busy = figures.under(BUSY)
    inside = {one.contender: one for one in figures.inside}
    rows = [
        _target(f"CPU: {APP} / {BEFORE}", _ratio(busy, APP, BEFORE, "cpu_ms"), "x", BEFORE_TARGET),
        _target(
            f"CPU: {APP} / {EXPRESS}", _ratio(busy, APP, EXPRESS, "cpu_ms"), "x", EXPRESS_TARGET
        ),
        _target(
            f"p50 in the process: {TRIGGER} minus {CLIENTS}",
            _more(inside, TRIGGER, CLIENTS),
            " ms",
            LATENCY_TARGET_MS,
        ),
        _target(
            f"p50 in the process: {TRIGGER} minus {REQUESTS}",
            _more(inside, TRIGGER, REQUESTS),
            " ms",
            LATENCY_TARGET_MS,
        ),
    ]
    return table(("what", "measured", "target", ""), rows)


def _target(what: str, measured: float, unit: str, target: float) -> tuple[str, ...]:
    verdict = "met" if measured <= target else "**missed**"
    return what, f"{measured:.2f}{unit}", f"at most {target:.2f}{unit}", verdict


def _ratio(series: Mapping[str, Series], ours: str, theirs: str, figure: str) -> float:
    """Return the median of the rounds' ratios: both have seen the same noise in a round."""
    pairs = zip(series[ours].rounds, series[theirs].rounds, strict=True)
    ratios: list[float] = [getattr(our, figure) / getattr(their, figure) for our, their in pairs]
    return median(ratios)


def _more(series: Mapping[str, Series], ours: str, theirs: str) -> float:
    """Return the median of the differences between the rounds' median latencies, in ms."""
    pairs = zip(series[ours].rounds, series[theirs].rounds, strict=True)
    return median(our.p50_ms - their.p50_ms for our, their in pairs)


def _loads(figures: Figures) -> Iterator[str]:
    for load in figures.loads():
        series = figures.under(load)
        rows = [_measured(series[name]) for name in TOKENS]
        rows += [_ratios(series, other) for other in TOKENS[1:]]
        yield _titled(_name(load), table(("", *FIGURES.values()), rows))


def _measured(series: Series) -> tuple[str, ...]:
    return (
        series.contender,
        f"{series.cpu_ms:.2f}",
        f"{series.per_second:,.0f}",
        f"{series.p50_ms:.1f}",
        f"{series.p99_ms:.1f}",
    )


def _ratios(series: Mapping[str, Series], other: str) -> tuple[str, ...]:
    ratios = (f"{_ratio(series, APP, other, figure):.2f}x" for figure in FIGURES)
    return f"{APP} / {other}", *ratios


def _busy(figures: Figures) -> str:
    """Return what the hosts cost, and the ratios without them."""
    busy = figures.under(BUSY)
    rows = [(name, f"{busy[name].cpu_ms:.2f}") for name in (HOST_ALONE, EXPRESS_ALONE)]
    ours = _without(busy, APP, HOST_ALONE)
    for other, host in ((BEFORE, HOST_ALONE), (QUICKSTART, HOST_ALONE), (EXPRESS, EXPRESS_ALONE)):
        theirs = _without(busy, other, host)
        ratio = median(our / their for our, their in zip(ours, theirs, strict=True))
        rows.append((f"{APP} / {other}, both without their host", f"{ratio:.2f}x"))
    return table(("", "CPU ms per request"), rows)


def _without(series: Mapping[str, Series], name: str, host: str) -> list[float]:
    pairs = zip(series[name].rounds, series[host].rounds, strict=True)
    return [whole.cpu_ms - alone.cpu_ms for whole, alone in pairs]


def _name(load: tuple[int, int]) -> str:
    at_once, delay_ms = load
    return f"{at_once} at once, {delay_ms} ms of delay"


def _titled(title: str, text: str) -> str:
    return f"### {title}\n\n{text}"


def draw(figures: Figures, path: Path) -> None:
    """Draw the figures into a PNG file."""
    figure = Figure(figsize=(16, 15), layout="constrained")
    loads = figures.loads()
    for row, load in zip(figure.subplots(len(loads), 3, squeeze=False), loads, strict=True):
        series = [figures.under(load)[name] for name in TOKENS]
        _bars(row[0], f"{_name(load)}: CPU ms per token", series, "cpu_ms")
        _bars(row[1], "tokens per second", series, "per_second")
        _bars(row[2], "p50 and p99, ms", series, "p50_ms", "p99_ms")
        for axis in row[1:]:
            axis.set_yticklabels([])
    figure.savefig(path, dpi=80, metadata={"Software": None})


def _bars(axis: Axes, title: str, series: Sequence[Series], *names: str) -> None:
    """Draw one or two figures of each contender."""
    height = 2 * _BAR / len(names)
    for number, name in enumerate(names):
        places = [place + height * (number - (len(names) - 1) / 2) for place in range(len(series))]
        values = [getattr(one, name) for one in series]
        colours = [_COLOURS.get(one.contender, _GREY)[number] for one in series]
        bars = axis.barh(places, values, height=height, color=colours)
        axis.bar_label(bars, labels=[_number(value) for value in values], padding=3)
    axis.set_yticks(range(len(series)), [one.contender for one in series])
    axis.set_title(title, loc="left", fontweight="bold")
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.tick_params(left=False)
    axis.spines[["top", "right"]].set_visible(False)


def _number(value: float) -> str:
    """Format with three significant digits."""
    digits = max(0, 3 - len(str(int(value))))
    return f"{value:,.{digits}f}"
