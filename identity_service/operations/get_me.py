"""Tell a signed-in user what is held about them."""

from identity_service.model import Identity
from identity_service.operations.get_identity import get_identity
from identity_service.operations.own import own_identity_id, told_how_to_restore
from identity_service.ports import Registry
from identity_service.principal import Caller


async def get_me(caller: Caller, registry: Registry) -> Identity:
    """Everything the registry holds about the caller: user id, identity, since when.

    Raises:
        IdentityNotFound: the caller has none yet.
        DeletedIdentityHidden: it is deleted: restore it.
    """
    with told_how_to_restore():
        return await get_identity(await own_identity_id(caller, registry), registry)
