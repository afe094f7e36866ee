"""Get a deleted identity."""

from datetime import datetime
from typing import Self

from identity_service.errors import IdentityNotFound
from identity_service.model import Answer
from identity_service.ports import Registry
from identity_service.rows import IdentityRow, State


class DeletedIdentity(Answer):
    """An identity on its way out: deleted, or being purged.

    Attributes:
        attempts: Failed attempts of the sweep in a row, the last one for `last_error`.
    """

    id: str
    state: State
    user_id: str | None = None
    created_on: datetime | None = None
    deleted_on: datetime | None = None
    scheduled_purge_on: datetime | None = None
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
    """What the registry knows of a deleted identity."""
    row = await registry.read(identity_id)
    if row is None or row.state not in (State.DELETED, State.PURGING):
        raise IdentityNotFound("There is no such deleted identity.")
    return DeletedIdentity.of(row)
