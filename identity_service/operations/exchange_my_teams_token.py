"""Exchange a signed-in Teams user's Entra token for an ACS access token."""

from typing import Annotated

from msgspec import Meta

from identity_service.errors import NotAllowed
from identity_service.model import Request
from identity_service.operations.exchange_teams_token import (
    ExchangeTeamsToken,
    TeamsToken,
    exchange_teams_token,
)
from identity_service.ports import Acs
from identity_service.principal import Caller


class ExchangeMyTeamsToken(Request):
    """The Entra token; for whom and for which app it must be is not the caller's to say."""

    token: Annotated[str, Meta(min_length=1, description="your own Entra access token")]


async def exchange_my_teams_token(
    caller: Caller, body: ExchangeMyTeamsToken, acs: Acs, teams_app_id: str
) -> TeamsToken:
    """Exchange the caller's own token.

    The user is the caller's own `oid`, the app the one in the settings: a token of anybody else, or
    made for another app, is refused by ACS.

    Raises:
        NotAllowed: the caller is no user of Entra, or the settings name no app.
        TeamsTokenRefused: ACS does not accept the token, or not for this app and this user.
    """
    if not caller.object_id:
        raise NotAllowed("Only users of Microsoft Entra ID have Teams.")
    if not teams_app_id:
        raise NotAllowed("TEAMS_APP_ID is not set: this service exchanges no users' Teams tokens.")
    wanted = ExchangeTeamsToken(token=body.token, app_id=teams_app_id, user_id=caller.object_id)
    return await exchange_teams_token(wanted, acs)
