"""unregister_identity: forgets an identity without touching it in ACS."""

import pytest

from identity_service.errors import IdentityBusy, IdentityDeleted, IdentityNotFound, UserMismatch
from identity_service.identity import State
from tests.support.world import TABLE_IS_DOWN, World, refusal


@pytest.mark.parametrize("user_id", ["alice", None])
@pytest.mark.parametrize("state", [State.ACTIVE, State.REGISTERING])
async def test_forgotten_identity(world: World, state: State, user_id: str | None) -> None:
    """Nothing is left in the registry. ACS is not called and keeps the identity."""
    identity_id = await world.in_state(state, user_id)
    world.acs.calls.clear()
    await world.unregister(identity_id)

    assert (world.registry.rows, world.registry.users, world.due_entries()) == ({}, {}, [])
    assert (world.acs.identities, world.acs.calls) == ([identity_id], [])


async def test_tokens_stay_valid(world: World) -> None:
    """The identity's tokens stay valid."""
    created = await world.create_with_token("alice")
    await world.unregister(created.id)

    assert world.acs.is_valid(created.token)


async def test_another_user(world: World) -> None:
    """After it, the identity can be registered for another user."""
    identity_id = await world.active("alice")
    await world.unregister(identity_id)
    await world.register(identity_id, "bob")

    assert world.user_rows() == {"bob": identity_id}


async def test_expected_user(world: World) -> None:
    """If a user is named, the identity must be that user's."""
    identity_id = await world.active("alice")

    with pytest.raises(UserMismatch) as caught:
        await world.unregister(identity_id, "bob")
    assert caught.value.detail == "The identity belongs to another user, or to none."
    assert world.row(identity_id).user_id == "alice"

    await world.unregister(identity_id, "alice")
    assert world.registry.rows == {}


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (State.CREATING, IdentityBusy),
        (State.DELETED, IdentityDeleted),
        (State.PURGING, IdentityNotFound),
    ],
)
async def test_other_states(world: World, state: State, error: type[Exception]) -> None:
    """An identity in another state is not forgotten: its unfinished work would be lost."""
    identity_id = await world.in_state(state, "alice")
    before = dict(world.registry.rows)

    assert await refusal(world.unregister(identity_id)) is error
    assert world.registry.rows == before


async def test_user_row_of_another_identity(world: World) -> None:
    """A user row that names another identity by now stays."""
    identity_id = await world.active("alice")

    async def take_over() -> None:
        other = world.registry.users["alice"]
        await world.registry.replace_user(other, "another")

    world.registry.precede("remove_user", take_over)
    await world.unregister(identity_id)

    assert world.user_rows() == {"alice": "another"}


async def test_killed_half_way(world: World) -> None:
    """If only the identity row was removed, the user row does not count: the next call replaces it.

    Repeating the call finds nothing.
    """
    identity_id = await world.active("alice")
    world.registry.fails("remove_user", TABLE_IS_DOWN)
    await refusal(world.unregister(identity_id))

    assert await refusal(world.unregister(identity_id)) is IdentityNotFound
    created = await world.create("alice")
    assert created.id != identity_id
    assert world.user_rows() == {"alice": created.id}


async def test_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is one line, with the identity and without its user."""
    identity_id = await world.active("alice")
    caplog.set_level("INFO")
    await world.unregister(identity_id)

    assert f"identity_unregistered identity_id={identity_id}" in caplog.text
    assert "alice" not in caplog.text
