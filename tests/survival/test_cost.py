"""What a sweep costs grows with what is due, not with how many identities there are."""

import logging

from tests.support.client import Control
from tests.survival.forks import Workers
from tests.survival.registers import Registers, active, deleted, due, made_up_id
from tests.survival.worker import Done, Task

log = logging.getLogger(__name__)

DUE = 100
SIZES = (100, 2_000, 20_000)
# Of the others so many are deleted too, and on the agenda for later.
LATER_SHARE = 10
# One read and two writes for each, a page of the agenda for each partition, and one to see that
# the table is there.
REQUESTS = 3 * DUE + 16 + 1
# A page of the agenda more or less.
MARGIN = 16
MEMORY_MARGIN = 1.25


async def test_cost_at_any_size(registers: Registers, workers: Workers, control: Control) -> None:
    """100 due among 100, 2,000 and 20,000: the same number of requests, and the same memory."""
    table = await registers.new_table()
    costs: list[Done] = []
    deletions: list[int] = []

    standing = 0
    for size in SIZES:
        await stand_by(registers, table, size - standing - DUE)
        standing = size - DUE
        await registers.write(table, map(due, await registers.identities(DUE)))
        cost = await workers.end(Task(operation="sweep", table=table, traced=True))
        log.info("among=%d requests=%d peak_kib=%d", size, cost.requests, cost.peak // 1024)
        costs.append(cost)
        counts = await control.ask("GET", "counts")
        deletions.append(counts["operations"]["delete"]["attempts"])

    assert [cost.swept and cost.swept.purged for cost in costs] == [DUE] * len(SIZES)
    assert deletions == [DUE, 2 * DUE, 3 * DUE]
    assert all(abs(cost.requests - REQUESTS) <= MARGIN for cost in costs)
    peaks = [cost.peak for cost in costs]
    assert max(peaks) < MEMORY_MARGIN * min(peaks)


async def stand_by(registers: Registers, table: str, number: int) -> None:
    """Write so many identities with which nothing is due."""
    rows = (deleted if each % LATER_SHARE == 0 else active for each in range(number))
    await registers.write(table, [row(made_up_id()) for row in rows])
