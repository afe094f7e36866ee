"""Create an identity and its first access token in one call."""

from typing import ClassVar

from msgspec import UNSET, UnsetType

from identity_service.model import IssuedToken, TokenPolicy, TokenRequest, UserId
from identity_service.operations.minting import mint_with_identity
from identity_service.ports import Acs, Clock, Registry


class CreateIdentityWithToken(TokenRequest):
    """What the first token may do, for how long, and for whom, if for anybody in particular."""

    user_id: UserId | UnsetType = UNSET


class IdentityWithTokenCreated(IssuedToken):
    """The new identity and its first token."""

    status: ClassVar[int] = 201


async def create_identity_with_token(
    body: CreateIdentityWithToken,
    acs: Acs,
    registry: Registry,
    clock: Clock,
    service_tokens: TokenPolicy,
) -> IdentityWithTokenCreated | IssuedToken:
    """Create an identity with its first token; a user who has one gets a fresh token for it.

    Raises:
        IdentityNotFound: the user's identity went away meanwhile.
        IdentityDeleted: the user's identity is deleted: restore it.
        IdentityUnfinished: the user's identity is still being created.
        IdentityBusy: the user's identity is being purged, or others are faster all the time.
    """
    minutes = service_tokens.grant(body.scopes, body.minutes)
    user_id = None if body.user_id is UNSET else body.user_id
    made, token = await mint_with_identity(user_id, body.scopes, minutes, acs, registry, clock)
    answer = IdentityWithTokenCreated if made.is_new else IssuedToken
    return answer.of(made.id, token)
