"""The speed comparison: the app, an earlier commit, and two quickstarts; and a deployed app."""

import asyncio
import io
import json
import subprocess
import tarfile
from collections.abc import Sequence
from functools import partial
from itertools import cycle
from pathlib import Path

import aiohttp
import msgspec

from bench import ROOT, inside
from bench.load import Call, Contender, Load, Series, contest
from bench.process import clean_environment, cpu_seconds, run_python
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
from bench.stack import Stack, running_stack
from tests.support.stack import App
from tools.markdown import table

# The app before its calls were made cheaper.
BEFORE_COMMIT = "e47e978"
PLOT = ROOT / "bench" / "bench.png"
QUICKSTART_FOLDER = ROOT / "bench" / "quickstart"
# What an app consists of.
SOURCE = ("function_app.py", "host.json", "identity_service", "openapi.json")
LOADS = (
    Load(1, calls=120),
    Load(16, calls=320),
    Load(64, calls=384),
    Load(1, calls=30, delay_ms=20),
    Load(16, calls=320, delay_ms=20),
    Load(64, calls=384, delay_ms=20),
)
# Under this load, the hosts are measured without a token too.
BUSY = LOADS[1]
IDENTITIES = 32
DEPLOYED_LOADS = (Load(1, calls=60), Load(16, calls=480))
DEPLOYED_ROUNDS = 5
# Seconds. Less than the 5 after which Node closes a connection: no request meets one that closes.
UNUSED = 3.0


class NoCommit(Exception):
    """The commit to compare with is not in this clone."""


def compare(rounds: int, commit: str, plot: Path) -> None:
    """Measure everything, print the tables and draw the plot.

    Raises:
        NoCommit: the commit is not in this clone.
    """
    figures = asyncio.run(_measure(rounds, export(commit)))
    print(report(figures, commit))
    draw(figures, plot)
    print(f"\nThe plot: {plot}")


def export(commit: str) -> bytes:
    """Return an archive of the app as it was in a commit.

    Raises:
        NoCommit: the commit is not in this clone.
    """
    call = ["git", "archive", commit, *SOURCE]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, check=False)  # noqa: S603 -- git
    if done.returncode:
        raise NoCommit(f"{done.stderr.decode().strip()}\nIs this a clone with the whole history?")
    return done.stdout


async def _measure(rounds: int, archive: bytes) -> Figures:
    async with running_stack() as stack:
        folder = stack.folder / "before"
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=UNUSED)
        headers = {"x-functions-key": stack.azure.env["FUNCTION_KEY"]}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            tokens, alone = await _contenders(stack, session, folder)
            await contest(tokens, BUSY, 1)  # until Node has compiled what is called often
            served: list[Series] = []
            for load in LOADS:
                await stack.control.delay(load.delay_ms / 1000)
                contenders = [*tokens, *alone] if load is BUSY else tokens
                served += await contest(contenders, load, rounds)
        await stack.control.delay(inside.LOAD.delay_ms / 1000)
        environ = {**clean_environment(), **stack.azure.env, **stack.azure.settings}
        output = await run_python(environ, "-m", "bench.inside", str(rounds))
    return Figures(served, msgspec.json.decode(output, type=list[Series]))


async def _contenders(
    stack: Stack, session: aiohttp.ClientSession, folder: Path
) -> tuple[list[Contender], list[Contender]]:
    """Start the servers; return what issues tokens, and the hosts without a token."""
    app, before = await stack.start_app(), await stack.start_app(root=folder)
    quickstart = await stack.start_app(root=QUICKSTART_FOLDER)
    express = await stack.start_express()
    identities = await _create_identities(session, app)
    tokens = {APP: app, BEFORE: before, QUICKSTART: quickstart, EXPRESS: express}
    paths = [f"identities/{each}/tokens" for each in identities]
    return (
        [_contender(name, session, each, paths) for name, each in tokens.items()],
        [
            _contender(HOST_ALONE, session, quickstart, ["nothing"]),
            _contender(EXPRESS_ALONE, session, express, ["nothing"]),
        ],
    )


async def _create_identities(session: aiohttp.ClientSession, app: App) -> list[str]:
    address = f"{app.url}/api/identities"
    created = [await _call(session, "POST", address, 201) for _ in range(IDENTITIES)]
    return [json.loads(body)["id"] for body in created]


def _contender(
    name: str, session: aiohttp.ClientSession, server: App, paths: Sequence[str]
) -> Contender:
    addresses = cycle([f"{server.url}/api/{path}" for path in paths])

    async def call() -> None:
        body = {"scopes": ["voip"]}
        await _call(session, "POST", next(addresses), 200, body)

    return Contender(name, call, partial(cpu_seconds, server.process.pid))


async def measure_deployed(url: str, key: str) -> None:
    """Create an identity in a running app, measure issuing tokens for it, and delete it."""
    address = f"{url.rstrip('/')}/api/identities"
    async with aiohttp.ClientSession(headers={"x-functions-key": key}) as session:
        identity_id = json.loads(await _call(session, "POST", address, 201))["id"]
        try:
            body = {"scopes": ["voip"]}
            path = f"{address}/{identity_id}/tokens"
            series = await _issue_tokens(partial(_call, session, "POST", path, 200, body))
        finally:
            await _call(session, "DELETE", f"{address}/{identity_id}", 202)
    heads = ("issue a token over HTTP", "p50 ms", "p99 ms", "calls per second")
    print(table(heads, [_deployed_row(one) for one in series]))


async def _issue_tokens(call: Call) -> list[Series]:
    series: list[Series] = []
    for load in DEPLOYED_LOADS:
        series += await contest([Contender("", call)], load, DEPLOYED_ROUNDS)
    return series


async def _call(
    session: aiohttp.ClientSession, method: str, url: str, expected: int, body: object = None
) -> bytes:
    async with session.request(method, url, json=body) as response:
        content = await response.read()
        if response.status != expected:
            raise RuntimeError(f"{method} {url}: {response.status} {content.decode()}")
        return content


def _deployed_row(series: Series) -> tuple[str, ...]:
    figures = f"{series.p50_ms:.1f}", f"{series.p99_ms:.1f}", f"{series.per_second:,.0f}"
    return f"{series.at_once} at once", *figures
