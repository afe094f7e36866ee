"""Issue an access token for an identity."""

from identity_service.model import IssuedToken, TokenPolicy, TokenRequest
from identity_service.operations.minting import mint
from identity_service.ports import Acs, Registry


class IssueToken(TokenRequest):
    """What the token may do, and for how long."""


async def issue_token(
    identity_id: str,
    body: IssueToken,
    acs: Acs,
    registry: Registry,
    service_tokens: TokenPolicy,
    registered_only: bool,
) -> IssuedToken:
    """Issue a token; asking again before the old one expires is how a token is refreshed.

    Raises:
        IdentityNotFound: ACS has no such identity.
        IdentityDeleted: it is deleted: restore it.
        IdentityUnfinished: its creation has not been answered yet.
    """
    minutes = service_tokens.grant(body.scopes, body.minutes)
    token = await mint(
        identity_id, body.scopes, minutes, acs, registry, registered_only=registered_only
    )
    return IssuedToken.of(identity_id, token)
