"""issue_token: ACS creates the token, and the row that is read afterwards decides."""

from datetime import timedelta

import pytest

from identity_service.errors import IdentityDeleted, IdentityNotFound, NotAllowed
from identity_service.policies import TokenGrant, TokenPolicy
from tests.support.memory import UNKNOWN
from tests.support.virtual_time import START
from tests.support.world import World, refusal


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


async def test_unknown_identity(world: World) -> None:
    """For an identity that ACS does not know, the registry is not read."""
    assert await refusal(world.issue(UNKNOWN)) is IdentityNotFound

    assert world.registry.calls == []


@pytest.mark.parametrize("start", ["deleted", "unrevoked"])
async def test_deleted_identity(world: World, start: str) -> None:
    """A deleted identity, revoked or not, gets no token. The error says how to restore it."""
    identity_id = await getattr(world, start)()

    with pytest.raises(IdentityDeleted, match=f"POST deleted-identities/{identity_id}/restore"):
        await world.issue(identity_id)


async def test_returned_just_before_the_mark(world: World) -> None:
    """A token that is returned just before the mark is written is revoked by the deletion."""
    identity_id = await world.active()
    tokens = []

    async def issue() -> None:
        tokens.append((await world.issue(identity_id)).token)

    world.registry.precede("update", issue)
    await world.delete(identity_id)

    assert [world.acs.is_valid(token) for token in tokens] == [False]


async def test_requested_after_the_revocation(world: World) -> None:
    """A token that is created after the revocation of a deletion is not returned."""
    identity_id = await world.active()
    outcomes = []

    async def issue() -> None:
        outcomes.append(await refusal(world.issue(identity_id)))

    world.registry.passes("update")
    world.registry.precede("update", issue)
    await world.delete(identity_id)

    assert outcomes == [IdentityDeleted]
