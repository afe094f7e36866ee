"""The calls of every operation, in order, and what happens if the result of one is unknown."""

from collections.abc import Awaitable

import pytest

from identity_service.errors import AcsUnavailable, IdentityBusy, RegistryUnavailable
from identity_service.identity import State
from identity_service.operations.tokens import exchange_teams_token
from identity_service.schemas import ExchangeTeamsTokenRequest
from tests.operations.test_states import CALLS, ELSEWHERE, NOWHERE, reach
from tests.support.world import ACS_IS_DOWN, ALICE, CONFLICT, TABLE_IS_DOWN, World, refusal

TEAMS = ExchangeTeamsTokenRequest(token="entra-token", app_id="app", user_id="user")
UNREVOKED = "deleted, not revoked"

# For each operation and start: the calls, to ACS where it says so, else to the registry.
STEPS: dict[tuple[str, str], str] = {
    ("create_identity", NOWHERE): "read_user acs.create insert insert_user update",
    ("create_identity", State.CREATING): "read_user read update read",
    ("create_identity", State.ACTIVE): "read_user read",
    ("create_identity_with_token", NOWHERE): (
        "read_user acs.create_with_token insert insert_user update"
    ),
    ("create_identity_with_token", State.ACTIVE): "read_user read acs.issue_token read",
    ("get_identity", State.ACTIVE): "read",
    ("delete_identity", State.ACTIVE): "read update acs.revoke_tokens update",
    ("delete_identity", ELSEWHERE): "read insert acs.revoke_tokens update",
    ("delete_identity", UNREVOKED): "read acs.revoke_tokens update",
    ("delete_identity", State.DELETED): "read",
    ("issue_token", State.ACTIVE): "acs.issue_token read",
    ("revoke_tokens", State.ACTIVE): "acs.revoke_tokens",
    ("get_deleted_identity", State.DELETED): "read",
    ("restore_identity", State.DELETED): "read update",
    ("restore_identity", UNREVOKED): "read acs.revoke_tokens update",
    ("restore_identity", State.ACTIVE): "read",
    ("purge_identity", State.DELETED): "read update acs.delete read_user remove_user remove",
    ("purge_identity", State.PURGING): "read acs.delete read_user remove_user remove",
    ("get_me", State.ACTIVE): "read_user read",
    ("revoke_my_tokens", State.ACTIVE): "read_user acs.revoke_tokens",
    ("delete_me", State.ACTIVE): "read_user read update acs.revoke_tokens update",
    ("restore_me", State.DELETED): "read_user read update",
    ("exchange_teams_token", NOWHERE): "acs.exchange_teams_token",
}
# A new identity that cannot be recorded is deleted: tests/operations/test_create_identity.py.
UNKNOWN_RESULTS = [
    (operation, start, number)
    for (operation, start), steps in STEPS.items()
    for number, step in enumerate(steps.split())
    if (operation[:6], step) != ("create", "insert")
]


async def prepare(world: World, operation: str, start: str) -> Awaitable[object]:
    """The operation, ready to run on an identity in this state. No calls are recorded yet."""
    if start == UNREVOKED:
        identity_id = await world.unrevoked(ALICE.user_id)
    else:
        identity_id = await reach(world, start)
    world.acs.calls.clear()
    world.registry.calls.clear()
    if operation == "exchange_teams_token":
        return exchange_teams_token(TEAMS, world.acs)
    return CALLS[operation](world, identity_id)


def made(world: World) -> list[str]:
    """The calls to ACS, then those to the registry."""
    return [*(f"acs.{call}" for call in world.acs.calls), *world.registry.calls]


def acs_first(steps: list[str]) -> list[str]:
    """The same order for the calls of a table row."""
    return sorted(steps, key=lambda step: not step.startswith("acs."))


@pytest.mark.parametrize(("operation", "start"), STEPS)
async def test_steps(world: World, operation: str, start: str) -> None:
    """An operation makes exactly these calls. None of them is repeated."""
    await (await prepare(world, operation, start))

    assert made(world) == acs_first(STEPS[operation, start].split())


@pytest.mark.parametrize("happens", ["fails", "loses"])
@pytest.mark.parametrize(("operation", "start", "number"), UNKNOWN_RESULTS)
async def test_unknown_result(
    world: World, operation: str, start: str, number: int, happens: str
) -> None:
    """If the result of a step is unknown, the operation fails there: no retry, nothing undone."""
    steps = STEPS[operation, start].split()[: number + 1]
    call = await prepare(world, operation, start)
    is_acs = steps[-1].startswith("acs.")
    service = world.acs if is_acs else world.registry
    name = steps[-1].removeprefix("acs.")
    service.passes(name, steps.count(steps[-1]) - 1)
    getattr(service, happens)(name, ACS_IS_DOWN if is_acs else TABLE_IS_DOWN)

    assert await refusal(call) is (AcsUnavailable if is_acs else RegistryUnavailable)

    assert made(world) == acs_first(steps)


@pytest.mark.parametrize(
    ("operation", "start"),
    [
        ("create_identity", State.CREATING),
        ("delete_identity", State.ACTIVE),
        ("restore_identity", State.DELETED),
        ("purge_identity", State.DELETED),
    ],
)
async def test_four_conflicts(world: World, operation: str, start: State) -> None:
    """After four conflicts the operation fails as busy."""
    call = await prepare(world, operation, start)
    world.registry.fails("update", CONFLICT, times=4)

    assert await refusal(call) is IdentityBusy

    assert world.registry.calls.count("update") == 4
