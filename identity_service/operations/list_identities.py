"""List the active identities."""

from msgspec import UNSET, UnsetType

from identity_service.model import Identity, Listing, PageQuery, UserId
from identity_service.ports import Registry
from identity_service.rows import State


class ListIdentities(PageQuery):
    """Which ones: all, or a user's."""

    user_id: UserId | UnsetType = UNSET


async def list_identities(query: ListIdentities, registry: Registry) -> Listing[Identity]:
    """A page of the active identities."""
    if query.user_id is not UNSET:
        return Listing(value=await _of_user(query.user_id, registry))
    page = await registry.active(query.after, query.size)
    return Listing(
        value=[
            Identity(id=row.id, user_id=row.user_id, created_on=row.created_on) for row in page.rows
        ],
        continuation=page.continuation,
    )


async def _of_user(user_id: str, registry: Registry) -> list[Identity]:
    claim = await registry.read_user(user_id)
    row = await registry.read(claim.identity_id) if claim else None
    if row is None or row.state is not State.ACTIVE:
        return []
    return [Identity(id=row.id, user_id=row.user_id, created_on=row.created_on)]
