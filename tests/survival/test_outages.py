"""What goes wrong in the middle of a sweep of two thousand delays it, and does nothing else."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.azurite import Tables, running_tables
from tests.support.client import Control
from tests.support.stack import Azure
from tests.survival.cleanup import Cleanup, deferred, purged
from tests.survival.forks import Workers
from tests.survival.registers import Registers

DUE = 2000
# A sweep has so many calls under way at once, and takes three times as many failures in a row for
# an outage.
AT_ONCE = 16
OUTAGE = 3 * AT_ONCE
# Half of what ACS takes, in a thirtieth of its time; and a pace in the proportion of the default.
QUOTA = {"windowSeconds": 1, "limits": {"delete": 250, "revoke": 250}}
PACE = 30 * 200
# What a sweep gets done before something goes wrong.
SOME = 200
# Seconds that a token lives: less than a sweep at the pace takes.
SHORT = 3
# Far below any pace.
NARROW = 100
NARROW_QUOTA = {"windowSeconds": 5, "limits": {"delete": NARROW}, "retryAfter": True}


@pytest.fixture
async def cleanup(registers: Registers, workers: Workers, control: Control) -> Cleanup:
    """Two thousand identities that are due."""
    return await Cleanup.of(registers, workers, control, DUE)


@pytest.fixture
def tables(azure: Azure, tmp_path: Path) -> Iterator[Tables]:
    """Tables that a test can stop and start."""
    certificates = Path(azure.env["SSL_CERT_FILE"]).parent / "azurite"
    with running_tables(tmp_path, certificates) as running:
        yield running


async def test_quotas(cleanup: Cleanup, control: Control) -> None:
    """Far too fast, a sweep pauses as ACS tells it; at the right pace ACS refuses nothing."""
    await control.ask("PUT", "quotas", NARROW_QUOTA)

    async def goes_on_and_meets_its_end() -> None:
        await cleanup.get_on(NARROW + 1)
        counts = await cleanup.deletions()
        assert 1 <= counts["attempts"] - counts["effects"] <= AT_ONCE
        await control.inject("status", status=503)

    too_fast = await cleanup.sweep(goes_on_and_meets_its_end)
    await control.clear()
    before = await cleanup.deletions()
    await control.ask("PUT", "quotas", QUOTA)
    paced = await cleanup.sweep(pace=PACE)
    after = await cleanup.deletions()

    left = DUE - too_fast.purged
    assert (paced.purged, paced.deferred) == (left, 0)
    assert [after[name] - before[name] for name in ("attempts", "effects")] == [left, left]
    await cleanup.assert_all_purged()


async def test_acs_on_a_bad_day(cleanup: Cleanup, control: Control) -> None:
    """ACS fails, then its answers are lost, then it is out of reach, then half of it hangs."""
    await down(cleanup, control, lambda: control.inject("status", status=503))
    await down(cleanup, control, lambda: control.inject("drop", when="after"))
    await down(cleanup, control, lambda: control.outage(2))
    await hanging(cleanup, control)
    await cleanup.finish()

    assert purged(cleanup.reports) == DUE
    await cleanup.assert_all_purged()


async def down(
    cleanup: Cleanup, control: Control, trouble: Callable[[], Awaitable[object]]
) -> None:
    """A sweep during which ACS goes down: it soon leaves the rest as it is."""

    async def meanwhile() -> None:
        await cleanup.get_on(SOME)
        await trouble()

    report = await cleanup.sweep(meanwhile)
    await control.clear()

    assert OUTAGE <= report.deferred < OUTAGE + AT_ONCE


async def hanging(cleanup: Cleanup, control: Control) -> None:
    """A sweep half of whose calls hang: the others go on."""

    async def meanwhile() -> None:
        await cleanup.get_on(SOME)
        await control.inject("hang", times=AT_ONCE // 2)

    report = await cleanup.sweep(meanwhile)
    await control.clear()

    assert report.deferred == AT_ONCE // 2


async def test_registry_out_of_reach(
    azure: Azure,
    tables: Tables,
    session: aiohttp.ClientSession,
    workers: Workers,
    control: Control,
) -> None:
    """No tokens for a while, then storage is stopped and started.

    No purge is reported twice; one is not reported at all only where its answer never came.
    """
    registers = Registers(azure, session, control, tables.address)
    cleanup = await Cleanup.of(registers, workers, control, DUE)
    await without_tokens(cleanup, control)
    await without_storage(cleanup, tables)
    await cleanup.finish()

    assert DUE - deferred(cleanup.reports) <= purged(cleanup.reports) <= DUE
    await cleanup.assert_all_purged()


async def without_tokens(cleanup: Cleanup, control: Control) -> None:
    """A sweep that lives on its tokens until they expire, and then leaves the rest as it is."""
    await control.inject_identity_fault(lifetimeSeconds=SHORT)

    async def meanwhile() -> None:
        await cleanup.get_on(1)
        await control.inject_identity_fault(status=500, lifetimeSeconds=SHORT)

    report = await cleanup.sweep(meanwhile, PACE)
    await control.clear()

    assert 0 < report.purged < DUE // 2
    assert report.due < DUE


async def without_storage(cleanup: Cleanup, tables: Tables) -> None:
    """A sweep during which the tables go away: it ends by itself."""

    async def meanwhile() -> None:
        await cleanup.get_on(SOME)
        tables.stop()

    report = await cleanup.sweep(meanwhile)
    tables.start()

    assert report.purged < DUE // 2
