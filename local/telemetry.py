"""`python -m local telemetry`: runs a few operations and shows the telemetry they send."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path

import aiohttp

from local.app import App, running_app
from local.application_insights import ApplicationInsights, Span
from local.azure import LocalAzure

# Seconds.
_TIMEOUT = 30.0
_SWEEP = "purge_deleted_identities"
_CHAT = {"scopes": ["chat"]}
# The SDK's span for preparing a query, without any I/O.
_NO_IO = "TableClient.query_entities"
_ID = re.compile("8(?::|%3A)acs(?::|%3A)[0-9a-f_-]+")


@asynccontextmanager
async def app_with_telemetry(azure: LocalAzure, port: int, log: Path) -> AsyncIterator[App]:
    """Run the app with OpenTelemetry enabled, and without retention of deleted identities."""
    settings = {**azure.telemetry_settings(), "DELETED_IDENTITY_RETENTION_DAYS": "0"}
    async with running_app(azure, settings, port, log) as app:
        yield app


async def run_operations(url: str, azure: LocalAzure) -> str:
    """Create an identity with a token, issue another token, delete the identity, and sweep.

    Returns the identity's id when all the telemetry has arrived.

    Raises:
        TimeoutError: the telemetry has not arrived in time.
    """
    async with aiohttp.ClientSession(
        url, headers=azure.service_headers(), raise_for_status=True
    ) as session:
        user = {**_CHAT, "userId": "alice@example.com"}
        async with session.post("/api/identities/with-token", json=user) as response:
            identity_id = str((await response.json())["id"])
        identity = f"/api/identities/{identity_id}"
        await session.post(f"{identity}/tokens", json=_CHAT)
        await session.delete(identity)
        await session.post(
            f"/admin/functions/{_SWEEP}", json={"input": ""}, headers=azure.master_headers()
        )
    async with asyncio.timeout(_TIMEOUT):
        await azure.insights.wait_for(_is_complete)
    return identity_id


def _is_complete(insights: ApplicationInsights) -> bool:
    spans = {span.name for spans in insights.traces().values() for span in spans}
    swept = any(message.startswith("sweep_finished ") for message in insights.messages())
    return swept and _SWEEP in spans and insights.metrics().get("sweep.purged{}") == 1


def report(insights: ApplicationInsights) -> str:
    """Show each trace as a tree, and the metrics."""
    traces = [
        [span for span in spans if span.name != _NO_IO] for spans in insights.traces().values()
    ]
    trees = ("\n".join(_tree(spans)) for spans in traces if len(spans) > 1)
    metrics = "\n".join(f"{name:78} {value:g}" for name, value in insights.metrics().items())
    return "\n\n".join([*trees, metrics])


def _tree(spans: list[Span], parent: str | None = None, indent: str = "") -> Iterator[str]:
    known = {span.id for span in spans}
    children = [
        span
        for span in sorted(spans, key=lambda span: span.started)
        if span.parent == parent or (parent is None and span.parent not in known)
    ]
    # One line for equal calls: a query reads 16 partitions at once.
    groups = [list(group) for _, group in groupby(children, key=lambda span: span.name)]
    for number, group in enumerate(groups, 1):
        branch, below = ("└─ ", "   ") if number == len(groups) else ("├─ ", "│  ")
        if parent is None:
            branch = below = ""
        name = _ID.sub("{id}", group[0].name) + (f" ({len(group)} times)" if group[1:] else "")
        longest = max(span.milliseconds for span in group)
        yield f"{indent + branch + name:60} {longest:3.0f} ms"
        yield from _tree(spans, group[0].id, indent + below)
