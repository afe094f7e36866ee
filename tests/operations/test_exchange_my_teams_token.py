"""exchange_my_teams_token: the app comes from the settings, the user from the sign-in."""

import pytest

from identity_service.errors import NotAllowed
from identity_service.operations.me import exchange_my_teams_token
from identity_service.schemas import ExchangeMyTeamsTokenRequest
from tests.support.world import ALICE, BOB, OBJECT_ID, World

APP_ID = "00000000-0000-4000-8000-000000000001"
REQUEST = ExchangeMyTeamsTokenRequest(token="entra-token")


async def test_exchange(world: World) -> None:
    """The token is exchanged for the app in the settings and the user who is signed in."""
    exchanged = await exchange_my_teams_token(ALICE, REQUEST, world.acs, world.registry, APP_ID)

    assert world.acs.exchanges == [("entra-token", APP_ID, OBJECT_ID)]
    assert world.acs.is_valid(exchanged.token)


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
