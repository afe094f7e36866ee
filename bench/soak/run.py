"""One soak from start to end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.soak.accounting import account_for, last_sweeps
from bench.soak.callers import Callers
from bench.soak.faults import Fault, FaultInjector, now, plan
from bench.soak.health import Samples, trends, watch
from bench.soak.report import Soak, report
from bench.soak.stage import running_stage


def main(seconds: float, seed: int) -> int:
    """Run a soak and print its report; return 1 if anything is wrong."""
    result = asyncio.run(soak(seconds, seed, plan(seconds, seed)))
    print(report(result))
    return 1 if result.defects() else 0


async def soak(seconds: float, seed: int, faults: Sequence[Fault]) -> Soak:
    """Run load with these faults, sweep at the end, and return everything that was observed."""
    async with running_stage() as stage:
        injector = FaultInjector(stage)
        callers = Callers(stage, injector, seed)
        samples = Samples()
        began = now()
        async with _in_background(watch(stage, injector, callers, samples), injector.run(faults)):
            await callers.run(seconds)
        took = now() - began
        await stage.kill_worker()
        remains = await last_sweeps(stage.environment(), len(callers.users))
        in_acs = await stage.stack.control.active_identities()
        accounts = account_for(in_acs, remains.living, stage.logs())
    return Soak(
        seconds=took,
        faults=[one.fault.name for one in injector.occurrences],
        unused=injector.unused,
        tally=callers.tally,
        failed_samples=samples.failed,
        trends=trends(samples.samples),
        accounts=accounts,
        remains=remains,
        identities=callers.identities,
    )


@asynccontextmanager
async def _in_background(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines during the block; if one fails, so does the block."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in coroutines]
        yield
        for task in tasks:
            task.cancel()
