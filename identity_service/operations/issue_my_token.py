"""Give a signed-in user an access token of their own."""

from msgspec import UNSET, UnsetType

from identity_service.model import (
    IssuedToken,
    Minutes,
    Request,
    Scopes,
    TokenPolicy,
    check_each_once,
)
from identity_service.operations.minting import mint_with_identity
from identity_service.operations.own import told_how_to_restore
from identity_service.ports import Acs, Clock, Registry
from identity_service.principal import Caller


class IssueMyToken(Request):
    """What the token may do, and for how long; the policy says what is left out."""

    scopes: Scopes | UnsetType = UNSET
    expires_in_minutes: Minutes | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.scopes is not UNSET:
            check_each_once(self.scopes)


async def issue_my_token(
    caller: Caller,
    body: IssueMyToken,
    acs: Acs,
    registry: Registry,
    clock: Clock,
    user_tokens: TokenPolicy,
) -> IssuedToken:
    """Find or make the caller's identity and issue a token: one call from sign-in to token.

    Raises:
        IdentityNotFound: the caller's identity went away meanwhile.
        IdentityDeleted: it is deleted: restore it.
        IdentityUnfinished: it is still being created.
        IdentityBusy: it is being purged, or others are faster all the time.
    """
    scopes = list(user_tokens.scopes) if body.scopes is UNSET else body.scopes
    asked = None if body.expires_in_minutes is UNSET else int(body.expires_in_minutes)
    minutes = user_tokens.grant(scopes, asked)
    with told_how_to_restore():
        made, token = await mint_with_identity(
            caller.user_id, scopes, minutes, acs, registry, clock
        )
    return IssuedToken.of(made.id, token)
