"""The figures as Markdown tables, with what was aimed at."""

from bench.figures import Figures, Series
from bench.markdown import table
from bench.names import (
    APP,
    APP_AND_TRANSPORT,
    APP_WITHOUT_READ,
    DEFAULTS,
    DEFAULTS_AND_READ,
    LIBRARIES,
    TUNED,
    TUNED_AND_READ,
)

LOADS = ((1, 0), (16, 0), (1, 20), (16, 20))
IMPORT_AIM, DEFAULTS_AIM, TUNED_AIM = 1.10, 0.70, 1.20
LATENCY_AIM_MS = 2.0


def report(figures: Figures) -> str:
    """All tables."""
    parts = (_aims, _imports, _tokens, _latencies, _lives, _memory)
    return "\n\n".join(part(figures) for part in parts)


def _aims(figures: Figures) -> str:
    rows = [
        _import_aim(figures),
        _cpu_aim(figures, APP_WITHOUT_READ, DEFAULTS, DEFAULTS_AIM),
        _cpu_aim(figures, APP_WITHOUT_READ, TUNED, TUNED_AIM),
        _cpu_aim(figures, APP, DEFAULTS_AND_READ),
        _cpu_aim(figures, APP, TUNED_AND_READ),
        _cpu_aim(figures, APP, APP_WITHOUT_READ),
        _latency_aim(figures, 1, APP_WITHOUT_READ, DEFAULTS, LATENCY_AIM_MS),
        _latency_aim(figures, 16, APP_WITHOUT_READ, DEFAULTS, LATENCY_AIM_MS),
        _latency_aim(figures, 1, APP, DEFAULTS_AND_READ),
        _latency_aim(figures, 1, APP, APP_WITHOUT_READ),
    ]
    return _titled("Aims", table(("what", "measured", "aim", ""), rows))


def _import_aim(figures: Figures) -> tuple[str, ...]:
    ratio = figures.imports[APP_AND_TRANSPORT] / figures.imports[LIBRARIES]
    return _aim(f"import: {APP_AND_TRANSPORT} / {LIBRARIES}", ratio, "x", IMPORT_AIM)


def _cpu_aim(figures: Figures, ours: str, theirs: str, aim: float | None = None) -> tuple[str, ...]:
    ratio = figures.tokens(ours, 16, 0).cpu_ms / figures.tokens(theirs, 16, 0).cpu_ms
    return _aim(f"CPU of a token: {ours} / {theirs}", ratio, "x", aim)


def _latency_aim(
    figures: Figures, at_once: int, ours: str, theirs: str, aim: float | None = None
) -> tuple[str, ...]:
    more = figures.tokens(ours, at_once, 20).p50_ms - figures.tokens(theirs, at_once, 20).p50_ms
    what = f"p50 at 20 ms of delay, {at_once} at once: {ours} less {theirs}"
    return _aim(what, more, " ms", aim)


def _aim(what: str, measured: float, unit: str, aim: float | None) -> tuple[str, ...]:
    if aim is None:
        return what, f"{measured:.2f}{unit}", "", ""
    verdict = "met" if measured <= aim else "**missed**"
    return what, f"{measured:.2f}{unit}", f"at most {aim:.2f}{unit}", verdict


def _imports(figures: Figures) -> str:
    rows = [(name, f"{ms:.0f}") for name, ms in figures.imports.items()]
    return _titled("Import, ms", table(("what", "median"), rows))


def _tokens(figures: Figures) -> str:
    heads = ("issue a token, 16 at once, no delay", "CPU ms per call", "calls per second")
    series = [one for one in figures.work.tokens if (one.at_once, one.delay_ms) == LOADS[1]]
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


def _lives(figures: Figures) -> str:
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
