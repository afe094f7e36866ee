"""The whole bench: measure, print the tables, draw the plot."""

import asyncio

import msgspec

from bench import ROOT, fresh, plot
from bench.figures import Figures, Work
from bench.report import report
from bench.upstream import upstream

PLOT = ROOT / "bench" / "bench.png"


def run() -> None:
    """Measure everything side by side, and show it."""
    figures = asyncio.run(_measured())
    print(report(figures))
    plot.draw(figures, PLOT)
    print(f"\nThe plot: {PLOT.relative_to(ROOT)}")


async def _measured() -> Figures:
    imports = await fresh.import_times()
    async with upstream() as environ:
        work = msgspec.json.decode(await fresh.output(environ, "-m", "bench.work"), type=Work)
        memory = await fresh.memory(environ)
    return Figures(imports, memory, work)
