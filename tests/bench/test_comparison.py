"""How the comparison measures, and what it makes of the figures."""

import io
import os
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest

from bench.inside import ALONE, CLIENTS, REQUESTS, TRIGGER
from bench.load import Contender, Load, Round, Series, contest
from bench.process import cpu_seconds
from bench.report import (
    APP,
    BEFORE,
    EXPRESS,
    EXPRESS_ALONE,
    HOST_ALONE,
    QUICKSTART,
    Figures,
    draw,
    report,
)
from bench.speed import NoCommit, export


def series(name: str, *cpu_ms: float, p50_ms: float = 5, load: tuple[int, int] = (16, 0)) -> Series:
    """Rounds of ten calls in a tenth of a second."""
    rounds = [Round(0.1, cpu / 100, [p50_ms / 1000] * 10) for cpu in cpu_ms]
    return Series(name, *load, rounds)


def figures(app: Series, *, trigger_ms: float = 25.0) -> Figures:
    """The figures of one load, in three rounds, the second on a busy machine."""
    served = [
        app,
        series(BEFORE, 2, 20, 2),
        series(QUICKSTART, 4, 40, 4),
        series(EXPRESS, 1, 10, 1),
        series(HOST_ALONE, 0.5, 5, 0.5),
        series(EXPRESS_ALONE, 0.25, 2.5, 0.25),
    ]
    p50 = {TRIGGER: trigger_ms, CLIENTS: 24.0, REQUESTS: 23.0, ALONE: 0.2}
    return Figures(served, [series(name, 1, 1, 1, p50_ms=ms) for name, ms in p50.items()])


def row(text: str, start: str) -> list[str]:
    """The cells of the first table row that starts so."""
    lines = ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines())
    return next(cells for cells in lines if cells and cells[0].startswith(start))


async def test_contenders_alternate() -> None:
    """Each has its turn in every round: ten calls, after eight that open its connections."""
    called: list[str] = []

    def contender(name: str) -> Contender:
        async def call() -> None:
            called.append(name)

        return Contender(name, call)

    measured = await contest([contender("a"), contender("b")], Load(4, calls=10), rounds=2)

    assert Counter(called[:36]) == Counter(called[36:]) == {"a": 18, "b": 18}
    assert [len(one.latencies) for each in measured for one in each.rounds] == [10] * 4


def test_the_figures_of_a_round() -> None:
    """CPU is per call, and the 99th percentile of 200 calls leaves out the two slowest."""
    measured = Round(0.5, 0.4, [0.001] * 150 + [0.002] * 48 + [0.5] * 2)

    assert measured.cpu_ms == pytest.approx(2)
    assert measured.per_second == pytest.approx(400)
    assert (measured.p50_ms, measured.p99_ms) == (1, 2)


def test_the_cpu_time_of_a_process() -> None:
    """It is the same as the process itself sees."""
    earliest = time.process_time()

    measured = cpu_seconds(os.getpid())

    assert earliest <= measured <= time.process_time()


def test_the_cpu_time_of_an_ended_process() -> None:
    """It is an error, and not zero."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass

    with pytest.raises(ProcessLookupError):
        cpu_seconds(ended.pid)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    """A round that is busy for both contenders counts as any other."""
    text = report(figures(series(APP, 1, 12, 3)), "e47e978")

    assert row(text, f"{APP} / {BEFORE}")[1] == "0.60x"
    assert row(text, f"{APP} / {EXPRESS}")[1] == "1.20x"


def test_the_ratios_without_the_hosts() -> None:
    """From both sides, what their own host costs is subtracted."""
    text = report(figures(series(APP, 1.25, 12.5, 1.25)), "e47e978")

    assert row(text, f"{APP} / {BEFORE}, both")[1] == "0.50x"
    assert row(text, f"{APP} / {EXPRESS}, both")[1] == "1.00x"


@pytest.mark.parametrize(("cpu", "verdict"), [(1.4, "met"), (1.42, "**missed**")])
def test_a_target_is_met_or_missed(cpu: float, verdict: str) -> None:
    """The target is 0.70 times the app before."""
    text = report(figures(series(APP, cpu, 10 * cpu, cpu)), "e47e978")

    assert row(text, f"CPU: {APP} / {BEFORE}")[3] == verdict


@pytest.mark.parametrize(("p50", "verdict"), [(25.5, "met"), (25.6, "**missed**")])
def test_the_latency_target(p50: float, verdict: str) -> None:
    """The app may add 1.5 ms to the two calls."""
    text = report(figures(series(APP, 1, 1, 1), trigger_ms=p50), "e47e978")

    assert row(text, f"p50 in the process: {TRIGGER} minus {CLIENTS}")[3] == verdict


def test_the_plot(tmp_path: Path) -> None:
    """It is a picture."""
    draw(figures(series(APP, 1, 1, 1)), tmp_path / "plot.png")

    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_commit_is_exported() -> None:
    """The archive has what the host needs to run the app."""
    with tarfile.open(fileobj=io.BytesIO(export("HEAD"))) as files:
        names = files.getnames()

    assert {"function_app.py", "host.json", "identity_service/services.py"} <= set(names)


def test_an_unknown_commit() -> None:
    """The error says what is missing, and what may be the reason."""
    with pytest.raises(NoCommit, match=r"0000000(.|\n)*whole history"):
        export("0000000")
