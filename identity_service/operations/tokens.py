"""Operations on the access tokens of an identity: issue, revoke."""

from identity_service.lifecycle import Lifecycle
from identity_service.policies import TokenPolicy
from identity_service.schemas import IssuedTokenResponse, IssueTokenRequest


async def issue_token(
    identity_id: str,
    body: IssueTokenRequest,
    lifecycle: Lifecycle,
    service_tokens: TokenPolicy,
    registered_only: bool,
) -> IssuedTokenResponse:
    """Issue an access token. To refresh a token, issue another one before it expires.

    Raises:
        IdentityNotFound: ACS has no such identity.
        IdentityDeleted: it is deleted: restore it.
        IdentityUnfinished: it is still being created.
    """
    grant = service_tokens.grant(body.scopes, body.minutes)
    token = await lifecycle.issue_token(identity_id, grant, registered_only=registered_only)
    return IssuedTokenResponse.of(identity_id, token)


async def revoke_tokens(identity_id: str, lifecycle: Lifecycle, registered_only: bool) -> None:
    """Revoke all access tokens of an identity. New tokens can be issued afterwards.

    Raises:
        IdentityNotFound: ACS has no such identity.
    """
    await lifecycle.revoke_tokens(identity_id, registered_only=registered_only)
