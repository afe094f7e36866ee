"""Operations for Teams users."""

from identity_service.ports import Acs
from identity_service.schemas import ExchangeTeamsTokenRequest, TeamsTokenResponse


async def exchange_teams_token(body: ExchangeTeamsTokenRequest, acs: Acs) -> TeamsTokenResponse:
    """Exchange a Teams user's Entra token for an ACS access token with the same lifetime.

    Raises:
        TeamsTokenRefused: ACS does not accept the token, or not for this app and this user.
    """
    return TeamsTokenResponse.of(
        await acs.exchange_teams_token(body.token, body.app_id, body.user_id)
    )
