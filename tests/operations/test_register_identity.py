"""register_identity: takes in an identity that was created elsewhere."""

import asyncio

import pytest

from identity_service.errors import (
    IdentityBusy,
    IdentityDeleted,
    IdentityNotFound,
    Throttled,
    UserHasIdentity,
    UserMismatch,
)
from identity_service.identity import Identity, State
from identity_service.limits import Verifications
from identity_service.operations.me import get_me
from identity_service.schemas import IdentityRegisteredResponse, IdentityResponse
from tests.support.memory import UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, ALICE, TABLE_IS_DOWN, World, refusal


@pytest.mark.parametrize("user_id", ["alice", None])
async def test_registered_identity(world: World, user_id: str | None) -> None:
    """A registered identity is active, has its user, and is known since now."""
    identity_id = world.acs.add()
    registered = await world.register(identity_id, user_id)

    assert registered == IdentityRegisteredResponse(
        id=identity_id, state=State.ACTIVE, user_id=user_id, known_on=START
    )
    assert world.row(identity_id) == Identity(
        id=identity_id, state=State.ACTIVE, user_id=user_id, known_on=START
    )
    assert world.user_rows() == ({user_id: identity_id} if user_id else {})
    assert world.due_entries() == []


async def test_acs_is_asked(world: World) -> None:
    """ACS is asked with the smallest token: one scope, the shortest lifetime."""
    identity_id = world.acs.add()
    await world.register(identity_id)

    assert world.acs.issued_for == [identity_id]
    assert [(len(grant.scopes), grant.minutes) for grant in world.acs.grants] == [(1, 60)]


async def test_users_identity(world: World) -> None:
    """A user finds the registered identity instead of getting a second one."""
    identity_id = world.acs.add()
    await world.register(identity_id, ALICE.user_id)

    assert (await get_me(ALICE, world.registry)).id == identity_id
    assert (await world.create(ALICE.user_id)).id == identity_id
    assert world.acs.identities == [identity_id]


async def test_repeated_registration(world: World) -> None:
    """Repeating the registration, with its user or without one, changes nothing."""
    identity_id = world.acs.add()
    await world.register(identity_id, "alice")
    world.acs.calls.clear()
    repeated = [await world.register(identity_id, "alice"), await world.register(identity_id)]

    expected = IdentityResponse(id=identity_id, state=State.ACTIVE, user_id="alice", known_on=START)
    assert repeated == [expected, expected]
    assert [type(one) for one in repeated] == [IdentityResponse] * 2
    assert world.acs.calls == []


async def test_own_identity(world: World) -> None:
    """An identity that this service created counts as registered."""
    identity_id = await world.active("alice")
    registered = await world.register(identity_id, "alice")

    assert registered == IdentityResponse(
        id=identity_id, state=State.ACTIVE, user_id="alice", created_on=START
    )


@pytest.mark.parametrize("first", ["bob", None])
async def test_registered_for_another_user(world: World, first: str | None) -> None:
    """An identity that belongs to another user, or to none, keeps it. The error has its id."""
    identity_id = await world.active(first)
    with pytest.raises(UserMismatch, match="unregister it first") as caught:
        await world.register(identity_id, "alice")

    assert (caught.value.field, caught.value.identity_id) == ("userId", identity_id)
    assert world.user_rows() == ({first: identity_id} if first else {})


@pytest.mark.parametrize("state", [State.ACTIVE, State.DELETED])
async def test_user_with_another_identity(world: World, state: State) -> None:
    """A user who has another identity keeps it. The error has its id, and nothing is left."""
    other, identity_id = await world.in_state(state, "alice"), world.acs.add()
    with pytest.raises(UserHasIdentity) as caught:
        await world.register(identity_id, "alice")

    assert caught.value.identity_id == other
    assert (list(world.registry.rows), world.user_rows()) == ([other], {"alice": other})
    assert world.acs.identities == [other, identity_id]


@pytest.mark.parametrize("state", [State.CREATING, State.REGISTERING])
async def test_user_whose_other_identity_is_unfinished(world: World, state: State) -> None:
    """While the user's other identity is unfinished, the registration can be retried."""
    other = await world.in_state(state, "alice")

    assert await refusal(world.register(world.acs.add(), "alice")) is IdentityBusy

    assert (list(world.registry.rows), world.user_rows()) == ([other], {"alice": other})


async def test_user_whose_other_identity_is_being_purged(world: World) -> None:
    """An identity that is being purged is no longer the user's."""
    purged, identity_id = await world.purging("alice"), world.acs.add()
    await world.register(identity_id, "alice")
    await world.purge(purged)

    assert world.user_rows() == {"alice": identity_id}


async def test_deleted_identity(world: World) -> None:
    """A deleted identity is not resurrected. The error has its id."""
    identity_id = await world.deleted("alice")
    with pytest.raises(IdentityDeleted) as caught:
        await world.register(identity_id, "alice")

    assert caught.value.identity_id == identity_id
    assert world.row(identity_id).state is State.DELETED


@pytest.mark.parametrize("user_id", ["alice", None])
async def test_acs_has_no_such_identity(world: World, user_id: str | None) -> None:
    """An identity that ACS does not have is not found, and leaves no row."""
    assert await refusal(world.register(UNKNOWN, user_id)) is IdentityNotFound

    assert (world.registry.rows, world.registry.users, world.due_entries()) == ({}, {}, [])


@pytest.mark.parametrize("user_id", ["alice", None])
async def test_acs_is_down(world: World, user_id: str | None) -> None:
    """If ACS does not respond, the sweep rolls the registration back. ACS keeps the identity."""
    identity_id = world.acs.add()
    world.acs.fails("issue_token", ACS_IS_DOWN)
    await refusal(world.register(identity_id, user_id))
    world.pass_lease()
    report = await world.sweep()

    assert (world.registry.rows, world.registry.users, world.due_entries()) == ({}, {}, [])
    assert (world.acs.identities, report.purged, report.backlog) == ([identity_id], 0, 0)


async def test_registration_is_continued(world: World) -> None:
    """A registration that stopped is continued by repeating it."""
    identity_id = await world.registering("alice")
    registered = await world.register(identity_id, "alice")

    assert type(registered) is IdentityRegisteredResponse
    assert world.row(identity_id).state is State.ACTIVE


@pytest.mark.parametrize("user_id", ["bob", None])
async def test_other_registration_stopped(world: World, user_id: str | None) -> None:
    """A registration that stopped is not continued for another user."""
    identity_id = await world.registering("alice")

    assert await refusal(world.register(identity_id, user_id)) is IdentityBusy

    assert world.row(identity_id).user_id == "alice"


async def test_rollback_fails(world: World) -> None:
    """If the rollback fails, the sweep finishes it."""
    world.registry.fails("remove", TABLE_IS_DOWN)
    await refusal(world.register(UNKNOWN, "alice"))
    world.pass_lease()
    await world.sweep()

    assert (world.registry.rows, world.registry.users) == ({}, {})


async def test_concurrent_registrations(world: World) -> None:
    """Of fifty concurrent registrations, all succeed or can be retried, and one row is left."""
    identity_id = world.acs.add()
    results = await asyncio.gather(
        *(world.register(identity_id, "alice") for _ in range(50)), return_exceptions=True
    )

    assert {type(one) for one in results} <= {
        IdentityRegisteredResponse,
        IdentityResponse,
        IdentityBusy,
    }
    assert (await world.register(identity_id, "alice")).state is State.ACTIVE
    assert world.user_rows() == {"alice": identity_id}


async def test_verifications_are_limited(world: World) -> None:
    """Registrations that would wait too long for their verification are refused at once."""
    world.verifications = Verifications(1)
    await world.register(world.acs.add())
    with pytest.raises(Throttled) as caught:
        await world.register(world.acs.add())

    assert caught.value.retry_after == 30
    assert len(world.registry.rows) == 1


async def test_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The registration is one line, with the identity and without its user."""
    identity_id = world.acs.add()
    caplog.set_level("INFO")
    await world.register(identity_id, "alice")

    assert f"identity_registered identity_id={identity_id}" in caplog.text
    assert "alice" not in caplog.text
