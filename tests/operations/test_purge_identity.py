"""purge_identity: claimed, deleted in ACS, the user let go, the row taken out, in this order."""

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
from identity_service.model import DeletionPolicy
from identity_service.rows import LEASE, State
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


async def test_purged_identity_is_gone(world: World) -> None:
    """In ACS, its row, its agenda row and its user's claim."""
    identity_id = await world.deleted("alice")

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


async def test_purge_takes_its_steps_in_order(world: World) -> None:
    """The user's claim goes before the row that could tell of it."""
    identity_id = await world.deleted("alice")
    before = len(world.registry.calls)

    await world.purge(identity_id)

    assert world.registry.calls[before:] == [
        "read",
        "update",
        "read_user",
        "remove_user",
        "remove",
    ]


async def test_purge_without_a_user_asks_for_none(world: World) -> None:
    """Three calls, and the one to ACS."""
    identity_id = await world.deleted()
    before = len(world.registry.calls)

    await world.purge(identity_id)

    assert world.registry.calls[before:] == ["read", "update", "remove"]


async def test_purge_is_claimed_before_acs_deletes(world: World) -> None:
    """No restore can come between any more."""
    identity_id = await world.deleted()
    states = []

    async def look() -> None:
        states.append(world.row(identity_id).state)

    world.acs.meets("delete", look)

    await world.purge(identity_id)

    assert states == [State.PURGING]


async def test_claimed_purge_is_due_within_a_lease(world: World) -> None:
    """Should its claimant die, the sweep goes on before the scheduled day."""
    await world.purging()

    assert [entry.due <= START + LEASE for entry in world.agenda()] == [True]


async def test_purge_protection_forbids_it(world: World) -> None:
    """403, and nothing is touched, nor even read."""
    identity_id = await world.deleted()
    world.deletion = DeletionPolicy(purge_protection=True)
    before = world.row(identity_id)

    assert await refusal(world.purge(identity_id)) is PurgeProtected

    assert world.row(identity_id) == before


async def test_unknown_identity_is_not_found(world: World) -> None:
    """Without a row there is no deletion to finish."""
    assert await refusal(world.purge(UNKNOWN)) is IdentityNotFound


async def test_identity_made_elsewhere_and_not_deleted_is_not_found(world: World) -> None:
    """ACS is not asked to delete what nobody has deleted here."""
    identity_id = world.acs.add()

    assert await refusal(world.purge(identity_id)) is IdentityNotFound

    assert world.acs.identities == [identity_id]


async def test_purged_identity_is_not_found(world: World) -> None:
    """A second time."""
    identity_id = await world.deleted()
    await world.purge(identity_id)

    assert await refusal(world.purge(identity_id)) is IdentityNotFound


async def test_active_identity_is_not_deleted(world: World) -> None:
    """409: purging takes a deletion first."""
    identity_id = await world.active()

    assert await refusal(world.purge(identity_id)) is IdentityNotDeleted

    assert world.acs.identities == [identity_id]


async def test_identity_in_creation_is_not_deleted(world: World) -> None:
    """409: its creator may be alive."""
    identity_id = await world.creating()

    assert await refusal(world.purge(identity_id)) is IdentityNotDeleted


async def test_unrevoked_identity_can_be_purged(world: World) -> None:
    """Deleting in ACS revokes."""
    created = await world.create_with_token()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    await refusal(world.delete(created.id))

    await world.purge(created.id)

    assert world.is_gone(created.id)
    assert not world.acs.is_alive(created.token)


async def test_purge_under_way_is_finished(world: World) -> None:
    """Asked again, without a claim of its own."""
    identity_id = await world.purging("alice")

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


@pytest.mark.parametrize("happens", ["fails", "loses"])
async def test_unknown_claim_deletes_nothing(world: World, happens: str) -> None:
    """It may be restored at this moment."""
    identity_id = await world.deleted()
    getattr(world.registry, happens)("update", TABLE_IS_DOWN)

    assert await refusal(world.purge(identity_id)) is RegistryUnavailable

    assert world.acs.identities == [identity_id]


async def test_identity_restored_before_the_claim_is_not_deleted(world: World) -> None:
    """The restore came first: its ETag decides."""
    identity_id = await world.deleted()
    world.registry.meets("update", lambda: world.restore(identity_id))

    assert await refusal(world.purge(identity_id)) is IdentityNotDeleted

    assert world.acs.identities == [identity_id]


async def test_identity_claimed_by_another_purge_is_purged(world: World) -> None:
    """Whoever claimed it may be dead: both go on."""
    identity_id = await world.deleted()
    world.registry.meets("update", world.overtake(identity_id, state=State.PURGING))

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


async def test_purge_gives_up_after_four_rounds(world: World) -> None:
    """The row changes before each attempt: the caller asks again."""
    identity_id = await world.deleted()
    world.registry.fails("update", CONFLICT, times=4)

    assert await refusal(world.purge(identity_id)) is IdentityBusy


async def test_purge_that_acs_does_not_answer_stays_claimed(world: World) -> None:
    """503, and the sweep goes on."""
    identity_id = await world.deleted()
    world.acs.fails("delete", ACS_IS_DOWN)

    assert await refusal(world.purge(identity_id)) is AcsUnavailable

    assert world.row(identity_id).state is State.PURGING


async def test_sweep_finishes_a_purge_that_died(world: World) -> None:
    """A lease later."""
    identity_id = await world.purging("alice")
    world.pass_lease()

    report = await world.sweep()

    assert (report.purged, world.is_gone(identity_id)) == (1, True)


async def test_old_identity_that_acs_does_not_know_is_purged(world: World) -> None:
    """Somebody else deleted it there."""
    identity_id = await world.deleted()
    world.acs.identities.remove(identity_id)
    world.clock.forward(HOUR)

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


async def test_young_identity_that_acs_does_not_know_is_tried_later(world: World) -> None:
    """ACS was seen to deny what it had just made."""
    identity_id = await world.deleted()
    world.acs.fails("delete", IdentityNotFound("not yet"))

    assert await refusal(world.purge(identity_id)) is IdentityNotKnownYet

    assert world.row(identity_id).state is State.PURGING


async def test_young_identity_is_old_after_an_hour(world: World) -> None:
    """A second less is not enough."""
    identity_id = await world.deleted()
    world.acs.identities.remove(identity_id)
    world.clock.forward(HOUR)
    world.registry.overtake(identity_id, created_on=world.clock.now() - HOUR * 0.999)

    assert await refusal(world.purge(identity_id)) is IdentityNotKnownYet


async def test_identity_made_elsewhere_that_acs_does_not_know_is_purged(world: World) -> None:
    """Its age is not known: not found is believed."""
    identity_id = world.acs.add()
    await world.delete(identity_id)
    world.acs.identities.remove(identity_id)

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


async def test_claim_on_another_identity_stays(world: World) -> None:
    """The user has a new one meanwhile."""
    identity_id = await world.deleted("alice")
    world.registry.users.clear()
    other = await world.create("alice")

    await world.purge(identity_id)

    assert world.claims() == {"alice": other.id}


async def test_user_who_has_no_claim_is_no_hindrance(world: World) -> None:
    """A purge that died before its last step took it already."""
    identity_id = await world.deleted("alice")
    world.registry.users.clear()

    await world.purge(identity_id)

    assert world.is_gone(identity_id)


@pytest.mark.parametrize("call", ["read_user", "remove_user", "remove"])
async def test_unknown_outcome_of_a_later_step_is_told(world: World, call: str) -> None:
    """The row stays claimed, on the agenda."""
    identity_id = await world.deleted("alice")
    world.registry.fails(call, TABLE_IS_DOWN)

    assert await refusal(world.purge(identity_id)) is RegistryUnavailable

    assert world.row(identity_id).state is State.PURGING


async def test_claim_that_is_replaced_meanwhile_stays(world: World) -> None:
    """Read as this identity's, and another's by the time it is to go."""
    identity_id = await world.deleted("alice")
    world.clock.forward(HOUR)

    async def replace() -> None:
        claim = world.registry.users["alice"]
        await world.registry.update_user(claim, UNKNOWN)

    world.registry.meets("remove_user", replace)

    await world.purge(identity_id)

    assert world.claims() == {"alice": UNKNOWN}
    assert identity_id not in world.registry.rows


async def test_purge_that_somebody_else_finished_is_done(world: World) -> None:
    """204: it is gone."""
    identity_id = await world.deleted()
    world.registry.meets("remove", lambda: world.registry.remove(world.registry.rows[identity_id]))

    await world.purge(identity_id)

    assert world.is_gone(identity_id)
