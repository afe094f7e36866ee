"""`python -m bench.soak.settling USERS`: the last sweep, by a clock that is a day ahead.

By then every lease is over, what failed is due again, and no identity is too young to be believed
gone. It prints what is left, and whom the rows of so many users name, as JSON.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from bench import fresh
from bench.soak.subject import user_id
from identity_service.clock import SystemClock
from identity_service.model import CleanupPolicy
from identity_service.operations.purge_deleted_identities import purge_deleted_identities
from identity_service.registry import TableRegistry
from identity_service.services import Services

AHEAD = timedelta(hours=26)
# A sweep leaves to the next what others changed meanwhile; nobody else is here.
SWEEPS = 3
PAGE = 200
# Rows that are read at once.
READERS = 16
# As fast as it goes: ACS enforces no quota here.
UNPACED = CleanupPolicy(deletes_per_30s=1_000_000)


@dataclass(frozen=True)
class Remains:
    """What the last sweep has left.

    Attributes:
        active: The ids of the active identities in the registry.
        purged: How many the last sweep purged.
        unfinished: How many entries the agenda still has. There must be none.
        claims: Whose identity each user's row names, by user id; empty where there is no row.
    """

    active: set[str]
    purged: int
    unfinished: int
    claims: dict[str, str]


class _Tomorrow(SystemClock):
    def now(self) -> datetime:
        """The time in a day or so."""
        return super().now() + AHEAD


async def settle(environ: dict[str, str], users: int) -> Remains:
    """Sweep in a process of its own, against the local Azure of this environment."""
    printed = await fresh.output(environ, "-m", "bench.soak.settling", str(users))
    return msgspec.json.decode(printed, type=Remains)


async def _settle(users: int) -> None:
    services, clock = Services(os.environ), _Tomorrow()
    purged = 0
    for _ in range(SWEEPS):
        report = await purge_deleted_identities(services.acs, services.registry, clock, UNPACED)
        purged += report.purged
        if not report.backlog:
            break
    unfinished = [entry async for entry in services.registry.agenda()]
    active = {identity_id async for identity_id in _active(services.registry)}
    claims = await _claims(services.registry, users)
    remains = Remains(active, purged, len(unfinished), claims)
    print(msgspec.json.encode(remains).decode(), flush=True)
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


async def _claims(registry: TableRegistry, users: int) -> dict[str, str]:
    slots = asyncio.Semaphore(READERS)

    async def claim(user: str) -> tuple[str, str]:
        async with slots:
            row = await registry.read_user(user)
        return user, row.identity_id if row else ""

    return dict(await asyncio.gather(*(claim(user_id(number + 1)) for number in range(users))))


if __name__ == "__main__":
    asyncio.run(_settle(int(sys.argv[1])))
