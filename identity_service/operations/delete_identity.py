"""Delete an identity, so that it can be restored until it is purged."""

from typing import ClassVar, Self

from identity_service.errors import IdentityNotFound
from identity_service.model import Answer, DeletionPolicy, IdentityId, Instant
from identity_service.operations.steps import in_rounds, record_revocation, revoke
from identity_service.ports import Acs, Clock, Registry
from identity_service.rows import IdentityRow, State


class Deletion(Answer):
    """Deleted: no token comes out any more, and those there were are revoked."""

    status: ClassVar[int] = 202

    id: IdentityId
    deleted_on: Instant
    scheduled_purge_on: Instant

    @classmethod
    def of(cls, row: IdentityRow) -> Self:
        """The deletion that the row tells of."""
        assert row.deleted_on  # noqa: S101 -- every deleted row has it
        assert row.scheduled_purge_on  # noqa: S101 -- the same
        return cls(id=row.id, deleted_on=row.deleted_on, scheduled_purge_on=row.scheduled_purge_on)


async def delete_identity(
    identity_id: str,
    acs: Acs,
    registry: Registry,
    clock: Clock,
    deletion: DeletionPolicy,
    registered_only: bool,
) -> Deletion:
    """Mark it as deleted, then revoke its tokens. Deleting again finishes what was begun.

    Raises:
        IdentityNotFound: ACS has no such identity, or it is being purged.
        IdentityBusy: others are faster all the time.
    """
    mine: IdentityRow | None = None

    async def decide() -> Deletion:
        nonlocal mine
        row = await registry.read(identity_id)  # 1
        if mine and (row is None or row.deleted_on != mine.deleted_on):
            return Deletion.of(mine)  # restored, purged or deleted anew since our revocation
        if row and row.state in (State.CREATING, State.PURGING):
            raise IdentityNotFound("There is no such identity any more.")
        if row and row.state is State.DELETED and row.revoked:
            return Deletion.of(row)
        marked = row if row and row.state is State.DELETED else await mark(row)  # 2
        await revoke(marked, acs, registry)  # 3
        mine = marked
        return Deletion.of(await record_revocation(marked, registry))  # 4, 5

    async def mark(row: IdentityRow | None) -> IdentityRow:
        now = clock.now()
        if row:
            return await registry.update(row, row.deleted(now, deletion.retention))
        if registered_only:
            raise IdentityNotFound("The registry has no such identity.")
        born = IdentityRow(id=identity_id, state=State.ACTIVE, adopted=True)
        return await registry.insert(born.deleted(now, deletion.retention))

    return await in_rounds(decide)
