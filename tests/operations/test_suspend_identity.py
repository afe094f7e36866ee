"""suspend_identity: writes the mark, revokes the tokens, and records the revocation."""

import pytest

from identity_service.errors import (
    IdentityNotFound,
    IdentityNotKnownYet,
    IdentitySuspended,
    RegistryUnavailable,
    WrongResource,
)
from identity_service.identity import LEASE, DueEntry, Identity, State
from identity_service.schemas import IdentityResponse
from tests.support.memory import FOREIGN, UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import HOUR, SECOND, TABLE_IS_DOWN, World, refusal


async def test_suspended_identity(world: World) -> None:
    """It keeps its user, is revoked, and nothing is due."""
    identity_id = await world.active("alice")
    suspended = await world.suspend(identity_id)

    assert suspended == IdentityResponse(
        id=identity_id,
        state=State.SUSPENDED,
        user_id="alice",
        created_on=START,
        suspended_on=START,
    )
    active = Identity.create(identity_id, "alice", START).finish_creation()
    assert world.row(identity_id) == active.suspend(START).record_revocation()
    assert (world.due_entries(), world.user_rows()) == ([], {"alice": identity_id})


async def test_tokens(world: World) -> None:
    """All tokens are revoked, and no new one is issued."""
    created = await world.create_with_token()
    await world.suspend(created.id)

    with pytest.raises(IdentitySuspended, match=f"POST identities/{created.id}/resume"):
        await world.issue(created.id)
    assert not world.acs.is_valid(created.token)


async def test_sweep(world: World) -> None:
    """The sweep never touches a suspended identity."""
    identity_id = await world.suspended()
    before = world.row(identity_id)
    world.clock.advance(10_000 * HOUR)
    report = await world.sweep()

    assert (report.due, world.row(identity_id), world.acs.identities) == (0, before, [identity_id])


async def test_repeated_call(world: World) -> None:
    """Repeating the call changes nothing."""
    identity_id = await world.active()
    first = await world.suspend(identity_id)
    world.clock.advance(HOUR)

    assert await world.suspend(identity_id) == first
    assert world.acs.revocations == [identity_id]


@pytest.mark.parametrize("finish", [World.suspend, lambda world, _: world.sweep()])
async def test_interrupted_suspension(world: World, finish: object) -> None:
    """A repeated call or the sweep revokes the tokens. The first date stays."""
    created = await world.create_with_token()
    await world.suspend_unrevoked(created.id)
    assert world.due_entries() == [DueEntry(START + LEASE, created.id)]
    world.clock.advance(HOUR)
    await finish(world, created.id)  # type: ignore[operator]  # World.suspend, or the sweep

    row = world.row(created.id)
    assert (row.suspended_on, row.revoked, row.due) == (START, True, None)
    assert (world.acs.is_valid(created.token), world.due_entries()) == (False, [])


async def test_suspended_again_before_the_record(world: World) -> None:
    """If it is resumed and suspended again, that suspension is not recorded as revoked."""
    identity_id = await world.active()

    async def resume_and_suspend() -> None:
        await world.resume(identity_id)
        world.clock.advance(SECOND)
        await world.suspend_unrevoked(identity_id)

    world.registry.passes("update")
    world.registry.precede("update", resume_and_suspend)
    suspended = await world.suspend(identity_id)

    row = world.row(identity_id)
    assert (suspended.suspended_on, row.suspended_on) == (START, START + SECOND)
    assert not row.revoked


# Identities that this service has not created


async def test_identity_created_elsewhere(world: World) -> None:
    """The suspension of an identity that was created elsewhere writes its first row."""
    identity_id = world.acs.add()
    await world.suspend(identity_id)

    adopted = Identity.adopt(identity_id, START).suspend(START)
    assert world.row(identity_id) == adopted.record_revocation()


@pytest.mark.parametrize("identity_id", [UNKNOWN, FOREIGN])
async def test_unknown_identity(world: World, identity_id: str) -> None:
    """An identity that ACS does not know is not found, and its new row is removed."""
    assert await refusal(world.suspend(identity_id)) is IdentityNotFound

    assert world.is_gone(identity_id)


async def test_unknown_identity_whose_row_stays(world: World) -> None:
    """If the row of an unknown identity cannot be removed, it stays due, and the sweep does it."""
    world.registry.fails("remove", TABLE_IS_DOWN)
    assert await refusal(world.suspend(UNKNOWN)) is RegistryUnavailable
    world.pass_lease()
    await world.sweep()

    assert world.is_gone(UNKNOWN)


# What ACS says about an identity with a row


async def test_young_identity_that_acs_does_not_know_yet(world: World) -> None:
    """For an hour, "doesn't exist" is no proof: the call fails, and the sweep tries again."""
    created = await world.create_with_token()
    world.acs.identities.remove(created.id)

    assert await refusal(world.suspend(created.id)) is IdentityNotKnownYet

    world.acs.identities.append(created.id)
    world.pass_lease()
    await world.sweep()
    assert (world.acs.is_valid(created.token), world.row(created.id).revoked) == (False, True)


async def test_old_identity_that_acs_does_not_know(world: World) -> None:
    """After an hour it has no tokens, which is as good as revoked."""
    identity_id = await world.active()
    world.acs.identities.remove(identity_id)
    world.clock.advance(HOUR)

    assert (await world.suspend(identity_id)).state is State.SUSPENDED


async def test_identity_that_grows_old_during_the_call(world: World) -> None:
    """What counts is its age before ACS was asked."""
    identity_id = await world.active()
    world.acs.identities.remove(identity_id)
    world.clock.advance(HOUR - SECOND)
    world.acs.precede("revoke_tokens", lambda: world.clock.sleep(2))

    assert await refusal(world.suspend(identity_id)) is IdentityNotKnownYet


async def test_identity_of_another_resource(world: World) -> None:
    """A registered identity stays as it is marked. It is due until the app uses its resource."""
    await world.registry.insert(Identity(id=FOREIGN, state=State.ACTIVE, created_on=START))

    assert await refusal(world.suspend(FOREIGN)) is WrongResource

    assert world.row(FOREIGN) == Identity(id=FOREIGN, state=State.ACTIVE, created_on=START).suspend(
        START
    )
