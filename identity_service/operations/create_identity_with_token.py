"""Create an identity and its first access token in one call."""

from typing import ClassVar

from msgspec import UNSET, UnsetType

from identity_service.model import AccessToken, IssuedToken, TokenRequest, UserId
from identity_service.operations.creation import Creation
from identity_service.operations.issue_token import issue_token
from identity_service.ports import Acs, Clock, Registry


class CreateIdentityWithToken(TokenRequest):
    """What the first token may do, for how long, and for whom, if for anybody in particular."""

    user_id: UserId | UnsetType = UNSET


class IdentityWithTokenCreated(IssuedToken):
    """The new identity and its first token."""

    status: ClassVar[int] = 201


async def create_identity_with_token(
    body: CreateIdentityWithToken, acs: Acs, registry: Registry, clock: Clock
) -> IssuedToken:
    """Create an identity with its first token; a user who has one gets a fresh token for it."""

    async def maker() -> tuple[str, AccessToken | None]:
        return await acs.create_with_token(body.scopes, body.minutes)

    user_id = None if body.user_id is UNSET else body.user_id
    made = await Creation(acs, registry, clock).make(maker, user_id)
    if made.token:
        return IdentityWithTokenCreated.of(made.id, made.token)
    return await issue_token(made.id, body, acs, registry)
