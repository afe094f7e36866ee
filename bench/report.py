"""The figures of the comparison as Markdown tables with their targets, and as a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.contenders import (
    APP,
    APP_AND_TRANSPORT,
    APP_WITHOUT_READ,
    DEFAULTS,
    DEFAULTS_AND_READ,
    LIBRARIES,
    TUNED,
    TUNED_AND_READ,
)
from bench.load import Series
from bench.measure import Work
from tools.markdown import table

LOADS = ((1, 0), (16, 0), (1, 20), (16, 20))
IMPORT_TARGET, DEFAULTS_TARGET, TUNED_TARGET = 1.10, 0.70, 1.20
LATENCY_TARGET_MS = 2.0
# In the plot the app is blue and the SDKs are grey; p99 is paler than p50.
_BLUE, _PALE_BLUE, _GREY, _PALE_GREY = "#1f6fb5", "#a9cbe8", "#777777", "#cccccc"
_BAR = 0.38


@dataclass(frozen=True)
class Figures:
    """All figures: import times in ms and memory in MiB by contender, and the work."""

    imports: dict[str, float]
    memory: dict[str, float]
    work: Work

    def tokens(self, contender: str, at_once: int, delay_ms: int) -> Series:
        """Return the tokens of one contender under one load."""
        return next(
            one for one in self.tokens_under(at_once, delay_ms) if one.contender == contender
        )

    def tokens_under(self, at_once: int, delay_ms: int) -> list[Series]:
        """Return the tokens of all contenders under one load."""
        load = (at_once, delay_ms)
        return [one for one in self.work.tokens if (one.at_once, one.delay_ms) == load]


def report(figures: Figures) -> str:
    """Return all tables."""
    parts = (_targets, _imports, _tokens, _latencies, _lifecycle, _memory)
    return "\n\n".join(part(figures) for part in parts)


def _targets(figures: Figures) -> str:
    rows = [
        _import_target(figures),
        _cpu_target(figures, APP_WITHOUT_READ, DEFAULTS, DEFAULTS_TARGET),
        _cpu_target(figures, APP_WITHOUT_READ, TUNED, TUNED_TARGET),
        _cpu_target(figures, APP, DEFAULTS_AND_READ),
        _cpu_target(figures, APP, TUNED_AND_READ),
        _cpu_target(figures, APP, APP_WITHOUT_READ),
        _latency_target(figures, 1, APP_WITHOUT_READ, DEFAULTS, LATENCY_TARGET_MS),
        _latency_target(figures, 16, APP_WITHOUT_READ, DEFAULTS, LATENCY_TARGET_MS),
        _latency_target(figures, 1, APP, DEFAULTS_AND_READ),
        _latency_target(figures, 1, APP, APP_WITHOUT_READ),
    ]
    return _titled("Targets", table(("what", "measured", "target", ""), rows))


def _import_target(figures: Figures) -> tuple[str, ...]:
    ratio = figures.imports[APP_AND_TRANSPORT] / figures.imports[LIBRARIES]
    return _target(f"import: {APP_AND_TRANSPORT} / {LIBRARIES}", ratio, "x", IMPORT_TARGET)


def _cpu_target(
    figures: Figures, ours: str, theirs: str, target: float | None = None
) -> tuple[str, ...]:
    ratio = figures.tokens(ours, 16, 0).cpu_ms / figures.tokens(theirs, 16, 0).cpu_ms
    return _target(f"CPU of a token: {ours} / {theirs}", ratio, "x", target)


def _latency_target(
    figures: Figures, at_once: int, ours: str, theirs: str, target: float | None = None
) -> tuple[str, ...]:
    more = figures.tokens(ours, at_once, 20).p50_ms - figures.tokens(theirs, at_once, 20).p50_ms
    what = f"p50 at 20 ms of delay, {at_once} at once: {ours} minus {theirs}"
    return _target(what, more, " ms", target)


def _target(what: str, measured: float, unit: str, target: float | None) -> tuple[str, ...]:
    if target is None:
        return what, f"{measured:.2f}{unit}", "", ""
    verdict = "met" if measured <= target else "**missed**"
    return what, f"{measured:.2f}{unit}", f"at most {target:.2f}{unit}", verdict


def _imports(figures: Figures) -> str:
    rows = [(name, f"{ms:.0f}") for name, ms in figures.imports.items()]
    return _titled("Import, ms", table(("what", "median"), rows))


def _tokens(figures: Figures) -> str:
    heads = ("issue a token, 16 at once, no delay", "CPU ms per call", "calls per second")
    series = figures.tokens_under(*LOADS[1])
    return _titled("What a token costs", table(heads, [_cost(one) for one in series]))


def _cost(series: Series) -> tuple[str, ...]:
    return series.contender, f"{series.cpu_ms:.2f}", f"{series.per_second:,.0f}"


def _latencies(figures: Figures) -> str:
    heads = ["issue a token, p50 / p99 in ms"]
    heads += [f"{at_once} at once, {delay} ms of delay" for at_once, delay in LOADS]
    names = dict.fromkeys(one.contender for one in figures.work.tokens)
    rows = [
        (name, *(_latency(figures.tokens(name, at_once, delay)) for at_once, delay in LOADS))
        for name in names
    ]
    return _titled("How long a token takes", table(heads, rows))


def _latency(series: Series) -> str:
    return f"{series.p50_ms:.1f} / {series.p99_ms:.1f}"


def _lifecycle(figures: Figures) -> str:
    heads = ("16 at once", "creates per second", "CPU ms", "deletes per second", "CPU ms")
    pairs = zip(figures.work.creates, figures.work.deletes, strict=True)
    rows = [(*_rate(create), *_rate(delete)[1:]) for create, delete in pairs]
    return _titled("Creating and deleting", table(heads, rows))


def _rate(series: Series) -> tuple[str, ...]:
    return series.contender, f"{series.per_second:,.0f}", f"{series.cpu_ms:.2f}"


def _memory(figures: Figures) -> str:
    rows = [(name, f"{mib:.0f}") for name, mib in figures.memory.items()]
    return _titled("Peak memory after 400 tokens, MiB", table(("what", "median"), rows))


def _titled(title: str, text: str) -> str:
    return f"### {title}\n\n{text}"


def draw(figures: Figures, path: Path) -> None:
    """Draw the figures into a PNG file."""
    figure = Figure(figsize=(15, 13), layout="constrained")
    axes = figure.subplots(4, 2)
    work, fast = figures.work, figures.tokens_under(16, 0)
    _bars(axes[0, 0], "CPU of a token, ms", _by_name(fast, "cpu_ms"))
    _bars(axes[0, 1], "Tokens per second, 16 at once", _by_name(fast, "per_second"))
    _latency_bars(axes[1, 0], "1 at once, 20 ms upstream: p50, p99", figures.tokens_under(1, 20))
    _latency_bars(axes[1, 1], "16 at once, 20 ms upstream: p50, p99", figures.tokens_under(16, 20))
    _bars(axes[2, 0], "Creates per second, 16 at once", _by_name(work.creates, "per_second"))
    _bars(axes[2, 1], "Deletes per second, 16 at once", _by_name(work.deletes, "per_second"))
    _bars(axes[3, 0], "Import, ms", figures.imports)
    _bars(axes[3, 1], "Peak memory, MiB", figures.memory)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def _by_name(series: Sequence[Series], figure: str) -> dict[str, float]:
    return {one.contender: getattr(one, figure) for one in series}


def _bars(axis: Axes, title: str, values: Mapping[str, float]) -> None:
    colours = [_BLUE if _is_ours(name) else _GREY for name in values]
    bars = axis.barh(list(values), list(values.values()), color=colours)
    axis.bar_label(bars, labels=[_number(value) for value in values.values()], padding=3)
    _finish(axis, title)


def _latency_bars(axis: Axes, title: str, series: Sequence[Series]) -> None:
    names = [one.contender for one in series]
    for figure, shift, ours, theirs in (
        ("p50_ms", -_BAR / 2, _BLUE, _GREY),
        ("p99_ms", _BAR / 2, _PALE_BLUE, _PALE_GREY),
    ):
        values = list(_by_name(series, figure).values())
        places = [place + shift for place in range(len(names))]
        colours = [ours if _is_ours(name) else theirs for name in names]
        bars = axis.barh(places, values, height=_BAR, color=colours)
        axis.bar_label(bars, labels=[_number(value) for value in values], padding=3)
    axis.set_yticks(range(len(names)), names)
    _finish(axis, title)


def _finish(axis: Axes, title: str) -> None:
    axis.set_title(title, loc="left", fontweight="bold")
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.tick_params(left=False)
    axis.spines[["top", "right"]].set_visible(False)


def _is_ours(name: str) -> bool:
    return name.startswith("the app")


def _number(value: float) -> str:
    """Format with three significant digits."""
    digits = max(0, 3 - len(str(int(value))))
    return f"{value:,.{digits}f}"
