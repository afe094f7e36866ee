"""Restore a deleted identity."""

from identity_service.errors import IdentityNotFound
from identity_service.model import Identity
from identity_service.operations.steps import in_rounds, revoke
from identity_service.ports import Acs, Registry
from identity_service.rows import State


async def restore_identity(identity_id: str, acs: Acs, registry: Registry) -> Identity:
    """Make it active again. Its old tokens stay revoked; new ones can be issued.

    Raises:
        IdentityNotFound: there is no such deleted identity, or it is being purged already.
        IdentityBusy: others are faster all the time.
    """

    async def decide() -> Identity:
        row = await registry.read(identity_id)  # 1
        if row is None or row.state in (State.CREATING, State.PURGING):
            raise IdentityNotFound("There is no such deleted identity.")
        if row.state is State.DELETED:
            if not row.revoked:
                await revoke(row, acs, registry)  # 2
            row = await registry.update(row, row.active())  # 3
        return Identity(id=row.id, user_id=row.user_id, created_on=row.created_on)

    return await in_rounds(decide)
