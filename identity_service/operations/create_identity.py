"""Create an identity."""

from typing import ClassVar

from msgspec import UNSET, UnsetType

from identity_service.model import AccessToken, Answer, IdentityId, Request, UserId
from identity_service.operations.creation import Creation
from identity_service.ports import Acs, Clock, Registry


class CreateIdentity(Request):
    """For whom the identity is, if for anybody in particular."""

    user_id: UserId | UnsetType = UNSET

    @property
    def user(self) -> str | None:
        """The user, if any."""
        return None if self.user_id is UNSET else self.user_id


class IdentityFound(Answer):
    """The identity that the user has already."""

    id: IdentityId


class IdentityCreated(IdentityFound):
    """The new identity."""

    status: ClassVar[int] = 201


async def create_identity(
    body: CreateIdentity, acs: Acs, registry: Registry, clock: Clock
) -> IdentityCreated | IdentityFound:
    """Create an identity. A user has one: asked again, it is found.

    Raises:
        IdentityDeleted: the user's identity is deleted: restore it.
        IdentityBusy: the user's identity is being purged, or others are faster all the time.
    """

    async def maker() -> tuple[str, AccessToken | None]:
        return await acs.create(), None

    made = await Creation(acs, registry, clock).make(maker, body.user)
    return IdentityCreated(id=made.id) if made.is_new else IdentityFound(id=made.id)
