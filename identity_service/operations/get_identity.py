"""Get an active identity."""

from identity_service.errors import DeletedIdentityHidden, IdentityNotFound
from identity_service.model import Identity
from identity_service.ports import Registry
from identity_service.rows import State


async def get_identity(identity_id: str, registry: Registry) -> Identity:
    """What the registry knows of an active identity.

    Raises:
        IdentityNotFound: the registry has no such identity.
        DeletedIdentityHidden: it is found among the deleted ones only.
    """
    row = await registry.read(identity_id)
    if row is None or row.state in (State.CREATING, State.PURGING):
        raise IdentityNotFound("The registry has no such identity.")
    if row.state is State.DELETED:
        raise DeletedIdentityHidden(f"See deleted-identities/{identity_id}.")
    return Identity(id=row.id, user_id=row.user_id, created_on=row.created_on)
