"""What a fresh process costs: importing the app, and memory."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from statistics import median

from bench import ROOT
from bench.names import APP, APP_AND_TRANSPORT, DEFAULTS, DEFAULTS_AND_READ, LIBRARIES
from bench.upstream import environment

IMPORTS = {
    LIBRARIES: "azure.functions, azure.identity.aio, azure.communication.identity.aio,"
    " azure.data.tables.aio, aiohttp, msgspec",
    # azure-core imports aiohttp when the first client is made: the app alone would look better.
    APP_AND_TRANSPORT: "function_app, aiohttp",
    APP: "function_app",
}
IMPORT_ROUNDS = 11
MEMORY_ROUNDS = 3

_TIME_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


async def import_times() -> dict[str, float]:
    """Milliseconds of each import, bytecode warm, the interpreter's own start left out."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(IMPORT_ROUNDS + 1):
        for name, modules in IMPORTS.items():
            code = _TIME_IMPORT.format(modules)
            seconds = float(await output(environment(), "-c", code))
            if number:  # the first one may have to compile
                times[name].append(seconds * 1000)
    return {name: median(values) for name, values in times.items()}


async def memory(environ: Mapping[str, str]) -> dict[str, float]:
    """MiB at the peak, after a few hundred tokens at 16 at once."""
    peaks: dict[str, list[float]] = {name: [] for name in (APP, DEFAULTS, DEFAULTS_AND_READ)}
    for _ in range(MEMORY_ROUNDS):
        for name, values in peaks.items():
            values.append(float(await output(environ, "-m", "bench.memory", name)))
    return {name: median(values) for name, values in peaks.items()}


async def output(environ: Mapping[str, str], *arguments: str) -> bytes:
    """What a fresh Python process prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, env=dict(environ), stdout=PIPE
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed")
    return printed
