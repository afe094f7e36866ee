"""The speed comparison: the app against the bare SDKs, and a deployed app over HTTP."""

import asyncio
import json
from collections.abc import Mapping
from statistics import median

import aiohttp
import msgspec

from bench import ROOT
from bench.contenders import APP, APP_AND_TRANSPORT, DEFAULTS, DEFAULTS_AND_READ, LIBRARIES
from bench.load import Load, Series, contest
from bench.measure import Work
from bench.process import clean_environment, run_python
from bench.report import Figures, draw, report
from bench.stack import azure_environment
from tools.markdown import table

PLOT = ROOT / "bench" / "bench.png"
IMPORTS = {
    LIBRARIES: "azure.functions, azure.identity.aio, azure.communication.identity.aio,"
    " azure.data.tables.aio, aiohttp, msgspec",
    # azure-core imports aiohttp only when the first client is created.
    APP_AND_TRANSPORT: "function_app, aiohttp",
    APP: "function_app",
}
IMPORT_ROUNDS = 11
MEMORY_ROUNDS = 3
HTTP_LOADS = (Load(1, calls=60), Load(16, calls=480))
HTTP_SECONDS = 15

_TIME_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def compare() -> None:
    """Measure everything, print the tables and draw the plot."""
    figures = asyncio.run(_measure())
    print(report(figures))
    draw(figures, PLOT)
    print(f"\nThe plot: {PLOT.relative_to(ROOT)}")


async def _measure() -> Figures:
    imports = await _import_times()
    with azure_environment() as environ:
        output = await run_python(environ, "-m", "bench.measure", "work")
        work = msgspec.json.decode(output, type=Work)
        memory = await _memory(environ)
    return Figures(imports, memory, work)


async def _import_times() -> dict[str, float]:
    """Return the milliseconds of each import: with bytecode, without the interpreter's start."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(IMPORT_ROUNDS + 1):
        for name, modules in IMPORTS.items():
            code = _TIME_IMPORT.format(modules)
            seconds = float(await run_python(clean_environment(), "-c", code))
            if number:  # the first one may compile
                times[name].append(seconds * 1000)
    return {name: median(values) for name, values in times.items()}


async def _memory(environ: Mapping[str, str]) -> dict[str, float]:
    """Return each contender's peak memory in MiB."""
    peaks: dict[str, list[float]] = {name: [] for name in (APP, DEFAULTS, DEFAULTS_AND_READ)}
    for _ in range(MEMORY_ROUNDS):
        for name, values in peaks.items():
            values.append(float(await run_python(environ, "-m", "bench.measure", "memory", name)))
    return {name: median(values) for name, values in peaks.items()}


async def measure_deployed(url: str, key: str) -> None:
    """Create an identity in a running app, measure issuing tokens for it, and delete it."""
    address = f"{url.rstrip('/')}/api/identities"
    async with aiohttp.ClientSession(headers={"x-functions-key": key}) as session:
        identity_id = json.loads(await _call(session, "POST", address, 201))["id"]
        try:
            series = await _issue_tokens(session, f"{address}/{identity_id}/tokens")
        finally:
            await _call(session, "DELETE", f"{address}/{identity_id}", 202)
    heads = ("issue a token over HTTP", "p50 ms", "p99 ms", "calls per second")
    print(table(heads, [_http_row(one) for one in series]))


async def _issue_tokens(session: aiohttp.ClientSession, address: str) -> list[Series]:
    async def issue() -> None:
        await _call(session, "POST", address, 200, {"scopes": ["voip"]})

    series: list[Series] = []
    for load in HTTP_LOADS:
        series += await contest({"": issue}, load, HTTP_SECONDS)
    return series


async def _call(
    session: aiohttp.ClientSession, method: str, url: str, expected: int, body: object = None
) -> bytes:
    async with session.request(method, url, json=body) as response:
        content = await response.read()
        if response.status != expected:
            raise RuntimeError(f"{method} {url}: {response.status} {content.decode()}")
        return content


def _http_row(series: Series) -> tuple[str, ...]:
    figures = f"{series.p50_ms:.1f}", f"{series.p99_ms:.1f}", f"{series.per_second:,.0f}"
    return f"{series.at_once} at once", *figures
