"""purge_identity: decides, deletes in ACS, releases the user, removes the row, in this order."""

import pytest

from identity_service.errors import (
    AcsUnavailable,
    IdentityBusy,
    IdentityNotDeleted,
    IdentityNotFound,
    IdentityNotKnownYet,
    PurgeProtected,
    RegistryUnavailable,
)
from identity_service.identity import LEASE, State
from identity_service.policies import DeletionPolicy
from tests.support.memory import UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import (
    ACS_IS_DOWN,
    CONFLICT,
    HOUR,
    SECOND,
    TABLE_IS_DOWN,
    World,
    refusal,
)


async def test_purged_identity(world: World) -> None:
    """Nothing of a purged identity is left. It cannot be purged again."""
    identity_id = await world.deleted("alice")

    await world.purge(identity_id)

    assert world.is_gone(identity_id)
    assert await refusal(world.purge(identity_id)) is IdentityNotFound


@pytest.mark.parametrize(
    ("user_id", "calls"), [("alice", ["read_user", "remove_user"]), (None, [])]
)
async def test_order_of_the_steps(world: World, user_id: str | None, calls: list[str]) -> None:
    """The user row, if there is one, is removed before the identity row."""
    identity_id = await world.deleted(user_id)
    world.registry.calls.clear()

    await world.purge(identity_id)

    assert world.registry.calls == ["read", "update", *calls, "remove"]


async def test_decision_comes_before_the_deletion_in_acs(world: World) -> None:
    """When ACS deletes the identity, it can no longer be restored."""
    identity_id = await world.deleted()
    states = []

    async def look() -> None:
        states.append(world.row(identity_id).state)

    world.acs.precede("delete", look)

    await world.purge(identity_id)

    assert states == [State.PURGING]


async def test_lease(world: World) -> None:
    """A purge that has started is due after a lease, so the sweep finishes it."""
    identity_id = await world.purging("alice")
    assert [entry.due for entry in world.due_entries()] == [START + LEASE]
    world.pass_lease()

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


async def test_purge_protection(world: World) -> None:
    """With purge protection the call is refused before anything is read."""
    identity_id = await world.deleted()
    world.deletion = DeletionPolicy(purge_protection=True)
    world.registry.calls.clear()

    assert await refusal(world.purge(identity_id)) is PurgeProtected

    assert (world.registry.calls, world.acs.identities) == ([], [identity_id])


async def test_active_identity(world: World) -> None:
    """For an identity that is not deleted, the error says how to delete it."""
    identity_id = await world.active()

    with pytest.raises(IdentityNotDeleted, match="DELETE identities/"):
        await world.purge(identity_id)


async def test_unrevoked_identity(world: World) -> None:
    """An identity that is not revoked yet can be purged: its deletion in ACS revokes its tokens."""
    created = await world.create_with_token()
    await world.delete_unrevoked(created.id)

    await world.purge(created.id)

    assert world.is_gone(created.id)
    assert not world.acs.is_valid(created.token)


async def test_interrupted_purge(world: World) -> None:
    """Repeating the call finishes a purge that was interrupted."""
    identity_id = await world.purging("alice")

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


# Failures and conflicts


@pytest.mark.parametrize("happens", ["fails", "loses"])
async def test_unknown_decision(world: World, happens: str) -> None:
    """If the result of the decision is unknown, nothing is deleted in ACS."""
    identity_id = await world.deleted()
    getattr(world.registry, happens)("update", TABLE_IS_DOWN)

    assert await refusal(world.purge(identity_id)) is RegistryUnavailable

    assert world.acs.identities == [identity_id]


async def test_restored_before_the_decision(world: World) -> None:
    """If the identity is restored first, it is not purged."""
    identity_id = await world.deleted()
    world.registry.precede("update", lambda: world.restore(identity_id))

    assert await refusal(world.purge(identity_id)) is IdentityNotDeleted

    assert world.acs.identities == [identity_id]


async def test_purge_started_by_another_call(world: World) -> None:
    """If another call has started the purge, this call continues it."""
    identity_id = await world.deleted()
    world.registry.precede("update", world.change(identity_id, state=State.PURGING))

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


async def test_purge_finished_by_another_call(world: World) -> None:
    """If another call finishes the purge, this call succeeds."""
    identity_id = await world.deleted()
    world.registry.precede(
        "remove", lambda: world.registry.remove(world.registry.rows[identity_id])
    )

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


async def test_four_conflicts(world: World) -> None:
    """After four conflicts the call fails as busy."""
    identity_id = await world.deleted()
    world.registry.fails("update", CONFLICT, times=4)
    world.registry.calls.clear()

    assert await refusal(world.purge(identity_id)) is IdentityBusy

    assert world.registry.calls.count("update") == 4


async def test_acs_is_down(world: World) -> None:
    """If ACS fails, the call fails and the purge stays decided."""
    identity_id = await world.deleted()
    world.acs.fails("delete", ACS_IS_DOWN)

    assert await refusal(world.purge(identity_id)) is AcsUnavailable

    assert world.row(identity_id).state is State.PURGING


@pytest.mark.parametrize("call", ["read_user", "remove_user", "remove"])
async def test_unknown_result_of_a_later_step(world: World, call: str) -> None:
    """If the result of a later step is unknown, the call fails and the purge stays decided."""
    identity_id = await world.deleted("alice")
    world.registry.fails(call, TABLE_IS_DOWN)

    assert await refusal(world.purge(identity_id)) is RegistryUnavailable

    assert world.row(identity_id).state is State.PURGING


# Identities that ACS does not know


async def test_identity_that_acs_does_not_know(world: World) -> None:
    """An identity that ACS does not know is purged only if it is an hour old."""
    identity_id = await world.deleted()
    world.acs.identities.remove(identity_id)
    world.clock.advance(HOUR - SECOND)

    assert await refusal(world.purge(identity_id)) is IdentityNotKnownYet

    assert world.row(identity_id).state is State.PURGING
    world.clock.advance(SECOND)
    await world.purge(identity_id)
    assert world.is_gone(identity_id)


async def test_identity_created_elsewhere_that_acs_does_not_know(world: World) -> None:
    """An identity that was created elsewhere has no known age, so it is purged at once."""
    identity_id = world.acs.add()
    await world.delete(identity_id)
    world.acs.identities.remove(identity_id)

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


# The user row


@pytest.mark.parametrize("has_another", [False, True])
async def test_user_row_of_another_identity(world: World, has_another: bool) -> None:
    """A missing user row is no problem. If it names another identity, it stays."""
    identity_id = await world.deleted("alice")
    world.registry.users.clear()
    others = {"alice": await world.active("alice")} if has_another else {}

    await world.purge(identity_id)

    assert (world.user_rows(), world.is_gone(identity_id)) == (others, True)


async def test_user_row_is_replaced_during_the_purge(world: World) -> None:
    """If the user row is replaced before it is removed, it stays and the identity is gone."""
    identity_id = await world.deleted("alice")
    world.clock.advance(HOUR)

    async def replace() -> None:
        await world.registry.replace_user(world.registry.users["alice"], UNKNOWN)

    world.registry.precede("remove_user", replace)

    await world.purge(identity_id)

    assert (world.user_rows(), world.is_gone(identity_id)) == ({"alice": UNKNOWN}, True)
