"""Issue an access token for an identity."""

from identity_service.model import IssuedToken, TokenRequest
from identity_service.ports import Acs


class IssueToken(TokenRequest):
    """What the token may do, and for how long."""


async def issue_token(identity_id: str, body: IssueToken, acs: Acs) -> IssuedToken:
    """Issue a token; asking again before the old one expires is how a token is refreshed."""
    return IssuedToken.of(
        identity_id, await acs.issue_token(identity_id, body.scopes, body.minutes)
    )
