"""Child processes that do not stay behind."""

import asyncio
import contextlib
from asyncio.subprocess import Process

# Seconds that a child may take to end by itself.
GRACE = 5.0


async def ended(process: Process) -> None:
    """End the process: politely first, then for sure."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE)
    except TimeoutError:
        process.kill()
        await process.wait()
