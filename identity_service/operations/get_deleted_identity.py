"""Get a deleted identity."""

from typing import Annotated, Self

from msgspec import Meta

from identity_service.errors import IdentityNotFound
from identity_service.model import Answer, IdentityId, Instant, UserId
from identity_service.ports import Registry
from identity_service.rows import IdentityRow, State


class DeletedIdentity(Answer):
    """An identity on its way out: deleted, or being purged.

    Attributes:
        created_on: When this service made it; absent where somebody else did.
        attempts: Failed attempts of the sweep in a row.
        last_error: The code of the last failure.
    """

    id: IdentityId
    state: Annotated[State, Meta(extra_json_schema={"enum": [State.DELETED, State.PURGING]})]
    user_id: UserId | None = None
    created_on: Instant | None = None
    deleted_on: Instant | None = None
    scheduled_purge_on: Instant | None = None
    attempts: int | None = None
    last_error: str | None = None

    @classmethod
    def of(cls, row: IdentityRow) -> Self:
        """The deleted identity that the row tells of."""
        return cls(
            id=row.id,
            state=row.state,
            user_id=row.user_id,
            created_on=row.created_on,
            deleted_on=row.deleted_on,
            scheduled_purge_on=row.scheduled_purge_on,
            attempts=row.attempts,
            last_error=row.last_error,
        )


async def get_deleted_identity(identity_id: str, registry: Registry) -> DeletedIdentity:
    """What the registry knows of a deleted identity.

    Raises:
        IdentityNotFound: the registry has no such identity, or it is not deleted.
    """
    row = await registry.read(identity_id)
    if row is None or row.state not in (State.DELETED, State.PURGING):
        raise IdentityNotFound("There is no such deleted identity.")
    return DeletedIdentity.of(row)
