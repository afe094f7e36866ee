"""exchange_my_teams_token: the app comes from the settings, the user from the sign-in."""

import pytest

from identity_service.errors import IdentitySuspended, NotAllowed, RegistryUnavailable
from identity_service.identity import State
from identity_service.operations.me import exchange_my_teams_token
from identity_service.schemas import ExchangeMyTeamsTokenRequest
from tests.support.world import ALICE, BOB, OBJECT_ID, TABLE_IS_DOWN, World, refusal

APP_ID = "00000000-0000-4000-8000-000000000001"
REQUEST = ExchangeMyTeamsTokenRequest(token="entra-token")


async def test_exchange(world: World) -> None:
    """The token is exchanged for the app in the settings and the user who is signed in."""
    exchanged = await exchange_my_teams_token(ALICE, REQUEST, world.acs, world.registry, APP_ID)

    assert world.acs.exchanges == [("entra-token", APP_ID, OBJECT_ID)]
    assert world.acs.is_valid(exchanged.token)


@pytest.mark.parametrize("start", ["suspended", "suspended, then deleted"])
async def test_suspended_user(world: World, start: str) -> None:
    """A user whose identity is suspended gets no token, also if it is deleted since then."""
    identity_id = await world.suspended(ALICE.user_id)
    if "deleted" in start:
        await world.delete(identity_id)

    with pytest.raises(IdentitySuspended) as caught:
        await exchange_my_teams_token(ALICE, REQUEST, world.acs, world.registry, APP_ID)

    assert caught.value.identity_id == identity_id


async def test_suspended_during_the_call(world: World) -> None:
    """The identity is read after the exchange, so a suspension in between is found."""
    identity_id = await world.active(ALICE.user_id)
    world.acs.precede("exchange_teams_token", lambda: world.suspend(identity_id))

    call = exchange_my_teams_token(ALICE, REQUEST, world.acs, world.registry, APP_ID)
    assert await refusal(call) is IdentitySuspended


@pytest.mark.parametrize("start", ["active", "deleted", "creating", "purging"])
async def test_user_who_is_not_suspended(world: World, start: str) -> None:
    """In any other state of the user's identity, the token is returned."""
    await world.in_state(State(start), ALICE.user_id)
    exchanged = await exchange_my_teams_token(ALICE, REQUEST, world.acs, world.registry, APP_ID)

    assert world.acs.is_valid(exchanged.token)


async def test_registry_is_down(world: World) -> None:
    """If the identity cannot be read, the token is not returned."""
    world.registry.fails("read_user", TABLE_IS_DOWN)

    call = exchange_my_teams_token(ALICE, REQUEST, world.acs, world.registry, APP_ID)
    assert await refusal(call) is RegistryUnavailable


async def test_user_of_another_provider(world: World) -> None:
    """For a user who is not a user of Entra, ACS is not called."""
    with pytest.raises(NotAllowed, match="Entra"):
        await exchange_my_teams_token(BOB, REQUEST, world.acs, world.registry, APP_ID)

    assert world.acs.calls == []


async def test_no_app_in_the_settings(world: World) -> None:
    """Without an app in the settings, ACS is not called. The error names the setting."""
    with pytest.raises(NotAllowed, match="TEAMS_APP_ID"):
        await exchange_my_teams_token(ALICE, REQUEST, world.acs, world.registry, "")

    assert world.acs.calls == []
