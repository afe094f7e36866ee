"""Purge a deleted identity ahead of time."""

from identity_service.errors import IdentityNotDeleted, IdentityNotFound, PurgeProtected
from identity_service.model import DeletionPolicy
from identity_service.operations.steps import claim_purge, finish_purge, in_rounds
from identity_service.ports import Acs, Clock, Registry
from identity_service.rows import State


async def purge_identity(
    identity_id: str, acs: Acs, registry: Registry, clock: Clock, deletion: DeletionPolicy
) -> None:
    """Delete it in ACS, with its data, at once and for ever.

    Raises:
        PurgeProtected: the settings forbid it.
        IdentityNotFound: there is no such deleted identity.
        IdentityNotDeleted: it is active: delete it first.
        IdentityBusy: others are faster all the time.
    """
    if deletion.purge_protection:
        raise PurgeProtected("PURGE_PROTECTION is on: the sweep purges it when it is due.")
    begun = False

    async def decide() -> None:
        nonlocal begun
        row = await registry.read(identity_id)  # 1
        if row is None:
            if begun:
                return  # somebody else finished it
            raise IdentityNotFound("There is no such deleted identity.")
        if row.state in (State.ACTIVE, State.CREATING):
            raise IdentityNotDeleted("Delete it first: DELETE identities/{id}.")
        if row.state is State.DELETED:
            row = await claim_purge(row, registry, clock)  # 2
        begun = True
        await finish_purge(row, acs, registry, clock)  # 3, 4, 5

    await in_rounds(decide)
