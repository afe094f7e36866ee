"""create_identity: recorded at once, active at last, and one for each user."""

import asyncio

import pytest

from identity_service.errors import (
    AcsUnavailable,
    IdentityBusy,
    IdentityDeleted,
    RegistryUnavailable,
)
from identity_service.operations.create_identity import IdentityCreated, IdentityFound
from identity_service.rows import LEASE, IdentityRow, State
from tests.operations.virtual_time import START
from tests.operations.world import (
    ACS_IS_DOWN,
    CONFLICT,
    HOUR,
    TABLE_IS_DOWN,
    UNKNOWN,
    World,
    refusal,
)


async def test_new_identity_is_created(world: World) -> None:
    """The answer names the one identity that ACS has now."""
    created = await world.create()

    assert (type(created), [created.id]) == (IdentityCreated, world.acs.identities)


async def test_new_identity_is_active(world: World) -> None:
    """Its row tells when it was made, and that nothing is due."""
    created = await world.create()

    assert world.row(created.id) == IdentityRow(id=created.id, state=State.ACTIVE, created_on=START)


async def test_new_identity_leaves_nothing_on_the_agenda(world: World) -> None:
    """A finished creation is none of the sweep's business."""
    await world.create()

    assert world.agenda() == []


async def test_identity_without_a_user_claims_nobody(world: World) -> None:
    """Anonymous identities have no user row."""
    await world.create()

    assert world.claims() == {}


async def test_creation_is_recorded_and_on_the_agenda_before_it_is_active(world: World) -> None:
    """Whoever dies between the two leaves something that the sweep finds."""
    identity_id = await world.creating()

    assert world.row(identity_id) == IdentityRow(
        id=identity_id, state=State.CREATING, created_on=START, due=START + LEASE
    )


async def test_acs_is_asked_before_anything_is_written(world: World) -> None:
    """An identity that ACS did not make has no row."""
    world.acs.fails("create", ACS_IS_DOWN)

    assert await refusal(world.create()) is AcsUnavailable

    assert world.registry.calls == []


async def test_creating_in_acs_is_never_repeated(world: World) -> None:
    """Each attempt makes another identity."""
    world.acs.loses("create", ACS_IS_DOWN)

    assert await refusal(world.create()) is AcsUnavailable

    assert world.acs.calls == ["create"]


@pytest.mark.parametrize("fault", [CONFLICT, TABLE_IS_DOWN], ids=["refused", "unknown"])
async def test_identity_that_could_not_be_recorded_is_given_back(
    world: World, fault: Exception
) -> None:
    """Nobody would ever find it again in ACS."""
    world.registry.fails("insert", fault)

    assert await refusal(world.create()) is RegistryUnavailable

    assert world.acs.identities == []


async def test_identity_recorded_without_an_answer_is_given_back(world: World) -> None:
    """The row may be there: it stays, for the sweep to find."""
    world.registry.loses("insert", TABLE_IS_DOWN)

    assert await refusal(world.create()) is RegistryUnavailable

    assert world.acs.identities == []
    assert [row.state for row in world.registry.rows.values()] == [State.CREATING]


async def test_row_of_an_identity_given_back_is_purged_by_the_sweep(world: World) -> None:
    """Overdue, and unknown to ACS: once it is old enough to be believed, it goes."""
    world.registry.loses("insert", TABLE_IS_DOWN)
    await refusal(world.create())
    world.clock.forward(HOUR)

    report = await world.sweep()

    assert (report.purged, world.registry.rows, world.agenda()) == (1, {}, [])


async def test_identity_that_can_neither_be_recorded_nor_given_back_is_logged(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Two faults: its id is all that is left, for an operator to delete it."""
    world.registry.fails("insert", TABLE_IS_DOWN)
    world.acs.fails("delete", ACS_IS_DOWN)

    assert await refusal(world.create()) is RegistryUnavailable

    [lost] = world.acs.identities
    assert f"identity_lost identity_id={lost}" in caplog.text


async def test_unknown_activation_is_neither_assumed_nor_undone(world: World) -> None:
    """The caller is told to ask again; the identity stays, on the agenda."""
    world.registry.fails("update", TABLE_IS_DOWN)

    assert await refusal(world.create("alice")) is RegistryUnavailable

    [identity_id] = world.acs.identities
    assert world.row(identity_id).state is State.CREATING
    assert world.claims() == {"alice": identity_id}


async def test_activation_whose_answer_was_lost_is_not_undone(world: World) -> None:
    """The identity is active, and nobody but the caller was in doubt."""
    world.registry.loses("update", TABLE_IS_DOWN)

    assert await refusal(world.create("alice")) is RegistryUnavailable

    assert await world.create("alice") == IdentityFound(id=world.acs.identities[0])


async def test_creation_that_somebody_helped_succeeds(world: World) -> None:
    """Another call for the same user was faster with the last step."""
    world.registry.meets("update", lambda: world.create("alice"))

    created = await world.create("alice")

    assert (type(created), [created.id]) == (IdentityCreated, world.acs.identities)


async def test_identity_deleted_while_it_is_made_is_a_conflict(world: World) -> None:
    """Helped and deleted, before its creator came to the last step."""

    async def help_and_delete() -> None:
        found = await world.create("alice")
        await world.delete(found.id)

    world.registry.meets("update", help_and_delete)

    assert await refusal(world.create("alice")) is IdentityDeleted


async def test_identity_purged_while_it_is_made_is_busy(world: World) -> None:
    """The sweep took its creator for dead."""

    async def purge() -> None:
        world.pass_lease()
        await world.sweep()

    world.registry.meets("update", purge)

    assert await refusal(world.create("alice")) is IdentityBusy


async def test_creator_of_a_purged_identity_releases_its_user(world: World) -> None:
    """A claim written after the purge would dangle."""

    async def purge() -> None:
        world.pass_lease()
        await world.sweep()

    world.registry.meets("insert_user", purge)

    await refusal(world.create("alice"))

    assert world.claims() == {}


async def test_creator_of_a_half_purged_identity_releases_its_user(world: World) -> None:
    """The same when the purge is still under way."""

    async def claim_purge() -> None:
        world.registry.overtake(world.acs.identities[0], state=State.PURGING)

    world.registry.meets("insert_user", claim_purge)

    assert await refusal(world.create("alice")) is IdentityBusy

    assert world.claims() == {}


async def test_creator_of_a_purged_identity_leaves_the_next_claim_alone(world: World) -> None:
    """Meanwhile the user has another identity."""

    async def purge_and_create_another() -> None:
        world.pass_lease()
        await world.sweep()
        await world.create("alice")

    world.registry.meets("update", purge_and_create_another)

    await refusal(world.create("alice"))

    assert list(world.claims().values()) == world.acs.identities


async def test_creator_of_a_purged_identity_is_busy_when_the_claim_is_replaced(
    world: World,
) -> None:
    """Another creator replaces the dangling claim just as it is to be taken away."""

    async def purge() -> None:
        world.pass_lease()
        await world.sweep()

    world.registry.meets("insert_user", purge)
    world.registry.meets("remove_user", lambda: world.create("alice"))

    assert await refusal(world.create("alice")) is IdentityBusy


async def test_user_is_claimed_for_the_new_identity(world: World) -> None:
    """Both rows name each other."""
    created = await world.create("alice")

    assert world.claims() == {"alice": created.id}
    assert world.row(created.id).user_id == "alice"


async def test_claim_comes_after_the_record_and_before_the_activation(world: World) -> None:
    """No claim names an identity without a row, no active identity of a user is unclaimed."""
    await world.create("alice")

    assert world.registry.calls == ["read_user", "insert", "insert_user", "update"]


async def test_user_who_has_an_identity_gets_the_same_one(world: World) -> None:
    """Asked again, it is found: ACS is not even asked."""
    created = await world.create("alice")

    found = await world.create("alice")

    assert found == IdentityFound(id=created.id)
    assert world.acs.calls == ["create"]


async def test_two_users_have_two_identities(world: World) -> None:
    """Each their own."""
    alice = await world.create("alice")
    bob = await world.create("bob")

    assert alice.id != bob.id


async def test_fifty_at_once_get_one_identity(world: World) -> None:
    """Everybody may create, the user row decides, losers are purged."""
    answers = await asyncio.gather(*(world.create("alice") for _ in range(50)))

    [kept] = world.acs.identities
    assert {answer.id for answer in answers} == {kept}


async def test_of_fifty_at_once_one_is_told_that_it_is_new(world: World) -> None:
    """One 201, and 200 for all others."""
    answers = await asyncio.gather(*(world.create("alice") for _ in range(50)))

    assert sum(isinstance(answer, IdentityCreated) for answer in answers) == 1


async def test_fifty_at_once_leave_one_row(world: World) -> None:
    """Losers leave nothing behind, nor on the agenda."""
    await asyncio.gather(*(world.create("alice") for _ in range(50)))

    assert list(world.registry.rows) == world.acs.identities
    assert world.agenda() == []


async def test_unreadable_claim_creates_nothing(world: World) -> None:
    """Who does not know whether the user has an identity makes none."""
    world.registry.fails("read_user", TABLE_IS_DOWN)

    assert await refusal(world.create("alice")) is RegistryUnavailable

    assert world.acs.identities == []


@pytest.mark.parametrize("happens", ["fails", "loses"])
async def test_unknown_claim_is_neither_assumed_nor_undone(world: World, happens: str) -> None:
    """The identity stays in creation, on the agenda; nothing is deleted."""
    getattr(world.registry, happens)("insert_user", TABLE_IS_DOWN)

    assert await refusal(world.create("alice")) is RegistryUnavailable

    [identity_id] = world.acs.identities
    assert world.row(identity_id).state is State.CREATING


async def test_claim_whose_answer_was_lost_is_found_again(world: World) -> None:
    """The next ask helps the creation to its end."""
    world.registry.loses("insert_user", TABLE_IS_DOWN)
    await refusal(world.create("alice"))

    found = await world.create("alice")

    assert found == IdentityFound(id=world.acs.identities[0])
    assert world.row(found.id).state is State.ACTIVE


async def test_loser_leaves_the_claim_to_the_winner(world: World) -> None:
    """Its own purge finds a claim that is not its own."""
    world.registry.meets("insert_user", lambda: world.create("alice"))

    answer = await world.create("alice")

    assert world.claims() == {"alice": answer.id}


@pytest.mark.parametrize("call", ["update", "delete", "remove"])
async def test_loser_whose_purge_fails_finds_the_winner(world: World, call: str) -> None:
    """Cleaning up behind oneself is the sweep's business in the end."""

    async def win() -> None:
        await world.create("alice")
        remote = world.acs if call == "delete" else world.registry
        remote.fails(call, TABLE_IS_DOWN)

    world.registry.meets("insert_user", win)

    answer = await world.create("alice")

    assert answer == IdentityFound(id=world.claims()["alice"])


async def test_loser_whose_purge_failed_is_purged_by_the_sweep(world: World) -> None:
    """Nothing is forgotten: ACS keeps the winner only."""

    async def win() -> None:
        await world.create("alice")
        world.acs.fails("delete", ACS_IS_DOWN)

    world.registry.meets("insert_user", win)
    answer = await world.create("alice")
    world.pass_lease()

    await world.sweep()

    assert world.acs.identities == [answer.id]


async def test_loser_that_somebody_else_moved_finds_the_winner(world: World) -> None:
    """The sweep claimed the loser's purge first."""

    async def win_and_claim() -> None:
        await world.create("alice")
        world.registry.overtake(world.acs.identities[0], state=State.PURGING)

    world.registry.meets("insert_user", win_and_claim)

    answer = await world.create("alice")

    assert answer == IdentityFound(id=world.claims()["alice"])


async def test_loser_whose_winner_vanished_is_busy(world: World) -> None:
    """The claim dangles by the time it is read: the caller asks again."""

    async def win_and_vanish() -> None:
        answer = await world.create("alice")
        del world.registry.rows[answer.id]

    world.registry.meets("insert_user", win_and_vanish)

    assert await refusal(world.create("alice")) is IdentityBusy


async def test_loser_whose_winner_let_go_is_busy(world: World) -> None:
    """There is no claim any more by the time it is read: the caller asks again."""

    async def win() -> None:
        await world.create("alice")
        world.registry.passes("read_user")
        world.registry.meets("read_user", let_go)

    async def let_go() -> None:
        world.registry.users.clear()

    world.registry.meets("insert_user", win)

    assert await refusal(world.create("alice")) is IdentityBusy


async def test_dangling_claim_counts_as_absent(world: World) -> None:
    """A claim on an identity without a row holds nobody."""
    await world.registry.insert_user("alice", UNKNOWN)

    created = await world.create("alice")

    assert (type(created), world.claims()) == (IdentityCreated, {"alice": created.id})


async def test_dangling_claim_is_replaced_by_one_of_many(world: World) -> None:
    """Twenty find it dangling at once, and ACS keeps one identity."""
    await world.registry.insert_user("alice", UNKNOWN)

    answers = await asyncio.gather(*(world.create("alice") for _ in range(20)))

    [kept] = world.acs.identities
    assert {answer.id for answer in answers} == {kept}


async def test_half_made_identity_is_helped(world: World) -> None:
    """Its creator died: the next to ask for the user makes it active."""
    identity_id = await world.creating("alice")

    found = await world.create("alice")

    assert found == IdentityFound(id=identity_id)
    assert world.row(identity_id) == IdentityRow(
        id=identity_id, state=State.ACTIVE, user_id="alice", created_on=START
    )


async def test_helper_who_comes_late_reads_again(world: World) -> None:
    """Somebody else helped just before."""
    identity_id = await world.creating("alice")
    world.registry.meets("update", lambda: world.create("alice"))

    found = await world.create("alice")

    assert found == IdentityFound(id=identity_id)


async def test_helper_who_does_not_know_whether_it_helped_stops(world: World) -> None:
    """Nothing is assumed."""
    await world.creating("alice")
    world.registry.loses("update", TABLE_IS_DOWN)

    assert await refusal(world.create("alice")) is RegistryUnavailable


async def test_helper_gives_up_after_four_rounds(world: World) -> None:
    """The row changes before each attempt: the caller asks again."""
    identity_id = await world.creating("alice")
    world.registry.meets("update", world.overtake(identity_id), times=4)
    before = len(world.registry.calls)

    assert await refusal(world.create("alice")) is IdentityBusy

    assert world.registry.calls[before:].count("update") == 4


async def test_user_whose_identity_is_deleted_is_told_how_to_restore_it(world: World) -> None:
    """A deleted identity is neither handed out nor replaced."""
    identity_id = await world.deleted("alice")

    with pytest.raises(IdentityDeleted, match=f"deleted-identities/{identity_id}/restore"):
        await world.create("alice")

    assert world.acs.identities == [identity_id]


async def test_user_whose_identity_is_being_purged_is_busy(world: World) -> None:
    """Soon there will be room for a new one."""
    await world.purging("alice")

    with pytest.raises(IdentityBusy) as caught:
        await world.create("alice")

    assert caught.value.retry_after


async def test_user_whose_identity_is_purged_gets_a_new_one(world: World) -> None:
    """The old one's claim went with it."""
    identity_id = await world.deleted("alice")
    await world.purge(identity_id)

    created = await world.create("alice")

    assert (type(created), [created.id]) == (IdentityCreated, world.acs.identities)
