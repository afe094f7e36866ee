"""Sign a user out everywhere."""

from identity_service.operations.own import own_identity_id
from identity_service.ports import Acs, Registry
from identity_service.principal import Caller


async def revoke_my_tokens(caller: Caller, acs: Acs, registry: Registry) -> None:
    """Revoke every access token of the caller's identity.

    Raises:
        IdentityNotFound: the caller has none yet.
    """
    await acs.revoke_tokens(await own_identity_id(caller, registry))
