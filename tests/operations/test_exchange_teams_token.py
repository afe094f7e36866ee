"""exchange_teams_token: ACS decides."""

from datetime import timedelta

from identity_service.operations.tokens import exchange_teams_token
from identity_service.schemas import ExchangeTeamsTokenRequest
from tests.support.virtual_time import START
from tests.support.world import World

APP_ID = "11111111-2222-3333-4444-555555555555"
USER_ID = "66666666-7777-8888-9999-000000000000"
REQUEST = ExchangeTeamsTokenRequest(token="entra-token", app_id=APP_ID, user_id=USER_ID)


async def test_exchange(world: World) -> None:
    """The Entra token is exchanged for a valid one, with the app and the user of the request."""
    exchanged = await exchange_teams_token(REQUEST, world.acs)

    assert world.acs.exchanges == [("entra-token", APP_ID, USER_ID)]
    assert world.acs.is_valid(exchanged.token)
    assert exchanged.expires_on == START + timedelta(minutes=60)
    assert exchanged.refresh_after == START + timedelta(minutes=50)
