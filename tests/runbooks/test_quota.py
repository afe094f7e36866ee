"""Raising a quota."""

import re

from tests.end_to_end.client import CHAT, Api, Control, until
from tests.runbooks.conftest import Operate
from tests.runbooks.page import section

# Support raises it: there is no command.
RUNBOOK = section("Raise a quota")
FEW = 3
# Two a second.
PACE = 60
FINISHED = re.compile(r"sweep_finished .* purged=(\d+) .* duration_ms=(\d+)")


async def statuses(api: Api, identity_id: str) -> list[int]:
    """How a few calls more than the quota are answered."""
    path = f"identities/{identity_id}/tokens"
    return [(await api.post(path, CHAT)).status for _ in range(FEW + 2)]


async def test_what_is_over_the_quota_is_throttled(api: Api, control: Control) -> None:
    """429, with the time after which to ask again."""
    identity_id = await api.new_identity()
    await control.ask("PUT", "quotas", {"limits": {"issue": FEW}})
    assert await statuses(api, identity_id) == [200] * FEW + [429] * 2

    reply = await api.post(f"identities/{identity_id}/tokens", CHAT)

    reply.assert_problem(429, "throttled")
    assert int(reply.headers["Retry-After"]) > 0


async def test_after_the_raise_none_is_throttled(api: Api, control: Control) -> None:
    """Nothing has to be set in the app, which runs on."""
    identity_id = await api.new_identity()
    await control.ask("PUT", "quotas", {"limits": {"issue": FEW}})
    assert 429 in await statuses(api, identity_id)

    await control.ask("PUT", "quotas", {"limits": {"issue": 2 * FEW}})

    assert await statuses(api, identity_id) == [200] * (FEW + 2)


async def test_the_sweep_keeps_to_its_pace(operate: Operate) -> None:
    """`CLEANUP_DELETES_PER_30S`, which is ours to set."""
    settings = {"DELETED_IDENTITY_RETENTION_DAYS": "0", "CLEANUP_DELETES_PER_30S": str(PACE)}
    api = operate(settings=settings).api
    for _ in range(FEW):
        await api.deleted_identity()

    await api.sweep()

    async def is_finished() -> bool:
        return bool(FINISHED.search(api.app.log))

    await until(is_finished)
    [(purged, duration)] = FINISHED.findall(api.app.log)
    assert int(purged) >= FEW
    assert int(duration) >= (int(purged) - 1) * 30_000 / PACE
