"""Outages in the middle of a sweep over 2,000 identities delay it and do nothing else."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from identity_service.identity import DueKind
from tests.support.azurite import Tables, running_tables
from tests.support.client import Control, until
from tests.support.stack import Azure
from tests.survival.processes import Workers
from tests.survival.records import Records, due
from tests.survival.worker import UNLIMITED, Swept, Task

DUE = 2000
# A sweep makes 16 calls at once, and considers three times as many consecutive failures an
# outage.
AT_ONCE = 16
OUTAGE = 3 * AT_ONCE
# Half of ACS's quota in a thirtieth of its time, and a rate limit in proportion to the default.
QUOTA = {"windowSeconds": 1, "limits": {"delete": 250, "revoke": 250}}
LIMIT = 30 * 200
# Deletions before a fault is injected.
SOME = 200
# Seconds that a token is valid: less than a rate-limited sweep takes.
SHORT = 3
# A quota far below any rate limit.
NARROW = 100
NARROW_QUOTA = {"windowSeconds": 5, "limits": {"delete": NARROW}, "retryAfter": True}
# Seconds between sweeps: longer than the first few failures postpone an entry.
LATER = 3600.0
# More sweeps than any test should need.
MAX_SWEEPS = 6
# Seconds within which a sweep makes progress, on a busy machine.
PATIENCE = 120.0


class Cleanup:
    """Due identities in one table, and the sweeps over them.

    Attributes:
        reports: The report of each sweep so far.
    """

    def __init__(
        self, records: Records, workers: Workers, control: Control, number: int, table: str
    ) -> None:
        self._records = records
        self._workers = workers
        self._control = control
        self._number = number
        self._table = table
        self.reports: list[Swept] = []

    @classmethod
    async def of(cls, records: Records, workers: Workers, control: Control, number: int) -> Self:
        """Create this many identities, all due."""
        table = await records.new_table()
        await records.write(table, map(due, await records.create_identities(number)))
        return cls(records, workers, control, number, table)

    async def sweep(
        self, meanwhile: Callable[[], Awaitable[object]] | None = None, limit: int = UNLIMITED
    ) -> Swept:
        """Sweep once, an hour after the sweep before, and run `meanwhile` during it."""
        task = Task(
            operation="sweep",
            table=self._table,
            tables=self._records.tables,
            ahead=LATER * len(self.reports),
            limit=limit,
        )
        async with self._workers.working(task) as worker:
            if meanwhile:
                await meanwhile()
            report = (await worker.result()).swept
        assert report
        self.reports.append(report)
        return report

    async def finish(self) -> None:
        """Sweep until nothing is due."""
        for _ in range(MAX_SWEEPS):
            if (await self.sweep()).due == 0:
                return
        raise AssertionError(self.reports)

    async def wait_for_deletions(self, number: int) -> None:
        """Wait until ACS has deleted this many more identities."""
        goal = (await self.deletions())["effects"] + number

        async def reached() -> bool:
            return (await self.deletions())["effects"] >= goal

        await until(reached, PATIENCE)

    async def deletions(self) -> Mapping[str, int]:
        """Return the number of attempted and of effective deletions in ACS."""
        counts = await self._control.ask("GET", "counts")
        deletions: Mapping[str, int] = counts["operations"]["delete"]
        return deletions

    async def assert_all_purged(self) -> None:
        """Assert that ACS and the registry are empty, and that nothing was deleted twice."""
        snapshot = await self._records.snapshot(self._table)
        assert (snapshot.alive, snapshot.rows, snapshot.due) == ({}, {}, set())
        assert (await self.deletions())["effects"] == self._number


def purged(reports: Iterable[Swept]) -> int:
    """Return the number of purges in these reports."""
    return sum(report.purged for report in reports)


def deferred(reports: Iterable[Swept]) -> int:
    """Return the number of failed attempts in these reports."""
    return sum(report.deferred for report in reports)


@pytest.fixture
async def cleanup(records: Records, workers: Workers, control: Control) -> Cleanup:
    """2,000 due identities."""
    return await Cleanup.of(records, workers, control, DUE)


@pytest.fixture
def tables(azure: Azure, tmp_path: Path) -> Iterator[Tables]:
    """A table service that the test can stop and start."""
    with running_tables(tmp_path, azure.certificates) as running:
        yield running


async def test_quotas(cleanup: Cleanup, control: Control) -> None:
    """A sweep that exceeds the quota pauses as ACS asks; within its limit ACS refuses nothing."""
    await control.ask("PUT", "quotas", NARROW_QUOTA)

    async def exceed_quota_then_fail() -> None:
        await cleanup.wait_for_deletions(NARROW + 1)
        counts = await cleanup.deletions()
        windows = counts["effects"] // NARROW
        assert 1 <= counts["attempts"] - counts["effects"] <= AT_ONCE * windows
        await control.inject("status", status=503)

    unlimited = await cleanup.sweep(exceed_quota_then_fail)
    await control.clear()
    before = await cleanup.deletions()
    await control.ask("PUT", "quotas", QUOTA)
    limited = await cleanup.sweep(limit=LIMIT)
    after = await cleanup.deletions()

    left = DUE - unlimited.purged
    assert (limited.purged, limited.deferred) == (left, 0)
    assert [after[name] - before[name] for name in ("attempts", "effects")] == [left, left]
    await cleanup.assert_all_purged()


async def test_acs_outages(cleanup: Cleanup, control: Control) -> None:
    """ACS fails, then loses its responses, then is unreachable, then hangs; all gets purged."""
    await sweep_through_outage(cleanup, control, lambda: control.inject("status", status=503))
    await sweep_through_outage(cleanup, control, lambda: control.inject("drop", when="after"))
    await sweep_through_outage(cleanup, control, lambda: control.outage(6))
    await sweep_with_hanging_calls(cleanup, control)
    await cleanup.finish()

    assert purged(cleanup.reports) == DUE
    await cleanup.assert_all_purged()


async def sweep_through_outage(
    cleanup: Cleanup, control: Control, inject: Callable[[], Awaitable[object]]
) -> None:
    """Sweep while ACS fails completely: the sweep soon stops trying, for each kind of work."""

    async def meanwhile() -> None:
        await cleanup.wait_for_deletions(SOME)
        await inject()

    report = await cleanup.sweep(meanwhile)
    await control.clear()

    assert 0 < report.deferred < len(DueKind) * (OUTAGE + AT_ONCE)


async def sweep_with_hanging_calls(cleanup: Cleanup, control: Control) -> None:
    """Sweep while half of the concurrent calls hang: the others continue."""

    async def meanwhile() -> None:
        await cleanup.wait_for_deletions(SOME)
        await control.inject("hang", times=AT_ONCE // 2)

    report = await cleanup.sweep(meanwhile)
    await control.clear()

    assert report.deferred == AT_ONCE // 2


async def test_registry_outages(
    azure: Azure,
    tables: Tables,
    session: aiohttp.ClientSession,
    workers: Workers,
    control: Control,
) -> None:
    """Without tokens for a while, and after a stop of storage, all identities get purged.

    No purge is reported twice; one is missing only if its response was lost.
    """
    records = Records(azure, session, control, tables.address)
    cleanup = await Cleanup.of(records, workers, control, DUE)
    await sweep_without_tokens(cleanup, control)
    await sweep_without_storage(cleanup, tables)
    await cleanup.finish()

    assert DUE - deferred(cleanup.reports) <= purged(cleanup.reports) <= DUE
    await cleanup.assert_all_purged()


async def sweep_without_tokens(cleanup: Cleanup, control: Control) -> None:
    """Sweep while no tokens are issued: the sweep continues until its tokens expire."""
    await control.inject_identity_fault(lifetimeSeconds=SHORT)

    async def meanwhile() -> None:
        await cleanup.wait_for_deletions(1)
        await control.inject_identity_fault(status=500, lifetimeSeconds=SHORT)

    report = await cleanup.sweep(meanwhile, LIMIT)
    await control.clear()

    assert 0 < report.purged < DUE // 2
    assert report.due < DUE


async def sweep_without_storage(cleanup: Cleanup, tables: Tables) -> None:
    """Sweep while the table service stops: the sweep ends."""

    async def meanwhile() -> None:
        await cleanup.wait_for_deletions(SOME)
        tables.stop()

    report = await cleanup.sweep(meanwhile)
    tables.start()

    assert report.purged < DUE // 2
