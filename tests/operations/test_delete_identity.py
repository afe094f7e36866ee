"""delete_identity: the mark first, then the revocation, then the record that it was taken."""

import asyncio
from datetime import timedelta

import pytest

from identity_service.errors import (
    AcsUnavailable,
    IdentityBusy,
    IdentityNotFound,
    RegistryUnavailable,
)
from identity_service.model import DeletionPolicy
from identity_service.operations.delete_identity import Deletion
from identity_service.rows import LEASE, AgendaRow, IdentityRow, State
from tests.operations.virtual_time import START
from tests.operations.world import (
    ACS_IS_DOWN,
    CONFLICT,
    HOUR,
    RETENTION,
    SECOND,
    TABLE_IS_DOWN,
    UNKNOWN,
    World,
    refusal,
)


async def test_deletion_tells_its_dates(world: World) -> None:
    """Now, and when the retention is over."""
    identity_id = await world.active()

    deletion = await world.delete(identity_id)

    assert deletion == Deletion(
        id=identity_id, deleted_on=START, scheduled_purge_on=START + RETENTION
    )


async def test_deleted_row_is_revoked_and_due_at_its_purge(world: World) -> None:
    """It keeps whose it was and when it was made."""
    identity_id = await world.active("alice")

    await world.delete(identity_id)

    assert world.row(identity_id) == IdentityRow(
        id=identity_id,
        state=State.DELETED,
        user_id="alice",
        created_on=START,
        deleted_on=START,
        scheduled_purge_on=START + RETENTION,
        revoked=True,
        due=START + RETENTION,
    )


async def test_deletion_is_on_the_agenda_once(world: World) -> None:
    """At the moment of its purge; the entry for the revocation is gone."""
    identity_id = await world.active()

    await world.delete(identity_id)

    assert world.agenda() == [AgendaRow(START + RETENTION, identity_id)]


async def test_tokens_are_dead_once_delete_has_answered(world: World) -> None:
    """All that were issued."""
    created = await world.create_with_token()

    await world.delete(created.id)

    assert not world.acs.is_alive(created.token)


async def test_deletion_deletes_nothing_in_acs(world: World) -> None:
    """It can be undone."""
    identity_id = await world.active()

    await world.delete(identity_id)

    assert world.acs.identities == [identity_id]


async def test_deletion_keeps_the_claim_of_the_user(world: World) -> None:
    """It is the user's identity still, until it is purged."""
    identity_id = await world.active("alice")

    await world.delete(identity_id)

    assert world.claims() == {"alice": identity_id}


async def test_retention_of_zero_is_due_at_once(world: World) -> None:
    """At the next sweep."""
    world.deletion = DeletionPolicy(retention=timedelta(0))
    identity_id = await world.active()

    await world.delete(identity_id)

    assert world.agenda() == [AgendaRow(START, identity_id)]


async def test_mark_is_written_before_the_revocation(world: World) -> None:
    """With a lease: whoever dies between the two leaves something that the sweep finds."""
    identity_id = await world.unrevoked()

    assert world.row(identity_id) == IdentityRow(
        id=identity_id,
        state=State.DELETED,
        created_on=START,
        deleted_on=START,
        scheduled_purge_on=START + RETENTION,
        due=START + LEASE,
    )


async def test_unknown_mark_revokes_nothing(world: World) -> None:
    """Nothing is assumed: the caller deletes again."""
    created = await world.create_with_token()
    world.registry.fails("update", TABLE_IS_DOWN)

    assert await refusal(world.delete(created.id)) is RegistryUnavailable

    assert world.acs.revocations == []


@pytest.mark.parametrize("happens", ["fails", "loses"])
async def test_unanswered_revocation_is_not_taken_for_one(world: World, happens: str) -> None:
    """503, and the row says that it is still to be revoked."""
    identity_id = await world.active()
    getattr(world.acs, happens)("revoke_tokens", ACS_IS_DOWN)

    assert await refusal(world.delete(identity_id)) is AcsUnavailable

    assert not world.row(identity_id).revoked


@pytest.mark.parametrize("happens", ["fails", "loses"])
async def test_unknown_record_is_told(world: World, happens: str) -> None:
    """202 only when the revocation is recorded."""
    identity_id = await world.active()
    world.registry.passes("update")
    getattr(world.registry, happens)("update", TABLE_IS_DOWN)

    assert await refusal(world.delete(identity_id)) is RegistryUnavailable


async def test_unreadable_row_is_told(world: World) -> None:
    """Nothing is written without it."""
    identity_id = await world.active()
    world.registry.fails("read", TABLE_IS_DOWN)

    assert await refusal(world.delete(identity_id)) is RegistryUnavailable

    assert world.row(identity_id).state is State.ACTIVE


async def test_deleting_again_gives_the_same_dates(world: World) -> None:
    """It never starts a second deletion."""
    identity_id = await world.active()
    first = await world.delete(identity_id)
    world.clock.forward(HOUR)

    again = await world.delete(identity_id)

    assert again == first


async def test_deleting_again_is_one_read(world: World) -> None:
    """What is deleted and revoked is left as it is."""
    identity_id = await world.deleted()
    before = len(world.acs.calls), len(world.registry.calls)

    await world.delete(identity_id)

    assert (world.acs.calls[before[0] :], world.registry.calls[before[1] :]) == ([], ["read"])


async def test_deleting_again_finishes_the_revocation(world: World) -> None:
    """ACS did not answer the first time: 202 only once it has."""
    created = await world.create_with_token()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    await refusal(world.delete(created.id))
    world.clock.forward(HOUR)

    deletion = await world.delete(created.id)

    assert deletion.deleted_on == START
    assert not world.acs.is_alive(created.token)
    assert world.row(created.id).revoked


async def test_deleting_again_while_acs_is_still_down_is_refused_again(world: World) -> None:
    """However often."""
    identity_id = await world.unrevoked()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)

    assert await refusal(world.delete(identity_id)) is AcsUnavailable


async def test_two_deletions_at_once_are_one(world: World) -> None:
    """Both answer with the dates of the one that came first."""
    identity_id = await world.active()

    async def later() -> Deletion:
        await world.clock.sleep(0.5)
        return await world.delete(identity_id)

    world.acs.meets("revoke_tokens", lambda: world.clock.sleep(1))

    first, second = await asyncio.gather(world.delete(identity_id), later())

    assert first == second


async def test_many_deletions_at_once_all_answer(world: World) -> None:
    """None of them gives up, and one deletion is on the agenda."""
    identity_id = await world.active()

    deletions = await asyncio.gather(*(world.delete(identity_id) for _ in range(4)))

    assert len({deletion.deleted_on for deletion in deletions}) == 1
    assert world.agenda() == [AgendaRow(START + RETENTION, identity_id)]


@pytest.mark.parametrize("state", [State.CREATING, State.PURGING])
async def test_identity_that_is_not_there_for_callers_is_not_found(
    world: World, state: State
) -> None:
    """Not yet, or no more."""
    identity_id = await (world.creating() if state is State.CREATING else world.purging())

    assert await refusal(world.delete(identity_id)) is IdentityNotFound

    assert world.row(identity_id).state is state


async def test_purged_identity_is_not_found(world: World) -> None:
    """ACS does not know it either."""
    identity_id = await world.deleted()
    await world.purge(identity_id)

    assert await refusal(world.delete(identity_id)) is IdentityNotFound

    assert world.is_gone(identity_id)


async def test_identity_made_elsewhere_can_be_deleted(world: World) -> None:
    """Its row is born in the deletion."""
    identity_id = world.acs.add()

    await world.delete(identity_id)

    assert world.row(identity_id) == IdentityRow(
        id=identity_id,
        state=State.DELETED,
        adopted=True,
        deleted_on=START,
        scheduled_purge_on=START + RETENTION,
        revoked=True,
        due=START + RETENTION,
    )


async def test_unknown_identity_is_not_found_and_leaves_no_row(world: World) -> None:
    """ACS does not know it: the adopted row goes out again, off the agenda too."""
    assert await refusal(world.delete(UNKNOWN)) is IdentityNotFound

    assert world.is_gone(UNKNOWN)


async def test_unknown_identity_whose_row_cannot_be_taken_out_is_told(world: World) -> None:
    """The row stays on the agenda, and the sweep takes it out."""
    world.registry.fails("remove", TABLE_IS_DOWN)

    assert await refusal(world.delete(UNKNOWN)) is RegistryUnavailable

    assert world.agenda() == [AgendaRow(START + LEASE, UNKNOWN)]


async def test_deleting_a_phantom_again_finds_that_there_is_none(world: World) -> None:
    """The first time ACS did not answer."""
    await world.phantom()

    assert await refusal(world.delete(UNKNOWN)) is IdentityNotFound

    assert world.is_gone(UNKNOWN)


async def test_phantom_whose_row_has_changed_is_decided_anew(world: World) -> None:
    """The row is read again before it goes."""
    world.registry.meets("remove", world.overtake(UNKNOWN, attempts=1))

    assert await refusal(world.delete(UNKNOWN)) is IdentityNotFound

    assert world.is_gone(UNKNOWN)


async def test_own_identity_that_acs_does_not_know_is_deleted_all_the_same(world: World) -> None:
    """What does not exist has no tokens."""
    identity_id = await world.active()
    world.acs.identities.remove(identity_id)

    deletion = await world.delete(identity_id)

    assert deletion.id == identity_id
    assert world.row(identity_id).revoked


async def test_adopted_by_another_deletion_first_is_decided_anew(world: World) -> None:
    """Two deletions of an identity made elsewhere, at once."""
    identity_id = world.acs.add()
    world.registry.meets("insert", lambda: world.delete(identity_id))

    deletion = await world.delete(identity_id)

    assert deletion.deleted_on == START
    assert len(world.acs.revocations) == 1


async def test_mark_on_a_row_that_has_changed_is_decided_anew(world: World) -> None:
    """The row is read again, and marked as it is now."""
    identity_id = await world.active()
    world.registry.meets("update", world.overtake(identity_id, last_error="a change"))

    await world.delete(identity_id)

    assert world.row(identity_id).revoked


async def test_mark_on_a_row_that_was_purged_meanwhile_finds_none(world: World) -> None:
    """Deleted and purged by others between the read and the mark."""
    identity_id = await world.active()

    async def delete_and_purge() -> None:
        await world.delete(identity_id)
        await world.purge(identity_id)

    world.registry.meets("update", delete_and_purge)

    assert await refusal(world.delete(identity_id)) is IdentityNotFound


async def test_deletion_gives_up_after_four_rounds(world: World) -> None:
    """The row changes before each attempt: the caller deletes again."""
    identity_id = await world.active()
    world.registry.fails("update", CONFLICT, times=4)
    before = len(world.registry.calls)

    assert await refusal(world.delete(identity_id)) is IdentityBusy

    assert world.registry.calls[before:].count("update") == 4


async def test_record_that_another_deletion_has_made_is_as_good(world: World) -> None:
    """Both revoked; one of them wrote it down."""
    identity_id = await world.active()
    world.registry.passes("update")
    world.registry.meets("update", lambda: world.delete(identity_id))

    deletion = await world.delete(identity_id)

    assert deletion.deleted_on == START
    assert len(world.acs.revocations) == 2


async def test_record_on_a_row_that_has_changed_revokes_anew(world: World) -> None:
    """The same deletion, not revoked: yes is never just written."""
    identity_id = await world.active()
    world.registry.passes("update")
    world.registry.meets("update", world.overtake(identity_id, attempts=1))

    await world.delete(identity_id)

    assert len(world.acs.revocations) == 2
    assert world.row(identity_id).revoked


async def test_token_of_a_life_between_two_deletions_is_dead(world: World) -> None:
    """Restored, issued and marked anew in the same moment: yes is never just written."""
    identity_id = await world.active()
    tokens = []

    async def live_again() -> None:
        await world.restore(identity_id)
        tokens.append((await world.issue(identity_id)).token)
        world.acs.fails("revoke_tokens", ACS_IS_DOWN)
        await refusal(world.delete(identity_id))

    world.registry.passes("update")
    world.registry.meets("update", live_again)

    await world.delete(identity_id)

    assert [world.acs.is_alive(token) for token in tokens] == [False]


async def test_identity_restored_before_the_record_stays_restored(world: World) -> None:
    """The deletion was answered for, and undone: its own dates are told."""
    identity_id = await world.active()
    world.registry.passes("update")
    world.registry.meets("update", lambda: world.restore(identity_id))

    deletion = await world.delete(identity_id)

    assert deletion.deleted_on == START
    assert world.row(identity_id).state is State.ACTIVE


async def test_identity_deleted_anew_before_the_record_is_left_to_that(world: World) -> None:
    """The other deletion's row is not this one's to write."""
    identity_id = await world.active()

    async def restore_and_delete() -> None:
        await world.restore(identity_id)
        world.clock.forward(SECOND)
        world.acs.fails("revoke_tokens", ACS_IS_DOWN)
        await refusal(world.delete(identity_id))

    world.registry.passes("update")
    world.registry.meets("update", restore_and_delete)

    deletion = await world.delete(identity_id)

    assert deletion.deleted_on == START
    assert world.row(identity_id).deleted_on == START + SECOND
    assert not world.row(identity_id).revoked


async def test_identity_purged_before_the_record_was_deleted(world: World) -> None:
    """Nothing is left to be recorded: its own dates are told."""
    identity_id = await world.active()
    world.registry.passes("update")
    world.registry.meets("update", lambda: world.purge(identity_id))

    deletion = await world.delete(identity_id)

    assert deletion.deleted_on == START
    assert world.is_gone(identity_id)


async def test_identity_being_purged_before_the_record_is_not_found(world: World) -> None:
    """The same deletion, on its way out: as if it were asked for now."""
    identity_id = await world.active()
    world.registry.passes("update")
    world.registry.meets("update", world.overtake(identity_id, state=State.PURGING))

    assert await refusal(world.delete(identity_id)) is IdentityNotFound


async def test_restored_identity_can_be_deleted_anew(world: World) -> None:
    """A deletion of its own, with dates of its own, and a revocation of its own."""
    identity_id = await world.deleted()
    await world.restore(identity_id)
    issued = await world.issue(identity_id)
    world.clock.forward(HOUR)

    deletion = await world.delete(identity_id)

    assert deletion.deleted_on == START + HOUR
    assert not world.acs.is_alive(issued.token)


async def test_unregistered_identity_is_not_adopted_where_only_registered_ones_count(
    world: World,
) -> None:
    """It is not this service's to delete."""
    world.registered_only = True

    assert await refusal(world.delete(world.acs.add())) is IdentityNotFound
