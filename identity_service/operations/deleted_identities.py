"""Operations on deleted identities: get, list, restore, purge."""

import asyncio

from msgspec import UNSET

from identity_service.errors import IdentityNotFound, InvalidQuery
from identity_service.identity import DueEntry, Identity, Page, State, is_identity_id
from identity_service.lifecycle import Lifecycle, identity_of_user
from identity_service.policies import CleanupPolicy, DeletionPolicy
from identity_service.ports import Registry
from identity_service.schemas import (
    DeletedIdentityResponse,
    IdentityResponse,
    ListDeletedIdentitiesQuery,
)

_DELETED = (State.DELETED, State.PURGING)
# Rows that a list reads at once. With more, a read could wait so long for the others that the
# registry seems not to respond.
READS = 50
# Seconds after which a list ends its page, so that a large one arrives in time on a busy instance.
LONGEST = 4.0


async def get_deleted_identity(identity_id: str, registry: Registry) -> DeletedIdentityResponse:
    """Get a deleted identity from the registry.

    Raises:
        IdentityNotFound: the registry has no such identity, or it is not deleted.
    """
    identity = await registry.read(identity_id)
    if identity is None or not _is_deleted(identity):
        raise IdentityNotFound("There is no such deleted identity.")
    return DeletedIdentityResponse.of(identity)


async def list_deleted_identities(
    query: ListDeletedIdentitiesQuery, registry: Registry, cleanup: CleanupPolicy
) -> Page[DeletedIdentityResponse]:
    """List the deleted identities in the order of their purge.

    A page covers a number of due entries. Entries of identities that are not deleted, or not by
    `deletedBy`, are left out, and a page whose rows are read slowly is short.
    """
    if query.user_id is not UNSET:
        identity = await identity_of_user(query.user_id, registry)
        found = [identity] if identity and _is_deleted(identity) else []
        if query.stuck:
            found = [one for one in found if one.attempts >= cleanup.max_attempts]
        return Page(_matching(found, query))
    if query.stuck:
        page = await registry.list_identities(
            _DELETED, query.after, query.max_page_size, min_attempts=cleanup.max_attempts
        )
        return Page(_matching(page.items, query), page.continuation)
    loop = asyncio.get_running_loop()
    ends = loop.time() + LONGEST
    items: list[Identity] = []
    batch: list[DueEntry] = []
    covered = 0
    async for entry in registry.due_entries(after=_position(query.after)):
        covered += 1
        batch.append(entry)
        if len(batch) == READS or covered == query.max_page_size:
            items += await _deleted(batch, registry)
            if covered == query.max_page_size or loop.time() >= ends:
                return Page(_matching(items, query), entry.position)
            batch = []
    return Page(_matching(items + await _deleted(batch, registry), query))


def _matching(
    identities: list[Identity], query: ListDeletedIdentitiesQuery
) -> list[DeletedIdentityResponse]:
    """The responses for those that the query asks for."""
    responses = [DeletedIdentityResponse.of(identity) for identity in identities]
    return [one for one in responses if query.deleted_by in (UNSET, one.deleted_by)]


async def _deleted(entries: list[DueEntry], registry: Registry) -> list[Identity]:
    """The identities of these due entries that are deleted."""
    identities = await asyncio.gather(*(registry.read(entry.identity_id) for entry in entries))
    return [
        identity
        for identity, entry in zip(identities, entries, strict=True)
        # An identity that was postponed in the meantime is listed later, at its new time.
        if identity and identity.due == entry.due and _is_deleted(identity)
    ]


def _is_deleted(identity: Identity) -> bool:
    return identity.state in _DELETED


def _position(continuation: str | None) -> DueEntry | None:
    if not continuation:
        return None
    try:
        entry = DueEntry.at(continuation)
    except ValueError as error:
        raise InvalidQuery.continuation() from error
    if entry.position != continuation or not is_identity_id(entry.identity_id):
        raise InvalidQuery.continuation()
    return entry


async def restore_identity(identity_id: str, lifecycle: Lifecycle) -> IdentityResponse:
    """Restore a deleted identity to what it was: active or suspended. Its tokens stay revoked.

    Raises:
        IdentityNotFound: there is no such deleted identity, or it is being purged.
        IdentityBusy: other requests are changing the identity. Retry the request.
    """
    return IdentityResponse.of(await lifecycle.restore(identity_id))


async def purge_identity(identity_id: str, lifecycle: Lifecycle, deletion: DeletionPolicy) -> None:
    """Purge a deleted identity now. ACS deletes it with its data. This cannot be undone.

    Raises:
        PurgeProtected: the settings do not allow it.
        IdentityNotFound: there is no such deleted identity.
        IdentityNotDeleted: it is not deleted: delete it first.
        IdentityBusy: other requests are changing the identity. Retry the request.
    """
    await lifecycle.purge(identity_id, deletion)
