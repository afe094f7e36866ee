"""The figures as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import Figures, Series

# The app is blue, the SDKs are grey; the p99 is paler than the p50 it stands below.
_BLUE, _PALE_BLUE, _GREY, _PALE_GREY = "#1f6fb5", "#a9cbe8", "#777777", "#cccccc"
_BAR = 0.38


def draw(figures: Figures, path: Path) -> None:
    """Draw it into a PNG file."""
    figure = Figure(figsize=(15, 13), layout="constrained")
    axes = figure.subplots(4, 2)
    work, fast = figures.work, _of(figures, 16, 0)
    _bars(axes[0, 0], "CPU of a token, ms", _by_name(fast, "cpu_ms"))
    _bars(axes[0, 1], "Tokens per second, 16 at once", _by_name(fast, "per_second"))
    _latencies(axes[1, 0], "1 at once, 20 ms upstream: p50, p99", _of(figures, 1, 20))
    _latencies(axes[1, 1], "16 at once, 20 ms upstream: p50, p99", _of(figures, 16, 20))
    _bars(axes[2, 0], "Creates per second, 16 at once", _by_name(work.creates, "per_second"))
    _bars(axes[2, 1], "Deletes per second, 16 at once", _by_name(work.deletes, "per_second"))
    _bars(axes[3, 0], "Import, ms", figures.imports)
    _bars(axes[3, 1], "Peak memory, MiB", figures.memory)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def _of(figures: Figures, at_once: int, delay_ms: int) -> list[Series]:
    wanted = (at_once, delay_ms)
    return [one for one in figures.work.tokens if (one.at_once, one.delay_ms) == wanted]


def _by_name(series: Sequence[Series], figure: str) -> dict[str, float]:
    return {one.contender: getattr(one, figure) for one in series}


def _bars(axis: Axes, title: str, values: Mapping[str, float]) -> None:
    colours = [_BLUE if _is_ours(name) else _GREY for name in values]
    bars = axis.barh(list(values), list(values.values()), color=colours)
    axis.bar_label(bars, labels=[_number(value) for value in values.values()], padding=3)
    _finish(axis, title)


def _latencies(axis: Axes, title: str, series: Sequence[Series]) -> None:
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
    """Three digits of it."""
    digits = max(0, 3 - len(str(int(value))))
    return f"{value:,.{digits}f}"
