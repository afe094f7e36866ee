"""Release 1 on a table that this release has written. docs/operate.md warns of these facts."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from identity_service.azure.registries import TableAccessRegistry
from identity_service.identity import Identity, State
from identity_service.teams_access import Access, Assignment
from tests.support.world import ACS_IS_DOWN, RETENTION, SECOND
from tests.upgrade.world import Shared

CHAT = {"scopes": ["chat"]}
ALICE = {"userId": "alice"}


async def test_deleted_identity_cannot_be_changed(world: Shared) -> None:
    """Release 1 neither restores nor purges what waits for its purge date, and changes nothing."""
    identity_id = await world.deleted("alice")
    before = await world.rows()
    problems = [
        await world.release_1.problem("restore_identity", identity_id),
        await world.release_1.problem("purge_identity", identity_id),
    ]

    assert problems == ["identity_busy", "identity_busy"]
    assert await world.rows() == before
    assert world.acs.identities == [identity_id]


async def test_deleted_identity_stays_deleted(world: Shared) -> None:
    """Release 1 refuses tokens, and repeats the deletion with the same dates."""
    identity_id = await world.deleted("alice")
    before = await world.columns(identity_id)
    repeated = await world.release_1.call("delete_identity", identity_id)
    problems = [
        await world.release_1.problem("issue_token", identity_id, body=CHAT),
        await world.release_1.problem("create_identity", body=ALICE),
    ]

    assert repeated["scheduledPurgeOn"] == before["scheduledPurgeOn"]
    assert problems == ["identity_deleted", "identity_deleted"]


async def test_deleted_identity_is_not_listed_or_purged(world: Shared) -> None:
    """Release 1 does not see what waits for its purge date. This release goes on with it."""
    identity_id = await world.deleted("alice")
    listed = await world.release_1.call("list_deleted_identities", query={})
    got = await world.release_1.call("get_deleted_identity", identity_id)
    world.clock.advance(RETENTION)
    world.pass_lease()
    swept = await world.release_1.sweep()

    assert (listed["value"], got["id"], swept["due"]) == ([], identity_id, 0)
    assert (await world.sweep()).purged == 1
    assert (await world.rows(), world.acs.identities) == ({}, [])


@pytest.mark.parametrize("finish", ["sweep", "purge"])
async def test_purge_at_the_date(world: Shared, finish: str) -> None:
    """At the purge date, release 1 purges in ACS but cannot remove the row. This release does.

    It has erased the kind of the due entry from the row.
    """
    identity_id = await world.deleted("alice")
    world.clock.advance(RETENTION)
    world.pass_lease()
    problem = await world.release_1.problem("purge_identity", identity_id)
    left = await world.columns(identity_id)
    await (world.sweep() if finish == "sweep" else world.purge(identity_id))

    assert (problem, left["state"], "dueKind" in left) == ("identity_busy", "purging", False)
    assert (await world.rows(), world.acs.identities) == ({}, [])


async def test_failed_purge_at_the_date(world: Shared) -> None:
    """If ACS fails for it, the sweep of this release finds the due entry and postpones it."""
    identity_id = await world.deleted("alice")
    world.clock.advance(SECOND)
    await world.deleted("bob")
    world.clock.advance(RETENTION)
    world.pass_lease()
    world.acs.fails("delete", ACS_IS_DOWN, times=2)
    problem = await world.release_1.problem("purge_identity", identity_id)
    await world.sweep()

    assert problem == ACS_IS_DOWN.code
    assert (await world.columns(identity_id))["attempts"] == 1
    assert await world.due_kinds(identity_id) == "t"
    assert await world.damage() == []


async def test_known_on_is_erased(world: Shared) -> None:
    """A write of release 1 removes the date of the registration."""
    identity_id = world.acs.add()
    await world.register(identity_id)
    await world.release_1.call("delete_identity", identity_id)
    columns = await world.columns(identity_id)

    assert columns["state"] == "deleted"
    assert "knownOn" not in columns


async def test_registered_identity(world: Shared) -> None:
    """Release 1 serves a registered identity like its own, for its user too."""
    identity_id = world.acs.add()
    await world.register(identity_id, "alice")
    listed = await world.release_1.call("list_identities", query={})
    created = await world.release_1.call("create_identity", body=ALICE)
    await world.release_1.call("delete_identity", identity_id)
    await world.release_1.call("restore_identity", identity_id)

    assert [one["id"] for one in listed["value"]] == [created["id"]] == [identity_id]
    assert await world.damage() == []


@pytest.mark.parametrize("in_state", [Shared.registering, Shared.suspended])
async def test_row_is_not_readable(
    world: Shared, in_state: Callable[[Shared, str], Awaitable[str]]
) -> None:
    """Release 1 answers 500 for an identity that is being registered or is suspended.

    It changes nothing.
    """
    identity_id = await in_state(world, "alice")
    before = await world.rows()
    operations = [
        "get_identity",
        "delete_identity",
        "get_deleted_identity",
        "restore_identity",
        "purge_identity",
    ]
    problems = {await world.release_1.problem(name, identity_id) for name in operations}
    problems |= {
        await world.release_1.problem("issue_token", identity_id, body=CHAT),
        await world.release_1.problem("create_identity", body=ALICE),
        await world.release_1.problem("list_identities", query=ALICE),
        await world.release_1.problem("list_deleted_identities", query=ALICE),
    }

    assert problems == {"internal_error"}
    assert await world.rows() == before
    assert world.acs.identities == [identity_id]


async def test_registering_row_blocks_a_list(world: Shared) -> None:
    """Release 1 answers 500 for the list of deleted identities during a registration."""
    await world.registering("alice")

    assert await world.release_1.problem("list_deleted_identities", query={}) == "internal_error"


async def test_suspended_row_does_not_block_a_list(world: Shared) -> None:
    """Release 1 leaves a suspended identity out of the list of deleted ones."""
    await world.suspended("alice")
    other = await world.release_1.deleted()
    listed = await world.release_1.call("list_deleted_identities", query={})

    assert [one["id"] for one in listed["value"]] == [other]


@pytest.mark.parametrize("operation", ["delete_identity", "restore_me"])
async def test_deleter_and_suspension_are_erased(world: Shared, operation: str) -> None:
    """If a deletion is not revoked, a write of release 1 erases who made it and the suspension.

    The user gets the identity back, and it is active.
    """
    identity_id = await world.suspended("alice")
    await world.delete_unrevoked(identity_id)
    marks = {"deletedBy", "suspendedOn"}
    before = marks & (await world.columns(identity_id)).keys()
    await world.release_1.call(operation, identity_id, caller={"user_id": "alice"})
    after = marks & (await world.columns(identity_id)).keys()
    restored = await world.lifecycle.restore_own(identity_id, "alice")

    assert (before, after) == (marks, set())
    assert restored.state is State.ACTIVE


async def registrations(world: Shared, number: int) -> list[str]:
    """The ids of identities whose registration stopped after its first write."""
    ids = [world.acs.add() for _ in range(number)]
    rows = [Identity.register(each, None, world.clock.now()) for each in ids]
    await asyncio.gather(*map(world.registry.insert, rows))
    return ids


@pytest.mark.parametrize(("registering", "purged"), [(47, 1), (48, 0)])
async def test_sweep_stops_at_registering_rows(
    world: Shared, registering: int, purged: int
) -> None:
    """48 of them stop the sweep of release 1 and hide all later work, but stay as they are."""
    ids = await registrations(world, registering)
    later = await world.creating()
    world.pass_lease()
    swept = await world.release_1.sweep()

    assert (swept["due"], swept["purged"]) == (registering + 1, purged)
    assert set(ids) <= set(world.acs.identities)
    assert (later in world.acs.identities) == (not purged)


async def test_teams_access_stays(world: Shared) -> None:
    """Release 1 does not see it, also when it is due, and changes nothing."""
    access = Access.absent(str(uuid4()), str(uuid4()))
    row = access.assign(Assignment("user", (str(uuid4()),)), None, world.clock.now())
    await TableAccessRegistry(world.table).insert(row, not_after=datetime.max.replace(tzinfo=UTC))
    before = await world.rows()
    world.clock.advance(RETENTION)
    world.pass_lease()
    swept = await world.release_1.sweep()
    listed = await world.release_1.call("list_identities", query={})

    assert (swept["due"], listed["value"]) == (0, [])
    assert await world.rows() == before


async def test_upgrade_after_a_roll_back(world: Shared) -> None:
    """After the next upgrade, the sweep rolls back the registrations and does the later work."""
    ids = await registrations(world, 48)
    await world.creating()
    world.pass_lease()
    await world.release_1.sweep()
    await world.sweep()

    assert await world.rows() == {}
    assert world.acs.identities == ids


async def test_user_row_is_trusted(world: Shared) -> None:
    """Release 1 returns the identity that a user row names, also if it belongs to another user."""
    of_bob = await world.active("bob")
    await world.registry.insert_user("alice", of_bob)
    theirs = await world.release_1.call("create_identity", body=ALICE)

    assert theirs["id"] == of_bob
    assert (await world.create("alice")).id != of_bob


async def test_hold_is_not_known(world: Shared) -> None:
    """Release 1 purges at the date what it has deleted itself, in spite of PURGE_HOLD."""
    await world.release_1.deleted()
    world.clock.advance(RETENTION)
    world.pass_lease()

    assert (await world.release_1.sweep())["purged"] == 1
