"""The signed-in user's own identity: no operation of theirs ever takes an id."""

from collections.abc import Iterator
from contextlib import contextmanager

from identity_service.errors import DeletedIdentityHidden, IdentityDeleted, IdentityNotFound
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


@contextmanager
def told_how_to_restore() -> Iterator[None]:
    """Tell callers whose identity is deleted of their own way back, not of that of services."""
    try:
        yield
    except (DeletedIdentityHidden, IdentityDeleted) as error:
        raise type(error)(
            "Your identity is deleted: POST me/restore gives it back until it is purged."
        ) from error
