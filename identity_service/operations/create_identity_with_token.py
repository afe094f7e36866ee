"""Create an identity and its first access token in one call."""

from typing import ClassVar

from identity_service.model import IssuedToken, TokenRequest
from identity_service.ports import Acs


class CreateIdentityWithToken(TokenRequest):
    """What the first token may do, and for how long."""


class IdentityWithTokenCreated(IssuedToken):
    """The new identity and its first token."""

    status: ClassVar[int] = 201


async def create_identity_with_token(
    body: CreateIdentityWithToken, acs: Acs
) -> IdentityWithTokenCreated:
    """Create an identity and issue its first token."""
    identity_id, token = await acs.create_with_token(body.scopes, body.minutes)
    return IdentityWithTokenCreated.of(identity_id, token)
