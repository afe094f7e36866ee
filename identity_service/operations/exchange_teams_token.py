"""Exchange a Teams user's Entra token for an ACS access token."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from identity_service.model import Answer, Request
from identity_service.ports import Acs

Guid = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        max_length=36,
        description="a GUID",
    ),
]


class ExchangeTeamsToken(Request):
    """The Entra token, and for which app and which user it was made."""

    token: Annotated[str, Meta(min_length=1, description="the Teams user's Entra access token")]
    app_id: Guid
    user_id: Guid


class TeamsToken(Answer):
    """An access token that acts as the Teams user."""

    token: str
    expires_on: datetime
    refresh_after: datetime


async def exchange_teams_token(body: ExchangeTeamsToken, acs: Acs) -> TeamsToken:
    """Exchange the token of a Teams user; the new one lives as long as the old one."""
    issued = await acs.exchange_teams_token(body.token, body.app_id, body.user_id)
    return TeamsToken(
        token=issued.token, expires_on=issued.expires_on, refresh_after=issued.refresh_after
    )
