"""Each change of an identity is one line in the log, also if the call that made it failed."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from identity_service.errors import ServiceError
from identity_service.identity import Actor
from identity_service.log import begin_invocation
from identity_service.operations.identities import list_identities
from identity_service.schemas import ListIdentitiesQuery
from tests.support.memory import UNKNOWN
from tests.support.world import ACS_IS_DOWN, ALICE, CONFLICT, TABLE_IS_DOWN, World

USER = "alice"

Call = Callable[[World, str], Awaitable[object]]


async def create(world: World, _: str) -> None:
    """Create the identity of the user."""
    await world.create(USER)


async def fail_to_record(world: World, _: str) -> None:
    """The registry does not record the new identity."""
    world.registry.fails("insert", TABLE_IS_DOWN)
    await world.create()


async def lose_race(world: World, _: str) -> None:
    """Another creation for the user is faster."""

    async def other() -> None:
        world.registry.users.clear()
        await world.create(USER)

    world.registry.precede("insert_user", other)
    await world.create(USER)


async def delete(world: World, identity_id: str) -> None:
    """Delete the identity."""
    await world.delete(identity_id)


async def delete_while_acs_fails(world: World, identity_id: str) -> None:
    """The identity is marked, and not revoked."""
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    await world.delete(identity_id)


async def delete_unknown(world: World, _: str) -> None:
    """ACS does not know the identity."""
    await world.delete(UNKNOWN)


async def delete_after_conflict(world: World, identity_id: str) -> None:
    """Another write is faster than the mark."""
    world.registry.fails("update", CONFLICT)
    await world.delete(identity_id)


async def take_over(world: World, identity_id: str) -> None:
    """A service repeats the deletion of a user."""
    world.registry.change(identity_id, deleted_by=Actor.USER)
    await world.delete(identity_id)


async def suspend(world: World, identity_id: str) -> None:
    """Suspend the identity."""
    await world.suspend(identity_id)


async def resume(world: World, identity_id: str) -> None:
    """Resume the identity."""
    await world.resume(identity_id)


async def restore(world: World, identity_id: str) -> None:
    """Restore the identity."""
    await world.restore(identity_id)


async def purge(world: World, identity_id: str) -> None:
    """Purge the identity."""
    await world.purge(identity_id)


async def purge_while_acs_fails(world: World, identity_id: str) -> None:
    """The purge is decided, and not carried out."""
    world.acs.fails("delete", ACS_IS_DOWN)
    await world.purge(identity_id)


@pytest.mark.parametrize(
    ("start", "call", "changes"),
    [
        ("deleted", create, ["activated"]),
        ("creating", create, ["activated"]),
        ("active", create, []),
        ("active", fail_to_record, ["undone"]),
        ("deleted", lose_race, ["activated", "purge_started", "purged"]),
        ("active", delete, ["deleted", "revoked"]),
        ("active", delete_while_acs_fails, ["deleted"]),
        ("active", delete_after_conflict, ["deleted", "revoked"]),
        ("active", delete_unknown, ["deleted", "forgotten"]),
        ("unrevoked", delete, ["revoked"]),
        ("deleted", delete, []),
        ("deleted", take_over, ["deletion_taken_over"]),
        ("suspended", delete, ["deleted", "revoked"]),
        ("active", suspend, ["suspended", "revoked"]),
        ("suspended", suspend, []),
        ("suspended", resume, ["resumed"]),
        ("active", resume, []),
        ("deleted", restore, ["restored"]),
        ("unrevoked", restore, ["restored"]),
        ("active", restore, []),
        ("deleted", purge, ["purge_started", "purged"]),
        ("deleted", purge_while_acs_fails, ["purge_started"]),
        ("purging", purge, ["purged"]),
        ("active", purge, []),
    ],
)
async def test_changes(
    world: World, caplog: pytest.LogCaptureFixture, start: str, call: Call, changes: list[str]
) -> None:
    """Whatever the call returns, the log has what it did, and nothing that it did not do."""
    caplog.set_level(logging.INFO)
    user = USER if call is create and start != "deleted" else None
    identity_id = await getattr(world, start)(user)
    caplog.clear()
    with suppress(ServiceError):
        await call(world, identity_id)

    names = [message.partition(" ")[0] for message in caplog.messages]
    assert [name.removeprefix("identity_").removeprefix("creation_") for name in names] == changes


async def test_deletion_names_who_deleted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The lines of a deletion and of a restore say who has deleted the identity."""
    await world.active(ALICE.user_id)
    caplog.set_level(logging.INFO)
    await world.delete((await world.delete_me()).id)
    await world.restore(world.acs.identities[0])

    lines = [line for line in caplog.messages if "deleted_by" in line]
    assert [(line.split()[0], line.rpartition("=")[2]) for line in lines] == [
        ("identity_deleted", "user"),
        ("identity_restored", "service"),
    ]


async def test_list_of_a_user_that_fails_has_the_id(world: World) -> None:
    """Once the user's row is read, the identity is known, even if its own row cannot be read."""
    identity_id = await world.active(USER)
    invocation = begin_invocation("one")
    world.registry.fails("read", TABLE_IS_DOWN)
    with suppress(ServiceError):
        await list_identities(ListIdentitiesQuery(user_id=USER), world.registry)

    assert invocation.identity_id == identity_id
