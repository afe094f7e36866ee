"""Restore a signed-in user's deleted identity."""

from identity_service.model import Identity
from identity_service.operations.own import own_identity_id
from identity_service.operations.restore_identity import restore_identity
from identity_service.ports import Acs, Registry
from identity_service.principal import Caller


async def restore_me(caller: Caller, acs: Acs, registry: Registry) -> Identity:
    """Make the caller's identity active again.

    Raises:
        IdentityNotFound: the caller has no deleted identity, or it is being purged already.
        IdentityBusy: others are faster all the time.
    """
    return await restore_identity(await own_identity_id(caller, registry), acs, registry)
