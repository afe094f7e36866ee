"""Many identities that are due, and one sweep after the other over them."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Self

from tests.support.client import Control, until
from tests.survival.forks import Workers
from tests.survival.registers import Registers, due
from tests.survival.worker import UNPACED, Swept, Task

# Longer than a failure puts an entry off for the first few times.
LATER = 3600.0
# More sweeps than anything here should take.
ENOUGH = 6
# Seconds within which a sweep gets anywhere, on a machine that has much else to do.
PATIENCE = 120.0


class Cleanup:
    """What is due in one table, and what the sweeps reported.

    Attributes:
        reports: One for each sweep so far.
    """

    def __init__(
        self, registers: Registers, workers: Workers, control: Control, number: int, table: str
    ) -> None:
        self._registers = registers
        self._workers = workers
        self._control = control
        self._number = number
        self._table = table
        self.reports: list[Swept] = []

    @classmethod
    async def of(
        cls, registers: Registers, workers: Workers, control: Control, number: int
    ) -> Self:
        """So many identities, all due."""
        table = await registers.new_table()
        await registers.write(table, map(due, await registers.identities(number)))
        return cls(registers, workers, control, number, table)

    async def sweep(
        self,
        meanwhile: Callable[[], Awaitable[object]] | None = None,
        pace: int = UNPACED,
        *,
        later: bool = True,
    ) -> Swept:
        """Sweep once, later than the time before, and let something happen meanwhile."""
        task = Task(
            operation="sweep",
            table=self._table,
            tables=self._registers.tables,
            ahead=LATER * len(self.reports) * later,
            pace=pace,
        )
        async with self._workers.at_work(task) as worker:
            if meanwhile:
                await meanwhile()
            report = (await worker.ends()).swept
        assert report
        self.reports.append(report)
        return report

    async def finish(self) -> None:
        """Sweep until nothing is due."""
        for _ in range(ENOUGH):
            if (await self.sweep()).due == 0:
                return
        raise AssertionError(self.reports)

    async def get_on(self, deletions: int) -> None:
        """Wait until ACS has deleted so many more."""
        goal = (await self.deletions())["effects"] + deletions

        async def reached() -> bool:
            return (await self.deletions())["effects"] >= goal

        await until(reached, PATIENCE)

    async def deletions(self) -> Mapping[str, int]:
        """How many deletions ACS was asked for so far, and how many took effect."""
        counts = await self._control.ask("GET", "counts")
        deletions: Mapping[str, int] = counts["operations"]["delete"]
        return deletions

    async def assert_all_purged(self) -> None:
        """Nothing is left in ACS or in the registry, and nothing was deleted twice."""
        picture = await self._registers.picture(self._table)
        assert (picture.alive, picture.rows, picture.agenda) == ({}, {}, set())
        assert (await self.deletions())["effects"] == self._number


def purged(reports: Iterable[Swept]) -> int:
    """How many purges the sweeps reported."""
    return sum(report.purged for report in reports)


def deferred(reports: Iterable[Swept]) -> int:
    """How many attempts failed, by what the sweeps know."""
    return sum(report.deferred for report in reports)
