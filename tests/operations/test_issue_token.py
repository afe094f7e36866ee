"""issue_token: ACS creates the token, and the row that is read afterwards decides."""

from datetime import timedelta

import pytest

from identity_service.errors import (
    IdentityDeleted,
    IdentityGone,
    IdentityNotFound,
    IdentityNotKnownYet,
    IdentitySuspended,
    IdentityUnfinished,
    NotAllowed,
    WrongResource,
)
from identity_service.identity import Identity, State
from identity_service.policies import TokenGrant, TokenPolicy
from tests.support.memory import FOREIGN, UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import HOUR, SECOND, World, refusal


async def test_token(world: World) -> None:
    """The token is valid, belongs to the identity, and has the requested scopes and lifetime."""
    identity_id = await world.active()
    issued = await world.issue(identity_id, minutes=90)

    assert (issued.id, world.acs.issued_for) == (identity_id, [identity_id])
    assert (world.acs.is_valid(issued.token), world.acs.grants) == (
        True,
        [TokenGrant(("chat",), 90)],
    )
    assert issued.expires_on == START + timedelta(minutes=90)
    assert issued.refresh_after == START + timedelta(minutes=80)


async def test_policy_of_services(world: World) -> None:
    """A token that the policy for services does not allow is not requested."""
    world.service_tokens = TokenPolicy(("chat",), default_minutes=60, max_minutes=89)
    identity_id = world.acs.add()

    assert await refusal(world.issue(identity_id, minutes=90)) is NotAllowed

    assert world.acs.calls == []


async def test_identity_created_elsewhere(world: World) -> None:
    """An identity that was created elsewhere gets a token, at one call to ACS and one read."""
    identity_id = world.acs.add()
    issued = await world.issue(identity_id)

    assert world.acs.is_valid(issued.token)
    assert (world.acs.calls, world.registry.calls) == (["issue_token"], ["read"])


async def test_existing_tokens_stay_valid(world: World) -> None:
    """A new token does not revoke existing ones."""
    identity_id = await world.active()
    first = await world.issue(identity_id)
    await world.issue(identity_id)

    assert world.acs.is_valid(first.token)


@pytest.mark.parametrize("identity_id", [UNKNOWN, FOREIGN])
async def test_unknown_identity(world: World, identity_id: str) -> None:
    """An identity that neither ACS nor the registry knows is not found."""
    assert await refusal(world.issue(identity_id)) is IdentityNotFound


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

    assert await refusal(world.issue(identity_id)) is error


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

    assert await refusal(world.issue(UNKNOWN)) is error


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (State.ACTIVE, WrongResource),
        (State.REGISTERING, IdentityNotFound),
        (State.CREATING, IdentityUnfinished),
        (State.SUSPENDED, IdentitySuspended),
        (State.DELETED, IdentityDeleted),
        (State.PURGING, IdentityDeleted),
    ],
)
async def test_identity_of_another_resource(
    world: World, state: State, error: type[Exception]
) -> None:
    """A registered identity of another resource is not missing: the app uses the wrong one."""
    await world.registry.insert(Identity(id=FOREIGN, state=state))

    assert await refusal(world.issue(FOREIGN)) is error


@pytest.mark.parametrize("start", ["deleted", "unrevoked"])
async def test_deleted_identity(world: World, start: str) -> None:
    """A deleted identity, revoked or not, gets no token. The error says how to restore it."""
    identity_id = await getattr(world, start)()

    with pytest.raises(IdentityDeleted, match=f"POST deleted-identities/{identity_id}/restore"):
        await world.issue(identity_id)


@pytest.mark.parametrize("mark", ["delete", "suspend"])
async def test_returned_just_before_the_mark(world: World, mark: str) -> None:
    """A token that is returned just before the mark is written is revoked afterwards."""
    identity_id = await world.active()
    tokens = []

    async def issue() -> None:
        tokens.append((await world.issue(identity_id)).token)

    world.registry.precede("update", issue)
    await getattr(world, mark)(identity_id)

    assert [world.acs.is_valid(token) for token in tokens] == [False]


@pytest.mark.parametrize(
    ("mark", "error"), [("delete", IdentityDeleted), ("suspend", IdentitySuspended)]
)
async def test_requested_after_the_revocation(
    world: World, mark: str, error: type[Exception]
) -> None:
    """A token that is created after the revocation that follows a mark is not returned."""
    identity_id = await world.active()
    outcomes = []

    async def issue() -> None:
        outcomes.append(await refusal(world.issue(identity_id)))

    world.registry.passes("update")
    world.registry.precede("update", issue)
    await getattr(world, mark)(identity_id)

    assert outcomes == [error]
