"""delete_identity: writes the mark, revokes the tokens, and records the revocation."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from identity_service.errors import (
    IdentityNotFound,
    IdentityNotKnownYet,
    RegistryUnavailable,
    WrongResource,
)
from identity_service.identity import LEASE, Actor, DueEntry, DueKind, Identity, State
from identity_service.schemas import DeletionResponse
from tests.support.memory import FOREIGN, UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import ALICE, HOUR, RETENTION, SECOND, TABLE_IS_DOWN, World, refusal


def before_the_record(world: World, act: Callable[[], Awaitable[object]]) -> None:
    """Another caller acts after the mark and the revocation, just before these are recorded."""
    world.registry.passes("update")
    world.registry.precede("update", act)


# The deletion


async def test_deleted_identity(world: World) -> None:
    """A deleted identity keeps its user, is revoked, and is due once, after its retention."""
    identity_id = await world.active("alice")
    deletion = await world.delete(identity_id)

    assert deletion == DeletionResponse(
        id=identity_id,
        deleted_on=START,
        scheduled_purge_on=START + RETENTION,
        deleted_by=Actor.SERVICE,
    )
    active = Identity.create(identity_id, "alice", START).finish_creation()
    assert (
        world.row(identity_id) == active.delete(START, RETENTION, Actor.SERVICE).record_revocation()
    )
    assert world.due_entries() == [DueEntry(START + RETENTION, identity_id, DueKind.PURGE)]
    assert world.user_rows() == {"alice": identity_id}


async def test_tokens_are_revoked(world: World) -> None:
    """All tokens issued before the deletion are revoked. The identity stays in ACS."""
    created = await world.create_with_token()
    second = await world.issue(created.id)
    await world.delete(created.id)

    assert not any(map(world.acs.is_valid, [created.token, second.token]))
    assert world.acs.identities == [created.id]


# Failures


# Repeated and concurrent calls


async def test_repeated_call(world: World) -> None:
    """Repeating the call returns the same dates."""
    identity_id = await world.active()
    first = await world.delete(identity_id)
    world.clock.advance(HOUR)

    assert await world.delete(identity_id) == first


async def test_repeated_call_finishes_the_revocation(world: World) -> None:
    """Calls fail as long as ACS fails. Then one revokes the tokens and returns the first dates."""
    created = await world.create_with_token()
    for _ in range(2):
        await world.delete_unrevoked(created.id)
        world.clock.advance(HOUR)

    deletion = await world.delete(created.id)

    assert (deletion.deleted_on, world.row(created.id).revoked) == (START, True)
    assert not world.acs.is_valid(created.token)


async def test_concurrent_calls(world: World) -> None:
    """Concurrent calls all succeed, make one deletion and return the dates of the first one."""
    identity_id = await world.active()

    async def call(delay: float) -> DeletionResponse:
        await world.clock.sleep(delay)
        return await world.delete(identity_id)

    world.acs.precede("revoke_tokens", lambda: world.clock.sleep(1), times=4)
    deletions = await asyncio.gather(*map(call, [0, 0, 0.5, 0.5]))

    assert {deletion.deleted_on for deletion in deletions} == {START}
    assert world.due_entries() == [DueEntry(START + RETENTION, identity_id, DueKind.PURGE)]


# Identities that this service has not created


async def test_identity_created_elsewhere(world: World) -> None:
    """The deletion of an identity that was created elsewhere writes its first row."""
    identity_id = world.acs.add()
    await world.delete(identity_id)

    adopted = Identity.adopt(identity_id, START).delete(START, RETENTION, Actor.SERVICE)
    assert world.row(identity_id) == adopted.record_revocation()


async def test_unknown_identity(world: World) -> None:
    """An identity that ACS does not know is not found, and its new row is removed."""
    assert await refusal(world.delete(UNKNOWN)) is IdentityNotFound

    assert world.is_gone(UNKNOWN)


@pytest.mark.parametrize("call", [World.delete, World.restore])
async def test_unknown_identity_that_was_deleted_while_acs_failed(
    world: World, call: Callable[[World, str], Awaitable[object]]
) -> None:
    """The next call learns from ACS that the identity never existed, and removes its row."""
    identity_id = await world.adopted_unknown()

    assert await refusal(call(world, identity_id)) is IdentityNotFound

    assert world.is_gone(identity_id)


async def test_unknown_identity_whose_row_stays(world: World) -> None:
    """If the row of an unknown identity cannot be removed, it stays due for the sweep."""
    world.registry.fails("remove", TABLE_IS_DOWN)

    assert await refusal(world.delete(UNKNOWN)) is RegistryUnavailable

    assert world.due_entries() == [DueEntry(START + LEASE, UNKNOWN)]


async def test_unknown_identity_whose_row_changes(world: World) -> None:
    """If the row of an unknown identity changes before it is removed, it is read again."""
    world.registry.precede("remove", world.change(UNKNOWN, attempts=1))

    assert await refusal(world.delete(UNKNOWN)) is IdentityNotFound

    assert world.is_gone(UNKNOWN)


async def test_own_identity_that_acs_does_not_know(world: World) -> None:
    """An identity of this service that ACS does not know has no tokens, after its first hour."""
    identity_id = await world.active()
    world.acs.identities.remove(identity_id)
    world.clock.advance(HOUR)
    deletion = await world.delete(identity_id)

    assert (deletion.id, world.row(identity_id).revoked) == (identity_id, True)


async def test_young_identity_that_acs_does_not_know_yet(world: World) -> None:
    """In its first hour the call fails, and the identity stays due. The sweep revokes it later."""
    created = await world.create_with_token()
    world.acs.identities.remove(created.id)

    assert await refusal(world.delete(created.id)) is IdentityNotKnownYet

    world.pass_lease()
    deferred = await world.sweep()
    world.acs.identities.append(created.id)
    revoked = await world.sweep()
    assert (deferred.deferred, revoked.revoked) == (1, 1)
    assert not world.acs.is_valid(created.token)


async def test_identity_of_another_resource(world: World) -> None:
    """A registered identity stays marked. An unknown one is not found, and has no row."""
    assert await refusal(world.delete(FOREIGN)) is IdentityNotFound
    assert world.is_gone(FOREIGN)

    await world.registry.insert(Identity(id=FOREIGN, state=State.ACTIVE))

    assert await refusal(world.delete(FOREIGN)) is WrongResource
    assert (world.row(FOREIGN).state, world.row(FOREIGN).revoked) == (State.DELETED, False)


# Who deletes


async def test_deletion_of_a_user_is_taken_over(world: World) -> None:
    """A service that repeats a user's deletion makes it its own. The dates stay."""
    await world.active(ALICE.user_id)
    first = await world.delete_me()
    world.clock.advance(HOUR)
    second = await world.delete(first.id)

    assert (first.deleted_by, second.deleted_by) == (Actor.USER, Actor.SERVICE)
    assert second.scheduled_purge_on == first.scheduled_purge_on
    assert world.due_entries() == [DueEntry(START + RETENTION, first.id, DueKind.PURGE)]


async def test_suspended_identity(world: World) -> None:
    """A deletion keeps the date of the suspension."""
    identity_id = await world.suspended()
    world.clock.advance(HOUR)
    await world.delete(identity_id)

    row = world.row(identity_id)
    assert (row.state, row.suspended_on, row.deleted_on) == (State.DELETED, START, START + HOUR)


async def test_adopted_identity_whose_suspension_failed(world: World) -> None:
    """If ACS does not know it, a deletion removes its row, too."""
    await world.suspend_unrevoked(UNKNOWN)

    assert await refusal(world.delete(UNKNOWN)) is IdentityNotFound

    assert world.is_gone(UNKNOWN)


# Other calls change the row


async def test_token_between_two_deletions(world: World) -> None:
    """A token issued between a restore and a second deletion at the same time is revoked."""
    identity_id = await world.active()
    tokens = []

    async def restore_issue_delete() -> None:
        await world.restore(identity_id)
        tokens.append((await world.issue(identity_id)).token)
        await world.delete_unrevoked(identity_id)

    before_the_record(world, restore_issue_delete)
    await world.delete(identity_id)

    assert [world.acs.is_valid(token) for token in tokens] == [False]


async def test_deleted_again_before_the_record(world: World) -> None:
    """If the identity is restored and deleted again, that deletion is not recorded as revoked."""
    identity_id = await world.active()

    async def restore_and_delete() -> None:
        await world.restore(identity_id)
        world.clock.advance(SECOND)
        await world.delete_unrevoked(identity_id)

    before_the_record(world, restore_and_delete)
    deletion = await world.delete(identity_id)
    row = world.row(identity_id)
    assert (deletion.deleted_on, row.deleted_on) == (START, START + SECOND)
    assert not row.revoked
