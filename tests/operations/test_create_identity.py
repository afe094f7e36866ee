"""create_identity: recorded first, active last, and one identity for each user."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from identity_service.errors import CallerGone, IdentityBusy, IdentityDeleted, RegistryUnavailable
from identity_service.identity import Identity, State
from identity_service.log import begin_invocation
from identity_service.schemas import (
    IdentityCreatedResponse,
    IdentityFoundResponse,
    IssuedTokenResponse,
)
from tests.support.memory import UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import ACS_IS_DOWN, CONFLICT, HOUR, TABLE_IS_DOWN, World, refusal

Created = IdentityFoundResponse | IssuedTokenResponse


async def sweep_after_lease(world: World) -> None:
    """The sweep treats the creation as interrupted and purges the identity."""
    world.pass_lease()
    await world.sweep()


@pytest.mark.parametrize("user_id", [None, "alice"])
async def test_new_identity(world: World, user_id: str | None) -> None:
    """A new identity is active, is the identity of its user, and nothing is due."""
    created = await world.create(user_id)

    assert (type(created), [created.id]) == (IdentityCreatedResponse, world.acs.identities)
    assert world.row(created.id) == Identity(
        id=created.id, state=State.ACTIVE, user_id=user_id, created_on=START
    )
    assert world.due_entries() == []
    assert world.user_rows() == ({user_id: created.id} if user_id else {})


@pytest.mark.parametrize("error", [CONFLICT, TABLE_IS_DOWN], ids=["conflict", "unknown"])
async def test_unrecorded_identity_is_deleted(world: World, error: Exception) -> None:
    """An identity that cannot be recorded is deleted in ACS: nobody would find it again."""
    world.registry.fails("insert", error)

    assert await refusal(world.create()) is RegistryUnavailable

    assert (world.acs.identities, world.registry.rows) == ([], {})


async def test_record_with_lost_response(world: World) -> None:
    """If the response of the record is lost, the row stays, and the sweep purges it later."""
    world.registry.loses("insert", TABLE_IS_DOWN)

    assert await refusal(world.create()) is RegistryUnavailable

    assert world.acs.identities == []
    assert [row.state for row in world.registry.rows.values()] == [State.CREATING]
    world.clock.advance(HOUR)
    report = await world.sweep()
    assert (report.purged, world.registry.rows, world.due_entries()) == (1, {}, [])


async def test_lost_identity_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """If an identity can be neither recorded nor deleted, its id is logged for the operator."""
    world.registry.fails("insert", TABLE_IS_DOWN)
    world.acs.fails("delete", ACS_IS_DOWN)

    assert await refusal(world.create()) is RegistryUnavailable

    [lost] = world.acs.identities
    assert f"identity_lost identity_id={lost} code=acs_unavailable" in caplog.text


@pytest.mark.parametrize("happens", ["fails", "loses"])
@pytest.mark.parametrize("call", ["insert_user", "update"])
async def test_retry(world: World, call: str, happens: str) -> None:
    """If it is unknown whether the creation was finished, a retry returns an active identity."""
    getattr(world.registry, happens)(call, TABLE_IS_DOWN)
    assert await refusal(world.create("alice")) is RegistryUnavailable

    found = await world.create("alice")

    assert (world.row(found.id).state, world.user_rows()) == (State.ACTIVE, {"alice": found.id})


async def start_purge(world: World) -> None:
    """A purge of the identity starts and does not end."""
    world.registry.change(world.acs.identities[0], state=State.PURGING)


@pytest.mark.parametrize(
    ("step", "purge"),
    [
        ("insert_user", sweep_after_lease),
        ("update", sweep_after_lease),
        ("insert_user", start_purge),
    ],
)
async def test_purged_during_creation(
    world: World, step: str, purge: Callable[[World], Awaitable[None]]
) -> None:
    """If the identity is purged during its creation, its user gets another one afterwards."""
    world.registry.precede(step, lambda: purge(world))

    assert await refusal(world.create("alice")) is IdentityBusy

    created = await world.create("alice")
    assert (type(created), created.id) == (IdentityCreatedResponse, world.acs.identities[-1])
    assert world.user_rows() == {"alice": created.id}


async def test_release_keeps_the_user_row_of_another_identity(world: World) -> None:
    """If the user has got another identity in the meantime, that user row stays."""

    async def purge_and_create_another() -> None:
        await sweep_after_lease(world)
        await world.create("alice")

    world.registry.precede("update", purge_and_create_another)

    assert await refusal(world.create("alice")) is IdentityBusy

    assert list(world.user_rows().values()) == world.acs.identities


async def test_existing_identity_is_returned(world: World) -> None:
    """Each user has one identity. If it exists, it is returned without a call to ACS."""
    alice, bob = await world.create("alice"), await world.create("bob")
    found = await world.create("alice")

    assert (type(found), found.id) == (IdentityFoundResponse, alice.id)
    assert (world.acs.identities, world.acs.calls) == ([alice.id, bob.id], ["create", "create"])


@pytest.mark.parametrize("create", [World.create, World.create_with_token])
async def test_fifty_concurrent_calls(
    world: World,
    create: Callable[[World, str], Awaitable[IdentityFoundResponse | IssuedTokenResponse]],
) -> None:
    """Fifty concurrent calls for a user create one identity and leave nothing else behind."""
    responses = await asyncio.gather(*(create(world, "alice") for _ in range(50)))

    [kept] = world.acs.identities
    assert {response.id for response in responses} == {kept}
    assert [response.http_status for response in responses].count(201) == 1
    assert (list(world.registry.rows), world.due_entries()) == ([kept], [])
    tokens = [each.token for each in responses if isinstance(each, IssuedTokenResponse)]
    assert all(map(world.acs.is_valid, tokens))


async def test_slower_creation_returns_the_other_identity(world: World) -> None:
    """The slower of two creations purges its own identity and returns the other one."""
    world.registry.precede("insert_user", lambda: world.create("alice"))
    found = await world.create("alice")

    assert type(found) is IdentityFoundResponse
    assert (world.user_rows(), world.acs.identities) == ({"alice": found.id}, [found.id])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("update", CONFLICT),
        ("update", TABLE_IS_DOWN),
        ("delete", ACS_IS_DOWN),
        ("remove", TABLE_IS_DOWN),
    ],
)
async def test_duplicate_that_cannot_be_purged(
    world: World, call: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """If the slower creation cannot purge its own identity, the sweep does it."""

    async def win() -> None:
        await world.create("alice")
        (world.acs if call == "delete" else world.registry).fails(call, error)

    world.registry.precede("insert_user", win)
    found = await world.create("alice")
    [duplicate] = [entry.identity_id for entry in world.due_entries()]
    assert found == IdentityFoundResponse(id=world.user_rows()["alice"])
    assert f"duplicate_left_to_sweep identity_id={duplicate}" in caplog.text
    world.clock.advance(HOUR)
    await world.sweep()
    assert (world.acs.identities, list(world.registry.rows)) == ([found.id], [found.id])


async def test_other_identity_disappears(world: World) -> None:
    """If the other creation's identity has no row any more, the slower creation fails as busy."""

    async def win_and_disappear() -> None:
        del world.registry.rows[await world.active("alice")]

    world.registry.precede("insert_user", win_and_disappear)

    assert await refusal(world.create("alice")) is IdentityBusy


async def test_other_user_row_disappears(world: World) -> None:
    """If the other creation's user row is gone when it is read, the call fails as busy."""

    async def win() -> None:
        await world.create("alice")
        world.registry.passes("read_user")
        world.registry.precede("read_user", release)

    async def release() -> None:
        world.registry.users.clear()

    world.registry.precede("insert_user", win)

    assert await refusal(world.create("alice")) is IdentityBusy


@pytest.mark.parametrize("calls", [1, 20])
async def test_user_row_without_an_identity(world: World, calls: int) -> None:
    """A user row that names an identity without a row does not count, and is replaced once."""
    await world.registry.insert_user("alice", UNKNOWN)
    responses = await asyncio.gather(*(world.create("alice") for _ in range(calls)))

    [kept] = world.acs.identities
    assert ({response.id for response in responses}, world.user_rows()) == ({kept}, {"alice": kept})
    assert sum(isinstance(response, IdentityCreatedResponse) for response in responses) == 1


@pytest.mark.parametrize("calls", [1, 2])
async def test_interrupted_creation_is_finished(
    world: World, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    """If the creation of the user's identity was interrupted, the next calls finish it."""
    caplog.set_level(logging.INFO)
    identity_id = await world.creating("alice")
    responses = await asyncio.gather(*(world.create("alice") for _ in range(calls)))

    assert responses == [IdentityFoundResponse(id=identity_id)] * calls
    assert world.row(identity_id).state is State.ACTIVE
    assert ("creation_finished_by_other_call" in caplog.text) is (calls > 1)


async def test_deleted_identity_of_the_user(world: World) -> None:
    """A user's deleted identity is not replaced. The error says how to restore it."""
    identity_id = await world.deleted("alice")
    with pytest.raises(IdentityDeleted, match=f"POST deleted-identities/{identity_id}/restore"):
        await world.create("alice")

    assert world.acs.identities == [identity_id]


async def test_user_whose_identity_is_being_purged(world: World) -> None:
    """A user whose identity is being purged gets a new one at once. The purge ends as usual."""
    purged = await world.purging("alice")
    created = await world.create("alice")
    await world.purge(purged)

    assert world.user_rows() == {"alice": created.id}
    assert world.acs.identities == [created.id]


async def test_user_whose_identity_is_being_registered(world: World) -> None:
    """While the user's identity is being registered, the call fails and names a delay."""
    await world.registering("alice")
    with pytest.raises(IdentityBusy) as caught:
        await world.create("alice")

    assert caught.value.retry_after == 1


async def test_identity_of_another_user(world: World) -> None:
    """A user row that names an identity of another user does not count, and is replaced."""
    other = await world.active("bob")
    await world.registry.insert_user("alice", other)
    created = await world.create("alice")

    assert world.user_rows() == {"alice": created.id, "bob": other}


async def test_identity_that_another_user_has_taken_over(world: World) -> None:
    """A token is dropped if the identity has another user by now. The user gets a new identity."""
    first = await world.active("alice")

    async def reassign() -> None:
        await world.unregister(first)
        await world.register(first, "bob")

    world.acs.precede("issue_token", reassign)
    issued = await world.create_with_token("alice")

    assert world.user_rows() == {"bob": first, "alice": issued.id}


# The caller has got a response already


@pytest.mark.parametrize("step", ["insert", "update"])
async def test_creation_that_nobody_waits_for(world: World, step: str) -> None:
    """Without a user, nobody could find the identity: it stays unfinished, and is purged."""
    invocation = begin_invocation("one")

    async def answer() -> None:
        invocation.is_over = True

    world.registry.precede(step, answer)
    assert await refusal(world.create()) is CallerGone

    begin_invocation("the sweep")
    [identity_id] = world.acs.identities
    assert world.row(identity_id).state is State.CREATING
    world.pass_lease()
    await world.sweep()
    assert world.is_gone(identity_id)


async def test_creation_for_a_user_that_nobody_waits_for(world: World) -> None:
    """The user will find the identity, so the creation is finished."""
    invocation = begin_invocation("one")

    async def answer() -> None:
        invocation.is_over = True

    world.registry.precede("insert", answer)
    created = await world.create("alice")

    assert world.row(created.id).state is State.ACTIVE
