"""`python -m bench.sweep`: what a sweep of 5,000 due costs, and whether it keeps its pace.

The quotas of ACS and the pace of the sweep are those of production, in a time that runs `FASTER`:
400 deletions of the 500 that ACS takes, in 4.6 seconds instead of 30.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from azure.core.exceptions import ResourceExistsError
from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableClient

from bench import fresh
from bench.control import Control
from bench.markdown import table
from bench.process import mebibytes
from bench.upstream import upstream
from identity_service.entities import Change, agenda_change, identity_entity, partition, user_entity
from identity_service.model import CleanupPolicy
from identity_service.operations.purge_deleted_identities import Report, purge_deleted_identities
from identity_service.registry import TABLE, TableRegistry
from identity_service.rows import IdentityRow, State
from identity_service.services import Services

DUE = 5000
# Of these each belongs to a user.
DUE_OF_USERS = 200
FASTER = 6.5
WINDOW = 30.0
RATE_AIM, REQUESTS_AIM, MEMORY_AIM = 0.95, 5.0, 1.05
AT_ONCE = 16
# Rows, with an agenda row and sometimes a user row each; a transaction takes 100 entities.
BATCH = 100


@dataclass(frozen=True)
class Sweep:
    """What one sweep did.

    Attributes:
        purged: Identities.
        seconds: From its beginning to its end.
        pace: Purges per second that it may do.
        requests: Requests to the table service and to ACS.
        refused: Deletions that ACS refused, or that failed otherwise.
        cpu: Seconds of CPU of its process.
        memory: The resident memory of its process in MiB, once a second.
    """

    purged: int
    seconds: float
    pace: float
    requests: int
    refused: int
    cpu: float
    memory: list[float]

    @property
    def rate(self) -> float:
        """Purges per second, by the pace."""
        return self.purged / self.seconds / self.pace

    @property
    def requests_per_purge(self) -> float:
        """To the table service and to ACS together."""
        return self.requests / self.purged

    @property
    def growth(self) -> float:
        """The memory at the end by that after a tenth of the time."""
        return self.memory[-1] / self.memory[len(self.memory) // 10]


@dataclass(frozen=True)
class Figures:
    """A sweep over identities of nobody in particular, and a short one over identities of users."""

    plain: Sweep
    of_users: Sweep


def main() -> Figures:
    """Measure, and print a table."""
    figures = asyncio.run(_alone())
    print(report(figures))
    return figures


async def _alone() -> Figures:
    async with upstream() as environ:
        return await measured(environ)


async def measured(environ: dict[str, str]) -> Figures:
    """The figures, measured in a fresh process against the local Azure of this environment."""
    printed = await fresh.output(environ, "-m", "bench.sweep", "measure")
    return msgspec.json.decode(printed, type=Figures)


def report(figures: Figures) -> str:
    """The figures as a table."""
    plain, of_users = figures.plain, figures.of_users
    rows = [
        _row(
            f"its rate by its pace of {plain.pace:.0f} per second",
            f"{plain.rate:.1%}",
            f"≥ {RATE_AIM:.0%}",
            met=plain.rate >= RATE_AIM,
        ),
        _row(
            "requests per purge, to the registry and to ACS",
            f"{plain.requests_per_purge:.2f}",
            f"≤ {REQUESTS_AIM:.0f}",
            met=plain.requests_per_purge <= REQUESTS_AIM,
        ),
        _row("the same where each belongs to a user", f"{of_users.requests_per_purge:.2f}"),
        _row("deletions that ACS refused", str(plain.refused), "0", met=not plain.refused),
        _row(
            "memory in MiB after a tenth of it, and at its end",
            f"{plain.memory[len(plain.memory) // 10]:.1f}, {plain.memory[-1]:.1f}",
            f"≤ {MEMORY_AIM:.2f} times",
            met=plain.growth <= MEMORY_AIM,
        ),
        _row("CPU per purge, ms", f"{plain.cpu / plain.purged * 1000:.1f}"),
        _row("seconds", f"{plain.seconds:.1f}"),
    ]
    return table((f"a sweep of {plain.purged:,} due", "measured", "aim", ""), rows)


def _row(what: str, value: str, aim: str = "", *, met: bool | None = None) -> tuple[str, ...]:
    return what, value, aim, {None: "", True: "met", False: "**missed**"}[met]


class _Counting(AioHttpTransport):  # type: ignore[misc]  # the SDK leaves it untyped
    """The SDK's transport, counting what it sends."""

    sent = 0

    async def send(self, *arguments: Any, **options: Any) -> Any:
        """Send a request."""
        self.sent += 1
        return await super().send(*arguments, **options)


class _Measurement:
    """A sweep of this process, with the clients of the app."""

    def __init__(self, services: Services, control: Control) -> None:
        self._services = services
        self._control = control
        self._transport = _Counting(use_env_settings=False)
        self._table = TableClient(
            self._services.settings.storage.table_service,
            TABLE,
            credential=self._services.storage_credential,
            transport=self._transport,
            retry_total=0,
        )

    async def sweep(self, number: int, *, of_users: bool) -> Sweep:
        """Make so many due, and sweep them."""
        await self._make_due(number, of_users=of_users)
        before = await self._counts()
        sent, cpu = self._transport.sent, time.process_time()
        memory: list[float] = []
        sampling = asyncio.create_task(_sample(memory))
        done = await self._run()
        sampling.cancel()
        deletions = await self._counts() - before
        return Sweep(
            purged=done.purged,
            seconds=done.duration.total_seconds(),
            pace=_policy().deletes_per_30s / WINDOW,
            requests=self._transport.sent - sent + deletions,
            refused=deletions - done.purged,
            cpu=time.process_time() - cpu,
            memory=[*memory, mebibytes("VmRSS")],
        )

    async def _run(self) -> Report:
        registry = TableRegistry(self._table)
        await registry.read("")  # the table is there from now on
        services = self._services
        return await purge_deleted_identities(services.acs, registry, services.clock, _policy())

    async def _counts(self) -> int:
        return (await self._control.attempts())["delete"]

    async def _make_due(self, number: int, *, of_users: bool) -> None:
        several = asyncio.Semaphore(AT_ONCE)

        async def create(each: int) -> IdentityRow:
            async with several:
                return _due(await self._services.acs.create(), f"{each}" if of_users else None)

        rows = await asyncio.gather(*map(create, range(number)))
        with contextlib.suppress(ResourceExistsError):
            await self._table.create_table()
        for batch in _batches(rows):
            await self._table.submit_transaction(batch)


def _due(identity_id: str, user_id: str | None) -> IdentityRow:
    now = datetime.now(UTC)
    row = IdentityRow(
        id=identity_id, state=State.ACTIVE, user_id=user_id, created_on=now - timedelta(days=30)
    ).deleted(now - timedelta(days=8), timedelta(days=7))
    return row.but(revoked=True, due=row.scheduled_purge_on)


def _batches(rows: Iterable[IdentityRow]) -> list[list[Change]]:
    partitions: defaultdict[str, list[Change]] = defaultdict(list)
    for row in rows:
        partitions[partition(row.id)] += [
            ("create", identity_entity(row)),
            *agenda_change(row, "create"),
        ]
        if row.user_id:
            claim = user_entity(row.user_id, row.id)
            partitions[partition(row.user_id)].append(("create", claim))
    return [
        changes[start : start + BATCH]
        for changes in partitions.values()
        for start in range(0, len(changes), BATCH)
    ]


def _policy() -> CleanupPolicy:
    """The default, in faster time."""
    pace = int(CleanupPolicy().deletes_per_30s * FASTER)
    return CleanupPolicy(deletes_per_30s=pace)


async def _sample(memory: list[float]) -> None:
    while True:
        memory.append(mebibytes("VmRSS"))
        await asyncio.sleep(1)


async def _measure() -> None:
    """Measure in this process, and print the figures as JSON."""
    environ = os.environ
    async with Control(
        environ["ACS_CONTROL_URL"], environ["ACS_CONTROL_KEY"], environ["SSL_CERT_FILE"]
    ) as control:
        services = Services(environ)
        # What the quotas are about here is deletions; making so many is not the matter.
        limits = {"windowSeconds": WINDOW / FASTER, "limits": {"create": 1_000_000}}
        await control.ask("PUT", "/quotas", limits)
        of_users = await _Measurement(services, control).sweep(DUE_OF_USERS, of_users=True)
        plain = await _Measurement(services, control).sweep(DUE, of_users=False)
    print(msgspec.json.encode(Figures(plain, of_users)).decode(), flush=True)
    os._exit(0)  # as the host ends a worker: nobody closes the clients


if __name__ == "__main__":
    if sys.argv[1:] == ["measure"]:
        asyncio.run(_measure())
    else:
        main()
