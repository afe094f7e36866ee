"""Exchange a Teams user's Entra token for an ACS access token."""

from typing import Annotated

from msgspec import Meta

from identity_service.model import AcsToken, Answer, Instant, Request
from identity_service.ports import Acs

Guid = Annotated[
    str,
    Meta(
        pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
        max_length=36,
        description="a GUID",
        examples=["3fa85f64-5717-4562-b3fc-2c963f66afa6"],
    ),
]


class ExchangeTeamsToken(Request):
    """The Entra token, and for which app and which user it was made."""

    token: Annotated[str, Meta(min_length=1, description="the Teams user's Entra access token")]
    app_id: Guid
    user_id: Guid


class TeamsToken(Answer):
    """An access token that acts as the Teams user.

    Attributes:
        refresh_after: From when on to ask for the next one.
    """

    token: AcsToken
    expires_on: Instant
    refresh_after: Instant


async def exchange_teams_token(body: ExchangeTeamsToken, acs: Acs) -> TeamsToken:
    """Exchange the token of a Teams user; the new one lives as long as the old one.

    Raises:
        TeamsTokenRefused: ACS does not accept the token, or not for this app and this user.
    """
    issued = await acs.exchange_teams_token(body.token, body.app_id, body.user_id)
    return TeamsToken(
        token=issued.token, expires_on=issued.expires_on, refresh_after=issued.refresh_after
    )
