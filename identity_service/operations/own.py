"""The signed-in user's own identity: no operation of theirs ever takes an id."""

from identity_service.errors import IdentityNotFound
from identity_service.ports import Registry
from identity_service.principal import Caller


async def own_identity_id(caller: Caller, registry: Registry) -> str:
    """The id of the caller's identity, whatever its state.

    Raises:
        IdentityNotFound: the caller has none yet.
    """
    claim = await registry.read_user(caller.user_id)
    if claim is None:
        raise IdentityNotFound("You have no identity yet: POST me/tokens makes one.")
    return claim.identity_id
