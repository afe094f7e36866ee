"""create_identity_with_token: the token is handed out only when the identity is there to stay."""

import asyncio

from identity_service.errors import AcsUnavailable, IdentityDeleted, RegistryUnavailable
from identity_service.model import IssuedToken
from identity_service.operations.create_identity_with_token import IdentityWithTokenCreated
from identity_service.rows import State
from tests.operations.world import ACS_IS_DOWN, TABLE_IS_DOWN, World, refusal


async def test_new_identity_comes_with_a_token(world: World) -> None:
    """ACS is called once, and the token is of the new identity."""
    created = await world.create_with_token()

    assert (type(created), [created.id]) == (IdentityWithTokenCreated, world.acs.identities)
    assert world.acs.is_alive(created.token)
    assert world.acs.calls == ["create_with_token"]


async def test_new_identity_is_active(world: World) -> None:
    """As with create_identity."""
    created = await world.create_with_token("alice")

    assert world.row(created.id).state is State.ACTIVE
    assert world.claims() == {"alice": created.id}


async def test_creating_in_acs_is_never_repeated(world: World) -> None:
    """Each attempt makes another identity."""
    world.acs.loses("create_with_token", ACS_IS_DOWN)

    assert await refusal(world.create_with_token()) is AcsUnavailable

    assert world.acs.calls == ["create_with_token"]


async def test_token_is_dropped_when_the_activation_is_unknown(world: World) -> None:
    """The last write is the read of the mark: without its answer no token comes out."""
    world.registry.loses("update", TABLE_IS_DOWN)

    assert await refusal(world.create_with_token()) is RegistryUnavailable


async def test_token_is_dropped_with_an_identity_that_is_given_back(world: World) -> None:
    """ACS deletes the identity, and its token with it."""
    world.registry.fails("insert", TABLE_IS_DOWN)

    assert await refusal(world.create_with_token()) is RegistryUnavailable

    assert world.acs.identities == []


async def test_token_is_dropped_when_the_identity_is_deleted_meanwhile(world: World) -> None:
    """Helped and deleted between the mint and the last step."""

    async def help_and_delete() -> None:
        found = await world.create("alice")
        await world.delete(found.id)

    world.registry.meets("update", help_and_delete)

    assert await refusal(world.create_with_token("alice")) is IdentityDeleted


async def test_creation_that_somebody_helped_hands_out_its_token(world: World) -> None:
    """The row is active: the token counts, and the identity is new."""
    world.registry.meets("update", lambda: world.create("alice"))

    created = await world.create_with_token("alice")

    assert type(created) is IdentityWithTokenCreated
    assert world.acs.is_alive(created.token)


async def test_user_who_has_an_identity_gets_a_fresh_token_of_it(world: World) -> None:
    """No second identity is made for it."""
    identity_id = await world.active("alice")

    issued = await world.create_with_token("alice")

    assert (type(issued), issued.id) == (IssuedToken, identity_id)
    assert world.acs.is_alive(issued.token)
    assert world.acs.identities == [identity_id]


async def test_fresh_token_of_an_identity_deleted_meanwhile_is_dropped(world: World) -> None:
    """Handing it out takes the steps of issue_token: the mark is read after the mint."""
    identity_id = await world.active("alice")
    world.registry.passes("read")
    world.registry.meets("read", lambda: world.delete(identity_id))

    assert await refusal(world.create_with_token("alice")) is IdentityDeleted


async def test_user_whose_identity_is_deleted_gets_no_token(world: World) -> None:
    """ACS is not even asked for one."""
    await world.deleted("alice")

    assert await refusal(world.create_with_token("alice")) is IdentityDeleted

    assert world.acs.asked_for == []


async def test_user_whose_identity_is_half_made_gets_a_token_of_it(world: World) -> None:
    """It is helped along first."""
    identity_id = await world.creating("alice")

    issued = await world.create_with_token("alice")

    assert issued.id == identity_id
    assert world.acs.is_alive(issued.token)


async def test_fifty_at_once_get_living_tokens_of_one_identity(world: World) -> None:
    """The losers' own tokens are dropped with their identities."""
    answers = await asyncio.gather(*(world.create_with_token("alice") for _ in range(50)))

    [kept] = world.acs.identities
    assert {answer.id for answer in answers} == {kept}
    assert all(world.acs.is_alive(answer.token) for answer in answers)


async def test_of_fifty_at_once_one_is_told_that_it_is_new(world: World) -> None:
    """One 201, and 200 for all others."""
    answers = await asyncio.gather(*(world.create_with_token("alice") for _ in range(50)))

    assert sum(isinstance(answer, IdentityWithTokenCreated) for answer in answers) == 1
