"""The cost of a sweep grows with the number of due entries, not with the number of identities."""

import logging

from tests.support.client import Control
from tests.survival.processes import Workers
from tests.survival.records import Records, active, deleted, due, made_up_id
from tests.survival.worker import Done, Task

log = logging.getLogger(__name__)

DUE = 100
SIZES = (100, 2_000, 20_000)
# One in ten of the other identities is deleted and due later.
LATER_SHARE = 10
# One read and two writes for each due identity, a page of due entries for each of 16 partitions and
# 3 kinds (one of them about Teams Phone access), and two requests to check that the table exists.
REQUESTS = 3 * DUE + 16 * 3 + 2
# One page of due entries more or less per partition.
MARGIN = 16
MEMORY_MARGIN = 1.25


async def test_cost_at_any_size(records: Records, workers: Workers, control: Control) -> None:
    """100 due identities among 100, 2,000 and 20,000 take the same requests and memory."""
    table = await records.new_table()
    costs: list[Done] = []
    deletions: list[int] = []

    others = 0
    for size in SIZES:
        await add_others(records, table, size - others - DUE)
        others = size - DUE
        await records.write(table, map(due, await records.create_identities(DUE)))
        cost = await workers.run(Task(operation="sweep", table=table, traced=True))
        log.info("among=%d requests=%d peak_kib=%d", size, cost.requests, cost.peak // 1024)
        costs.append(cost)
        counts = await control.ask("GET", "counts")
        deletions.append(counts["operations"]["delete"]["attempts"])

    assert [cost.swept and cost.swept.purged for cost in costs] == [DUE] * len(SIZES)
    assert deletions == [DUE, 2 * DUE, 3 * DUE]
    assert all(abs(cost.requests - REQUESTS) <= MARGIN for cost in costs)
    peaks = [cost.peak for cost in costs]
    assert max(peaks) < MEMORY_MARGIN * min(peaks)


async def add_others(records: Records, table: str, number: int) -> None:
    """Write identities that are not due."""
    rows = (deleted if each % LATER_SHARE == 0 else active for each in range(number))
    await records.write(table, [row(made_up_id()) for row in rows])
