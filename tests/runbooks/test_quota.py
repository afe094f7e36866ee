"""The runbook for a higher quota."""

from tests.runbooks.page import section
from tests.support.client import CHAT, Client, Control

# It has no command: support raises the quota.
RUNBOOK = section("raise-a-quota")
QUOTA = 3
# Two deletions per second.


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
