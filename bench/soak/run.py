"""One soak from its beginning to its end."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.soak.accounts import account_for
from bench.soak.crowd import Crowd
from bench.soak.faults import Faults, now
from bench.soak.health import Looks, trends, watch
from bench.soak.plan import Fault
from bench.soak.report import Soak
from bench.soak.settling import settle
from bench.soak.stage import Stage, stage
from local.workspace import Workspace


async def soak(seconds: float, seed: int, plan: Sequence[Fault]) -> Soak:
    """Put steady load on the app for so long while faults come and go, and look closely."""
    async with _fresh_stage() as running:
        faults = Faults(running)
        crowd = Crowd(running, faults, seed)
        looks = Looks()
        began = now()
        async with _beside(watch(running, faults, looks), faults.run(plan)):
            await crowd.run(seconds)
        took = now() - began
        await running.kill_worker()
        remains = await settle(running.environment(), len(crowd.subjects))
        accounts = account_for(await running.in_acs(), remains.active, running.logs())
    return Soak(
        seconds=took,
        faults=[one.fault.name for one in faults.occurrences],
        unfelt=faults.unfelt,
        tally=crowd.tally,
        failed_looks=looks.failed,
        trends=trends(looks.samples),
        accounts=accounts,
        remains=remains,
        held=crowd.held,
    )


@asynccontextmanager
async def _fresh_stage() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as folder, Workspace(Path(folder)).locked() as workspace:
        async with stage(workspace) as running:
            yield running


@asynccontextmanager
async def _beside(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let them run during the block; if one fails, so does the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in coroutines]
        yield
        for task in tasks:
            task.cancel()
