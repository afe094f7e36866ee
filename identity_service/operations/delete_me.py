"""Delete a signed-in user's identity, so that it can be restored until it is purged."""

from identity_service.model import DeletionPolicy
from identity_service.operations.delete_identity import Deletion, delete_identity
from identity_service.operations.own import own_identity_id
from identity_service.ports import Acs, Clock, Registry
from identity_service.principal import Caller


async def delete_me(
    caller: Caller, acs: Acs, registry: Registry, clock: Clock, deletion: DeletionPolicy
) -> Deletion:
    """Delete the caller's identity.

    Raises:
        IdentityNotFound: the caller has none yet, or it is being purged.
        IdentityBusy: others are faster all the time.
    """
    identity_id = await own_identity_id(caller, registry)
    return await delete_identity(identity_id, acs, registry, clock, deletion, registered_only=True)
