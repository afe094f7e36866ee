"""The sweep purges what is due. tests/operations/test_purge_deleted_identities.py has the rest."""

import asyncio
import re
from functools import partial

from tests.support.client import Client, Control, until

FINISHED = "sweep_finished due="


async def test_due_identities_are_purged(
    api: Client, no_retention: Client, control: Control
) -> None:
    """The sweep removes them from ACS and from the registry, and no others."""
    kept = [await api.deleted_identity(), await api.new_identity()]
    due = await no_retention.deleted_identity()
    sweeps = no_retention.app.log.count(FINISHED)

    await no_retention.sweep()

    await until(lambda: has_finished(no_retention, sweeps + 1))
    assert await no_retention.is_gone(due)
    assert [await control.state(each) for each in (due, *kept)] == ["deleted", "active", "active"]


async def test_sweeps_at_once_purge_everything_once(
    no_retention: Client, api: Client, control: Control
) -> None:
    """All due identities are purged, and no sweep fails."""
    sweeps = {worker: worker.app.log.count(FINISHED) for worker in (no_retention, api)}
    identities = [await no_retention.deleted_identity() for _ in range(10)]

    await asyncio.gather(no_retention.sweep(), api.sweep(), no_retention.sweep(), api.sweep())

    for worker, before in sweeps.items():
        await until(partial(has_finished, worker, before + 2))
    states = await control.identities()
    assert {states[each] for each in identities} == {"deleted"}
    assert "Traceback" not in no_retention.app.log + api.app.log


async def test_each_sweep_has_one_line(no_retention: Client) -> None:
    """It has the counts, the duration and the invocation."""
    sweeps = no_retention.app.log.count(FINISHED)

    await no_retention.sweep()

    await until(lambda: has_finished(no_retention, sweeps + 1))
    [*_, line] = [line for line in no_retention.app.log.splitlines() if FINISHED in line]
    assert re.search(
        r"sweep_finished due=\d+ revoked=\d+ purged=\d+"
        r" deferred=\d+ stuck=\d+ held=- backlog=\d+ oldest_overdue_s=\d+"
        r" teams_access=\d+ throttles=\d+ duration_ms=\d+ caller=sweep invocation_id=[\w-]{36}$",
        line,
    )


async def has_finished(api: Client, times: int) -> bool:
    """Whether this many sweeps have finished."""
    return api.app.log.count(FINISHED) >= times
