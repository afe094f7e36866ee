"""exchange_teams_token: ACS decides."""

from datetime import timedelta

from identity_service.errors import TeamsTokenRefused
from identity_service.operations import exchange_teams_token
from identity_service.operations.exchange_teams_token import ExchangeTeamsToken
from tests.operations.world import World, refusal

TEAMS = ExchangeTeamsToken(
    token="an Entra token",
    app_id="11111111-2222-3333-4444-555555555555",
    user_id="66666666-7777-8888-9999-000000000000",
)


async def test_teams_token_is_exchanged(world: World) -> None:
    """For one that ACS gave, to be refreshed ten minutes before its end."""
    exchanged = await exchange_teams_token(TEAMS, world.acs)

    assert world.acs.is_alive(exchanged.token)
    assert exchanged.expires_on - exchanged.refresh_after == timedelta(minutes=10)


async def test_refused_teams_token_is_told(world: World) -> None:
    """As ACS says it."""
    world.acs.fails("exchange_teams_token", TeamsTokenRefused("as the test wants it"))

    assert await refusal(exchange_teams_token(TEAMS, world.acs)) is TeamsTokenRefused
