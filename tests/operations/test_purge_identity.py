"""purge_identity: decides, deletes in ACS, releases the user, removes the row, in this order."""

import pytest

from identity_service.errors import (
    IdentityNotDeleted,
    IdentityNotFound,
    IdentityNotKnownYet,
    PurgeProtected,
    WrongResource,
)
from identity_service.identity import Identity, State
from identity_service.policies import DeletionPolicy
from tests.support.memory import FOREIGN, UNKNOWN
from tests.support.world import HOUR, SECOND, World, refusal


@pytest.mark.parametrize("start", ["deleted", "unrevoked", "purging"])
async def test_purged_identity(world: World, start: str) -> None:
    """Nothing of a purged identity is left, even if its deletion or purge was interrupted."""
    identity_id = await getattr(world, start)("alice")
    await world.purge(identity_id)

    assert world.is_gone(identity_id)


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


# Failures and conflicts


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
    """The age of an identity that was created elsewhere counts from when it became known."""
    identity_id = world.acs.add()
    await world.delete(identity_id)
    world.acs.identities.remove(identity_id)

    assert await refusal(world.purge(identity_id)) is IdentityNotKnownYet

    world.clock.advance(HOUR)
    await world.purge(identity_id)
    assert world.is_gone(identity_id)


async def test_identity_that_grows_old_during_the_call(world: World) -> None:
    """What counts is its age before ACS was asked."""
    identity_id = await world.deleted()
    world.acs.identities.remove(identity_id)
    world.clock.advance(HOUR - SECOND)
    world.acs.precede("delete", lambda: world.clock.sleep(2))

    assert await refusal(world.purge(identity_id)) is IdentityNotKnownYet


async def test_identity_of_another_resource(world: World) -> None:
    """It is not gone: its row stays, and so does its purge."""
    await world.registry.insert(Identity(id=FOREIGN, state=State.PURGING))

    assert await refusal(world.purge(FOREIGN)) is WrongResource

    assert world.row(FOREIGN).state is State.PURGING


async def test_purge_of_an_identity_that_never_existed(world: World) -> None:
    """If ACS was never asked about a deleted identity, it is asked first. Its row is removed."""
    identity_id = await world.adopted_unknown()

    assert await refusal(world.purge(identity_id)) is IdentityNotFound

    assert (world.registry.rows, world.due_entries()) == ({}, [])


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
