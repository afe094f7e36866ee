"""issue_token over HTTP, against any deployed app: in Azure, in a real worker, or here."""

import json

import aiohttp

from bench.figures import Series
from bench.load import Load, contest
from bench.markdown import table

SECONDS = 15
LOADS = (Load(1, calls=60), Load(16, calls=480))


async def measure(url: str, key: str) -> None:
    """Make an identity, issue tokens for it, print the figures, delete it."""
    address = f"{url.rstrip('/')}/api/identities"
    async with aiohttp.ClientSession(headers={"x-functions-key": key}) as session:
        identity_id = json.loads(await _call(session, "POST", address, 201))["id"]
        try:
            series = await _issue(session, f"{address}/{identity_id}/tokens")
        finally:
            await _call(session, "DELETE", f"{address}/{identity_id}", 202)
    heads = ("issue a token over HTTP", "p50 ms", "p99 ms", "calls per second")
    print(table(heads, [_row(one) for one in series]))


async def _issue(session: aiohttp.ClientSession, address: str) -> list[Series]:
    async def issue() -> None:
        await _call(session, "POST", address, 200, {"scopes": ["voip"]})

    series: list[Series] = []
    for load in LOADS:
        series += await contest({"": issue}, load, SECONDS)
    return series


async def _call(
    session: aiohttp.ClientSession, method: str, url: str, expected: int, body: object = None
) -> bytes:
    async with session.request(method, url, json=body) as response:
        content = await response.read()
        if response.status != expected:
            raise RuntimeError(f"{method} {url}: {response.status} {content.decode()}")
        return content


def _row(series: Series) -> tuple[str, ...]:
    figures = f"{series.p50_ms:.1f}", f"{series.p99_ms:.1f}", f"{series.per_second:,.0f}"
    return f"{series.at_once} at once", *figures
