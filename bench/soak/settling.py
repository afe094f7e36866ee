"""`python -m bench.soak.settling`: the last sweep, by a clock that is a day ahead.

By then every lease is over, what failed is due again, and no identity is too young to be believed
gone. It prints what is left, as JSON.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from bench import fresh
from identity_service.clock import SystemClock
from identity_service.model import CleanupPolicy
from identity_service.operations.purge_deleted_identities import purge_deleted_identities
from identity_service.registry import TableRegistry
from identity_service.services import Services

AHEAD = timedelta(hours=26)
# A sweep leaves to the next what others changed meanwhile; nobody else is here.
SWEEPS = 3
PAGE = 200
# As fast as it goes: ACS enforces no quota here.
UNPACED = CleanupPolicy(deletes_per_30s=1_000_000)


@dataclass(frozen=True)
class Remains:
    """What the last sweep has left.

    Attributes:
        active: The ids of the active identities in the registry.
        purged: How many the last sweep purged.
        unfinished: How many entries the agenda still has. There must be none.
    """

    active: set[str]
    purged: int
    unfinished: int


class _Tomorrow(SystemClock):
    def now(self) -> datetime:
        """The time in a day or so."""
        return super().now() + AHEAD


async def settle(environ: dict[str, str]) -> Remains:
    """Sweep in a process of its own, against the local Azure of this environment."""
    printed = await fresh.output(environ, "-m", "bench.soak.settling")
    return msgspec.json.decode(printed, type=Remains)


async def _settle() -> None:
    services, clock = Services(os.environ), _Tomorrow()
    purged = 0
    for _ in range(SWEEPS):
        report = await purge_deleted_identities(services.acs, services.registry, clock, UNPACED)
        purged += report.purged
        if not report.backlog:
            break
    unfinished = [entry async for entry in services.registry.agenda()]
    active = {identity_id async for identity_id in _active(services.registry)}
    print(msgspec.json.encode(Remains(active, purged, len(unfinished))).decode(), flush=True)
    os._exit(0)  # as the host ends a worker: nobody closes the clients


async def _active(registry: TableRegistry) -> AsyncIterator[str]:
    continuation = None
    while True:
        page = await registry.active(continuation, PAGE)
        for row in page.rows:
            yield row.id
        continuation = page.continuation
        if continuation is None:
            return


if __name__ == "__main__":
    asyncio.run(_settle())
