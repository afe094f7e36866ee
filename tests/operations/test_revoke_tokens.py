"""revoke_tokens: revokes all tokens issued so far."""

from datetime import timedelta

import pytest

from identity_service.errors import (
    IdentityGone,
    IdentityNotFound,
    IdentityNotKnownYet,
    WrongResource,
)
from identity_service.identity import Identity, State
from tests.support.memory import FOREIGN, UNKNOWN
from tests.support.world import HOUR, SECOND, World, refusal


async def test_existing_tokens_are_revoked(world: World) -> None:
    """All existing tokens of the identity are revoked, and no others."""
    created, other = await world.create_with_token(), await world.create_with_token()
    second = await world.issue(created.id)
    await world.revoke(created.id)

    assert not any(map(world.acs.is_valid, [created.token, second.token]))
    assert world.acs.is_valid(other.token)


async def test_new_tokens_are_valid(world: World) -> None:
    """A token issued after the revocation is valid."""
    identity_id = await world.active()
    await world.revoke(identity_id)
    issued = await world.issue(identity_id)

    assert world.acs.is_valid(issued.token)


@pytest.mark.parametrize("identity_id", [UNKNOWN, FOREIGN])
async def test_unknown_identity(world: World, identity_id: str) -> None:
    """An identity that neither ACS nor the registry knows is not found."""
    assert await refusal(world.revoke(identity_id)) is IdentityNotFound


@pytest.mark.parametrize(
    ("age", "error"), [(HOUR - SECOND, IdentityNotKnownYet), (HOUR, IdentityGone)]
)
async def test_identity_that_acs_does_not_know(
    world: World, age: timedelta, error: type[Exception]
) -> None:
    """If ACS does not know a registered identity, that is a proof only after its first hour."""
    identity_id = await world.active()
    world.acs.identities.remove(identity_id)
    world.clock.advance(age)

    assert await refusal(world.revoke(identity_id)) is error


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (State.ACTIVE, IdentityGone),
        (State.SUSPENDED, IdentityGone),
        (State.DELETED, IdentityGone),
        (State.REGISTERING, IdentityNotFound),
        (State.CREATING, IdentityNotFound),
        (State.PURGING, IdentityNotFound),
    ],
)
async def test_way_out_only_for_what_can_be_deleted(
    world: World, state: State, error: type[Exception]
) -> None:
    """What is being purged or was never finished needs no caller: the sweep removes it."""
    await world.registry.insert(Identity(id=UNKNOWN, state=state))

    assert await refusal(world.revoke(UNKNOWN)) is error


@pytest.mark.parametrize("state", State)
async def test_identity_of_another_resource(world: World, state: State) -> None:
    """A registered identity of another resource is not missing: the app uses the wrong one."""
    await world.registry.insert(Identity(id=FOREIGN, state=state))

    assert await refusal(world.revoke(FOREIGN)) is WrongResource
