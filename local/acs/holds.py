"""The calls that a fault keeps waiting."""

import asyncio
from collections.abc import Callable

from local.acs.faults import Armed, Hang

# aiohttp tells a handler nothing when its client goes; a hanging call looks this often, in seconds.
POLL_SECONDS = 0.05


class Holds:
    """Keeps calls waiting, and lets them go."""

    def __init__(self) -> None:
        self._held: dict[asyncio.Future[bool], Armed] = {}

    async def keep(self, armed: Armed, connected: Callable[[], bool]) -> bool:
        """Wait as the fault says; then tell whether the call goes on, or is to be dropped."""
        held: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held[held] = armed
        try:
            return await _wait(held, armed, connected)
        finally:
            del self._held[held]

    def release(self, armed: Armed | None = None, *, proceed: bool = True) -> None:
        """End the waiting of one fault's calls, or of all: they go on, or they are dropped."""
        for held, by in self._held.items():
            if armed in (None, by) and not held.done():
                held.set_result(proceed)


async def _wait(held: asyncio.Future[bool], armed: Armed, connected: Callable[[], bool]) -> bool:
    hangs = isinstance(armed.fault, Hang)
    if armed.fault.delay_seconds:
        await asyncio.wait([held], timeout=armed.fault.delay_seconds)
    while hangs and not held.done() and connected():
        await asyncio.wait([held], timeout=POLL_SECONDS)
    return held.result() if held.done() else not hangs
