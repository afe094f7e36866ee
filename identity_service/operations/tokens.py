"""Operations on access tokens: issue, revoke, exchange."""

from identity_service.lifecycle import Lifecycle
from identity_service.policies import TokenPolicy
from identity_service.ports import Acs
from identity_service.schemas import (
    ExchangeTeamsTokenRequest,
    IssuedTokenResponse,
    IssueTokenRequest,
    TeamsTokenResponse,
)


async def issue_token(
    identity_id: str,
    body: IssueTokenRequest,
    lifecycle: Lifecycle,
    service_tokens: TokenPolicy,
    registered_only: bool,
) -> IssuedTokenResponse:
    """Issue an access token. To refresh a token, issue another one before it expires.

    Raises:
        IdentityNotFound: ACS has no such identity, or it is not registered and the settings require
            it.
        IdentityDeleted: it is deleted: restore it.
        IdentityUnfinished: it is still being created.
    """
    grant = service_tokens.grant(body.scopes, body.minutes)
    token = await lifecycle.issue_token(identity_id, grant, registered_only=registered_only)
    return IssuedTokenResponse.of(identity_id, token)


async def revoke_tokens(identity_id: str, lifecycle: Lifecycle, registered_only: bool) -> None:
    """Revoke all access tokens of an identity. New tokens can be issued afterwards.

    Raises:
        IdentityNotFound: ACS has no such identity, or it is not registered and the settings require
            it.
    """
    await lifecycle.revoke_tokens(identity_id, registered_only=registered_only)


async def exchange_teams_token(body: ExchangeTeamsTokenRequest, acs: Acs) -> TeamsTokenResponse:
    """Exchange a Teams user's Entra token for an ACS access token with the same lifetime.

    Raises:
        TeamsTokenRefused: ACS does not accept the token, or not for this app and this user.
    """
    token = await acs.exchange_teams_token(body.token, body.app_id, body.user_id)
    return TeamsTokenResponse.of(token)
