"""The runbook for a higher quota."""

import re

from tests.runbooks.conftest import Operate
from tests.runbooks.page import section
from tests.support.client import CHAT, Client, Control, until

# It has no command: support raises the quota.
RUNBOOK = section("raise-a-quota")
QUOTA = 3
# Two deletions per second.
RATE = 60
FINISHED = re.compile(r"sweep_finished .* purged=(\d+) .* duration_ms=(\d+)")


async def statuses(api: Client, identity_id: str) -> list[int]:
    """Returns the statuses of two calls more than the quota allows."""
    path = f"identities/{identity_id}/tokens"
    return [(await api.post(path, CHAT)).status for _ in range(QUOTA + 2)]


async def test_with_a_higher_quota_no_call_is_429(api: Client, control: Control) -> None:
    """No setting of the app has to change."""
    identity_id = await api.new_identity()
    await control.ask("PUT", "quotas", {"limits": {"issue": QUOTA}})
    assert 429 in await statuses(api, identity_id)

    await control.ask("PUT", "quotas", {"limits": {"issue": 2 * QUOTA}})

    assert await statuses(api, identity_id) == [200] * (QUOTA + 2)


async def test_the_sweep_keeps_its_rate(operate: Operate) -> None:
    """CLEANUP_DELETES_PER_30S limits its deletions."""
    settings = {"DELETED_IDENTITY_RETENTION_DAYS": "0", "CLEANUP_DELETES_PER_30S": str(RATE)}
    api = operate(settings=settings).api
    for _ in range(QUOTA):
        await api.deleted_identity()

    await api.sweep()

    async def is_finished() -> bool:
        return bool(FINISHED.search(api.app.log))

    await until(is_finished)
    [(purged, duration)] = FINISHED.findall(api.app.log)
    assert int(purged) >= QUOTA
    assert int(duration) >= (int(purged) - 1) * 30_000 / RATE
