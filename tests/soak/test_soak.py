"""A short soak on everything that is real."""

from dataclasses import replace

from bench.soak.plan import KILL, Fault
from bench.soak.report import TOO_FEW_LOOKS
from bench.soak.run import soak

SECONDS = 14.0


async def test_a_killed_worker_does_no_harm() -> None:
    """Another one goes on, and all is as it must be."""
    found = await soak(SECONDS, 0, [replace(KILL, start=1)])

    assert set(found.defects()) <= {TOO_FEW_LOOKS}
    assert found.faults == ["worker: killed"]
    assert found.tally.calls > 200
    assert found.accounts.in_both


async def test_what_is_wrong_is_noticed() -> None:
    """Tokens of a foreign key, which the app cannot see."""
    order = {"kind": "unknownKey", "operation": "issue"}

    found = await soak(SECONDS, 0, [Fault("foreign tokens", "acs", order=order, start=1)])

    assert any("signature" in wrong for wrong in found.tally.wrong)
