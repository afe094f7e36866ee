"""create_identity_with_token: the token is returned only if the identity is active."""

import asyncio

from identity_service.errors import (
    AcsUnavailable,
    IdentityDeleted,
    IdentityNotFound,
    NotAllowed,
    RegistryUnavailable,
)
from identity_service.identity import State
from identity_service.policies import TokenGrant, TokenPolicy
from identity_service.schemas import IdentityWithTokenCreatedResponse, IssuedTokenResponse
from tests.support.world import ACS_IS_DOWN, TABLE_IS_DOWN, World, refusal


async def test_new_identity_with_token(world: World) -> None:
    """One call to ACS creates an active identity and its token."""
    created = await world.create_with_token("alice")

    assert (type(created), [created.id]) == (
        IdentityWithTokenCreatedResponse,
        world.acs.identities,
    )
    assert (world.acs.is_valid(created.token), world.acs.calls) == (True, ["create_with_token"])
    assert world.acs.grants == [TokenGrant(("chat",), 1440)]
    assert (world.row(created.id).state, world.user_rows()) == (
        State.ACTIVE,
        {"alice": created.id},
    )


async def test_policy_of_services(world: World) -> None:
    """A token that the policy for services does not allow creates nothing."""
    world.service_tokens = TokenPolicy(("voip",), default_minutes=60, max_minutes=60)

    assert await refusal(world.create_with_token()) is NotAllowed

    assert (world.acs.calls, world.registry.calls) == ([], [])


async def test_creation_in_acs_is_not_retried(world: World) -> None:
    """If ACS fails, the call is not repeated: each attempt creates another identity."""
    world.acs.loses("create_with_token", ACS_IS_DOWN)

    assert await refusal(world.create_with_token()) is AcsUnavailable

    assert world.acs.calls == ["create_with_token"]


async def test_unknown_activation(world: World) -> None:
    """If the result of the activation is unknown, no token is returned."""
    world.registry.loses("update", TABLE_IS_DOWN)

    assert await refusal(world.create_with_token()) is RegistryUnavailable


async def test_unrecorded_identity_is_deleted(world: World) -> None:
    """An identity that cannot be recorded is deleted in ACS, together with its token."""
    world.registry.fails("insert", TABLE_IS_DOWN)

    assert await refusal(world.create_with_token()) is RegistryUnavailable

    assert world.acs.identities == []


async def test_deleted_during_creation(world: World) -> None:
    """If the identity is deleted during its creation, no token is returned."""

    async def finish_and_delete() -> None:
        await world.delete(await world.active("alice"))

    world.registry.precede("update", finish_and_delete)

    assert await refusal(world.create_with_token("alice")) is IdentityDeleted


async def test_finished_by_another_call(world: World) -> None:
    """A creation that another call has finished returns its own token."""
    world.registry.precede("update", lambda: world.create("alice"))

    created = await world.create_with_token("alice")

    assert type(created) is IdentityWithTokenCreatedResponse
    assert world.acs.is_valid(created.token)


async def test_existing_identity_gets_a_new_token(world: World) -> None:
    """A user's existing identity gets a new token."""
    identity_id = await world.active("alice")

    issued = await world.create_with_token("alice")

    assert (type(issued), issued.id) == (IssuedTokenResponse, identity_id)
    assert (world.acs.is_valid(issued.token), world.acs.identities) == (True, [identity_id])


async def test_existing_identity_is_deleted_during_the_call(world: World) -> None:
    """If the existing identity is deleted during the call, its new token is not returned."""
    identity_id = await world.active("alice")
    world.registry.passes("read")
    world.registry.precede("read", lambda: world.delete(identity_id))

    assert await refusal(world.create_with_token("alice")) is IdentityDeleted


async def test_existing_identity_is_purged_during_the_call(world: World) -> None:
    """If the existing identity is purged during the call, its new token is not returned."""
    identity_id = await world.active("alice")

    async def delete_and_purge() -> None:
        await world.delete(identity_id)
        await world.purge(identity_id)

    world.registry.passes("read")
    world.registry.precede("read", delete_and_purge)

    assert await refusal(world.create_with_token("alice")) is IdentityNotFound


async def test_deleted_identity_of_the_user(world: World) -> None:
    """For a user whose identity is deleted, no token is requested."""
    await world.deleted("alice")

    assert await refusal(world.create_with_token("alice")) is IdentityDeleted

    assert world.acs.issued_for == []


async def test_interrupted_creation_is_finished(world: World) -> None:
    """If the creation of the user's identity was interrupted, it is finished and gets a token."""
    identity_id = await world.creating("alice")

    issued = await world.create_with_token("alice")

    assert (issued.id, world.acs.is_valid(issued.token)) == (identity_id, True)
    assert world.row(identity_id).state is State.ACTIVE


async def test_fifty_concurrent_calls(world: World) -> None:
    """Fifty concurrent calls for a user return valid tokens of one identity, one of them new."""
    responses = await asyncio.gather(*(world.create_with_token("alice") for _ in range(50)))

    new = [each for each in responses if isinstance(each, IdentityWithTokenCreatedResponse)]
    [kept] = world.acs.identities
    assert ({response.id for response in responses}, len(new)) == ({kept}, 1)
    assert all(world.acs.is_valid(response.token) for response in responses)
