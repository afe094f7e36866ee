"""One soak from its beginning to its end."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.soak import accounts, crowd, health
from bench.soak.plan import Fault
from bench.soak.report import Soak
from bench.soak.settling import settle
from bench.soak.stage import Stage, stage
from bench.soak.weather import Weather, now
from local.workplace import Workplace


async def soak(seconds: float, seed: int, plan: Sequence[Fault]) -> Soak:
    """Put steady load on the app for so long while faults come and go, and look closely."""
    async with _fresh_stage() as running:
        weather = Weather(running)
        callers = crowd.Crowd(running, weather, seed)
        samples: list[health.Sample] = []
        began = now()
        async with _beside(health.watch(running, weather, samples), weather.run(plan)):
            await callers.run(seconds)
        took = now() - began
        await running.kill_worker()
        remains = await settle(running.environment())
        found = accounts.settled(await running.in_acs(), remains.active, running.logs())
    return Soak(
        seconds=took,
        faults=[spell.name for spell in weather.spells],
        tally=callers.tally,
        trends=health.trends(samples),
        accounts=found,
        remains=remains,
        callers_have=crowd.settled(callers.subjects),
    )


@asynccontextmanager
async def _fresh_stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as folder, Workplace(Path(folder)).held() as workplace:
        async with stage(workplace) as running:
            yield running


@asynccontextmanager
async def _beside(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let them run during the block; if one fails, so does the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in coroutines]
        yield
        for task in tasks:
            task.cancel()
