"""The calls of every operation, in order, with unknown results and other calls in between."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from identity_service.errors import (
    AcsUnavailable,
    IdentityBusy,
    IdentityDeleted,
    IdentityNotDeleted,
    IdentityNotFound,
    IdentitySuspended,
    RegistryUnavailable,
)
from identity_service.identity import State
from tests.operations.test_states import BY_USER, CALLS, ELSEWHERE, NOWHERE, reach
from tests.support.world import ACS_IS_DOWN, ALICE, CONFLICT, TABLE_IS_DOWN, World, refusal

UNREVOKED = "deleted, not revoked"
HALF_SUSPENDED = "suspended, not revoked"

# For each operation and start: the calls, to ACS where it says so, else to the registry.
STEPS: dict[tuple[str, str], str] = {
    ("create_identity", NOWHERE): "read_user acs.create insert insert_user update",
    ("create_identity", State.CREATING): "read_user read update read",
    ("create_identity", State.ACTIVE): "read_user read",
    ("create_identity_with_token", NOWHERE): (
        "read_user acs.create_with_token insert insert_user update"
    ),
    ("create_identity_with_token", State.ACTIVE): "read_user read acs.issue_token read",
    ("register_identity", ELSEWHERE): "read insert acs.issue_token insert_user update",
    ("register_identity", State.REGISTERING): (
        "read acs.issue_token insert_user read_user replace_user update"
    ),
    ("register_identity", State.ACTIVE): "read update",
    ("unregister_identity", State.ACTIVE): "read read_user remove remove_user",
    ("get_identity", State.ACTIVE): "read",
    ("suspend_identity", State.ACTIVE): "read update acs.revoke_tokens update",
    ("suspend_identity", ELSEWHERE): "read insert acs.revoke_tokens update",
    ("suspend_identity", HALF_SUSPENDED): "read update acs.revoke_tokens update",
    ("suspend_identity", State.SUSPENDED): "read update",
    ("resume_identity", State.SUSPENDED): "read update",
    ("resume_identity", HALF_SUSPENDED): "read acs.revoke_tokens update",
    ("resume_identity", State.ACTIVE): "read update",
    ("delete_identity", State.SUSPENDED): "read update acs.revoke_tokens update",
    ("delete_identity", BY_USER): "read update",
    ("delete_identity", State.ACTIVE): "read update acs.revoke_tokens update",
    ("delete_identity", ELSEWHERE): "read insert acs.revoke_tokens update",
    ("delete_identity", UNREVOKED): "read update acs.revoke_tokens update",
    ("delete_identity", State.DELETED): "read update",
    ("issue_token", State.ACTIVE): "acs.issue_token read",
    ("revoke_tokens", State.ACTIVE): "acs.revoke_tokens",
    ("get_deleted_identity", State.DELETED): "read",
    ("restore_identity", State.DELETED): "read update",
    ("restore_identity", UNREVOKED): "read acs.revoke_tokens update",
    ("restore_identity", State.ACTIVE): "read update",
    ("restore_identity", State.SUSPENDED): "read update",
    ("purge_identity", State.DELETED): "read update acs.delete read_user remove_user remove",
    ("purge_identity", State.PURGING): "read acs.delete read_user remove_user remove",
    ("get_me", State.ACTIVE): "read_user read",
    ("revoke_my_tokens", State.ACTIVE): "read_user read acs.revoke_tokens",
    ("delete_me", State.ACTIVE): "read_user read update acs.revoke_tokens update",
    ("restore_me", BY_USER): "read_user read update",
    ("exchange_my_teams_token", State.ACTIVE): "acs.exchange_teams_token read_user read",
    ("exchange_teams_token", NOWHERE): "acs.exchange_teams_token",
    ("list_identities", State.ACTIVE): "list_identities",
    ("list_identities of a user", State.ACTIVE): "read_user read",
    ("list_deleted_identities", State.DELETED): "due_entries read",
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
    elif start == HALF_SUSPENDED:
        identity_id = await world.half_suspended(ALICE.user_id)
    else:
        identity_id = await reach(world, start)
    world.acs.calls.clear()
    world.registry.calls.clear()
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
        ("suspend_identity", State.ACTIVE),
        ("resume_identity", State.SUSPENDED),
        ("delete_identity", State.ACTIVE),
        ("restore_identity", State.DELETED),
        ("purge_identity", State.DELETED),
        ("register_identity", State.ACTIVE),
    ],
)
async def test_four_conflicts(world: World, operation: str, start: State) -> None:
    """After four conflicts the operation fails as busy."""
    call = await prepare(world, operation, start)
    world.registry.fails("update", CONFLICT, times=4)

    assert await refusal(call) is IdentityBusy

    assert world.registry.calls.count("update") == 4


# Other calls change the identity, which is the one that was created last.


async def change(world: World, identity_id: str) -> None:
    """Another call changes the row a little."""
    world.registry.change(identity_id, last_error="a change")


async def start_purge(world: World, identity_id: str) -> None:
    """A purge starts and does not end."""
    world.registry.change(identity_id, state=State.PURGING)


async def remove_row(world: World, identity_id: str) -> None:
    """Another purge ends."""
    await world.registry.remove(world.registry.rows[identity_id])


async def finish(world: World, identity_id: str) -> None:
    """Another call finishes the creation."""
    assert (await world.create(ALICE.user_id)).id == identity_id


async def finish_and_delete(world: World, identity_id: str) -> None:
    """Other calls finish the creation and delete the identity."""
    await finish(world, identity_id)
    await world.delete(identity_id)


async def delete_and_purge(world: World, identity_id: str) -> None:
    """Other calls delete and purge the identity."""
    await world.delete(identity_id)
    await world.purge(identity_id)


class Race(NamedTuple):
    """Another call acts just before a step of an operation.

    Attributes:
        step: The call to the registry, with its number if it is not the first one of its kind.
        error: The error of the operation, if it fails.
        state: The state of the identity afterwards. None if it is gone.
    """

    operation: str
    start: str
    step: str
    other: Callable[[World, str], Awaitable[object]]
    error: type[Exception] | None
    state: State | None


SUSPENDED = IdentitySuspended
ALIVE, DELETED, NOT_FOUND = IdentityNotDeleted, IdentityDeleted, IdentityNotFound
WITH_TOKEN = "create_identity_with_token"
GONE = None
RACES = [
    Race("create_identity", NOWHERE, "update", finish, None, State.ACTIVE),
    Race("create_identity", NOWHERE, "update", finish_and_delete, IdentityDeleted, State.DELETED),
    Race(WITH_TOKEN, NOWHERE, "update", finish, None, State.ACTIVE),
    Race(WITH_TOKEN, NOWHERE, "update", finish_and_delete, IdentityDeleted, State.DELETED),
    Race(WITH_TOKEN, State.ACTIVE, "read 2", World.delete, IdentityDeleted, State.DELETED),
    Race(WITH_TOKEN, State.ACTIVE, "read 2", delete_and_purge, None, GONE),
    Race("issue_token", State.ACTIVE, "read", World.delete, IdentityDeleted, State.DELETED),
    Race("delete_identity", ELSEWHERE, "insert", World.delete, None, State.DELETED),
    Race("delete_identity", State.ACTIVE, "update", change, None, State.DELETED),
    Race("delete_identity", State.ACTIVE, "update", World.delete, None, State.DELETED),
    Race("delete_identity", State.ACTIVE, "update 2", change, None, State.DELETED),
    Race("delete_identity", State.ACTIVE, "update 2", World.delete, None, State.DELETED),
    Race("delete_identity", State.ACTIVE, "update 2", World.restore, None, State.ACTIVE),
    Race("delete_identity", State.ACTIVE, "update 2", World.purge, None, GONE),
    Race("delete_identity", State.ACTIVE, "update 2", start_purge, None, State.PURGING),
    Race("delete_identity", State.ACTIVE, "update", World.suspend, None, State.DELETED),
    Race("suspend_identity", ELSEWHERE, "insert", World.suspend, None, State.SUSPENDED),
    Race("suspend_identity", State.ACTIVE, "update", change, None, State.SUSPENDED),
    Race("suspend_identity", State.ACTIVE, "update", World.delete, DELETED, State.DELETED),
    Race("suspend_identity", State.ACTIVE, "update 2", change, None, State.SUSPENDED),
    Race("suspend_identity", State.ACTIVE, "update 2", World.suspend, None, State.SUSPENDED),
    Race("suspend_identity", State.ACTIVE, "update 2", World.resume, None, State.ACTIVE),
    Race("suspend_identity", State.ACTIVE, "update 2", World.delete, None, State.DELETED),
    Race("resume_identity", State.SUSPENDED, "update", World.resume, None, State.ACTIVE),
    Race("resume_identity", State.SUSPENDED, "update", World.delete, DELETED, State.DELETED),
    Race("resume_identity", HALF_SUSPENDED, "update", World.suspend, None, State.ACTIVE),
    Race("issue_token", State.ACTIVE, "read", World.suspend, SUSPENDED, State.SUSPENDED),
    Race(WITH_TOKEN, State.ACTIVE, "read 2", World.suspend, SUSPENDED, State.SUSPENDED),
    Race("restore_identity", State.DELETED, "update", World.restore, None, State.ACTIVE),
    Race("restore_identity", State.DELETED, "update", World.purge, IdentityNotFound, GONE),
    Race("restore_identity", UNREVOKED, "update", World.delete, None, State.ACTIVE),
    Race("register_identity", State.REGISTERING, "update", World.unregister, None, State.ACTIVE),
    Race("unregister_identity", State.ACTIVE, "remove", World.delete, DELETED, State.DELETED),
    Race("unregister_identity", State.ACTIVE, "remove", World.unregister, NOT_FOUND, GONE),
    Race("purge_identity", State.DELETED, "update", World.restore, ALIVE, State.ACTIVE),
    Race("purge_identity", State.DELETED, "update", start_purge, None, GONE),
    Race("purge_identity", State.DELETED, "remove", remove_row, None, GONE),
]


@pytest.mark.parametrize(
    "race", RACES, ids=lambda race: f"{race.operation}-{race.start}-{race.step}"
)
async def test_other_call_is_faster(world: World, race: Race) -> None:
    """If another call changes the identity just before a step, the operation decides again."""
    call = await prepare(world, race.operation, race.start)
    step, _, number = race.step.partition(" ")
    world.registry.passes(step, int(number or 1) - 1)
    changed = []

    async def act() -> None:
        changed.extend([*world.acs.identities, *world.registry.rows][-1:])
        await race.other(world, changed[0])

    world.registry.precede(step, act)
    if race.error:
        assert await refusal(call) is race.error
    else:
        await call
    row = world.registry.rows.get(changed[0])
    assert (row and row.state) == race.state
    assert row is None or row.revoked == (row.state in (State.SUSPENDED, State.DELETED))
