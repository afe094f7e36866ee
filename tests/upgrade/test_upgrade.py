"""This release on a table that release 1 has written."""

import pytest

from identity_service.identity import State
from identity_service.operations.deleted_identities import list_deleted_identities
from identity_service.operations.identities import list_identities
from identity_service.policies import CleanupPolicy
from identity_service.schemas import (
    IdentityResponse,
    ListDeletedIdentitiesQuery,
    ListIdentitiesQuery,
)
from tests.support.world import RETENTION
from tests.upgrade.world import Shared

STATES = {
    "active": State.ACTIVE,
    "creating": State.CREATING,
    "deleted": State.DELETED,
    "unrevoked": State.DELETED,
    "adopted": State.DELETED,
    "adopted_unrevoked": State.DELETED,
    "purging": State.PURGING,
}
DELETED = ["deleted", "unrevoked", "adopted", "adopted_unrevoked"]


async def written(world: Shared, state: str, user_id: str | None = None) -> str:
    """The id of an identity that release 1 has left in this state."""
    identity_id: str = await getattr(world.release_1, state)(user_id)
    return identity_id


@pytest.mark.parametrize("state", STATES)
async def test_row_is_read(world: Shared, state: str) -> None:
    """A row of release 1 has the same state, dates and user."""
    identity_id = await written(world, state, "alice")
    identity = await world.registry.read(identity_id)

    assert identity
    assert identity.state is STATES[state]
    assert identity.unknown_columns == ()
    assert identity.user_id == (None if state.startswith("adopted") else "alice")
    assert (identity.created_on is None) == state.startswith("adopted")
    assert (identity.deleted_on is None) == (state in ("active", "creating"))


async def test_lists(world: Shared) -> None:
    """This release lists what release 1 lists, in the same order."""
    for state in STATES:
        await written(world, state)
    active = await world.release_1.call("list_identities", query={})
    deleted = await world.release_1.call("list_deleted_identities", query={})
    listed = await list_identities(ListIdentitiesQuery(), world.registry)
    listed_deleted = await list_deleted_identities(
        ListDeletedIdentitiesQuery(), world.registry, world.cleanup
    )

    assert [one.id for one in listed.items] == [one["id"] for one in active["value"]]
    assert [one.id for one in listed_deleted.items] == [one["id"] for one in deleted["value"]]
    assert len(listed_deleted.items) == 5


@pytest.mark.parametrize("state", ["active", "creating"])
async def test_user_keeps_the_identity(world: Shared, state: str) -> None:
    """A user of release 1 gets the same identity."""
    identity_id = await written(world, state, "alice")

    assert (await world.create("alice")).id == identity_id
    assert await world.damage() == []


async def test_registering_a_row_of_release_1(world: Shared) -> None:
    """An identity that release 1 has created is registered already."""
    identity_id = await written(world, "active", "alice")
    before = await world.rows()
    response = await world.register(identity_id, "alice")

    assert type(response) is IdentityResponse  # not that of a new registration
    assert await world.rows() == before


@pytest.mark.parametrize("state", DELETED)
async def test_restore(world: Shared, state: str) -> None:
    """This release restores what release 1 has deleted, and nothing is due afterwards."""
    identity_id = await written(world, state, "alice")
    await world.restore(identity_id)

    assert (await world.columns(identity_id))["state"] == "active"
    assert await world.due_kinds(identity_id) == ""
    assert await world.damage() == []


@pytest.mark.parametrize("state", [*DELETED, "purging"])
async def test_purge(world: Shared, state: str) -> None:
    """This release purges what release 1 has deleted, and no row is left."""
    identity_id = await written(world, state, "alice")
    await world.purge(identity_id)

    assert (await world.rows(), world.acs.identities) == ({}, [])


@pytest.mark.parametrize(
    ("state", "kind"),
    [("deleted", "t"), ("adopted", "t"), ("unrevoked", "p"), ("adopted_unrevoked", "p")],
)
async def test_sweep_before_the_purge(world: Shared, state: str, kind: str) -> None:
    """The sweep revokes what release 1 has not; what it then writes waits for its purge (`p`)."""
    identity_id = await written(world, state)
    world.pass_lease()
    await world.sweep()

    assert world.acs.revocations == [identity_id]
    assert await world.due_kinds(identity_id) == kind
    assert await world.damage() == []


@pytest.mark.parametrize("state", ["creating", "purging"])
async def test_sweep_finishes_purges(world: Shared, state: str) -> None:
    """The sweep finishes a purge of release 1, and purges a creation that was interrupted."""
    await written(world, state, "alice")
    world.pass_lease()
    await world.sweep()

    assert (await world.rows(), world.acs.identities) == ({}, [])


@pytest.mark.parametrize("state", DELETED)
async def test_sweep_purges_at_the_date(world: Shared, state: str) -> None:
    """What release 1 has deleted is purged at its date; first comes the revocation, if missing."""
    await written(world, state, "alice")
    world.clock.advance(RETENTION)
    world.pass_lease()
    await world.sweep()
    await world.sweep()

    assert (await world.rows(), world.acs.identities) == ({}, [])


async def test_hold(world: Shared) -> None:
    """A held purge of release 1 moves to those that wait for their date, and is counted."""
    world.cleanup = CleanupPolicy(purge_hold=True)
    identity_id = await written(world, "deleted")
    world.clock.advance(RETENTION)
    world.pass_lease()
    report = await world.sweep()

    assert (report.purged, report.held) == (0, 1)
    assert await world.due_kinds(identity_id) == "p"
    assert await world.damage() == []


async def test_deleter_is_the_user(world: Shared) -> None:
    """Release 1 did not record who deleted an identity. Its user can restore it."""
    identity_id = await written(world, "deleted", "alice")
    restored = await world.lifecycle.restore_own(identity_id, "alice")

    assert restored.state is State.ACTIVE


async def test_suspension(world: Shared) -> None:
    """An identity of release 1 can be suspended and resumed."""
    identity_id = await written(world, "active", "alice")
    suspended = await world.lifecycle.suspend(identity_id, registered_only=True)
    resumed = await world.lifecycle.resume(identity_id)

    assert (suspended.state, resumed.state) == (State.SUSPENDED, State.ACTIVE)
    assert await world.damage() == []


async def test_repeated_delete(world: Shared) -> None:
    """A deletion that release 1 has begun is finished by the same call, with the same dates."""
    identity_id = await written(world, "unrevoked")
    begun = await world.columns(identity_id)
    await world.delete(identity_id)
    finished = await world.columns(identity_id)

    assert finished["scheduledPurgeOn"] == begun["scheduledPurgeOn"] == finished["due"]
    assert await world.due_kinds(identity_id) == "p"
    assert await world.damage() == []


async def test_order_of_deletions(world: Shared) -> None:
    """The list of deletions of both releases is in the order of the purges, page by page."""
    expected = [
        await world.release_1.deleted(),
        await world.deleted(),
        await world.release_1.deleted(),
        await world.deleted(),
    ]
    listed: list[str] = []
    query = ListDeletedIdentitiesQuery(max_page_size=1)
    for _ in expected:
        page = await list_deleted_identities(query, world.registry, world.cleanup)
        listed += [one.id for one in page.items]
        query = ListDeletedIdentitiesQuery(continuation=page.continuation or "", max_page_size=1)

    assert listed == expected
