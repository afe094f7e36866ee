"""List the deleted identities in the order of their purge."""

import asyncio
from typing import Annotated

from msgspec import Meta

from identity_service.errors import InvalidQuery
from identity_service.model import CleanupPolicy, Listing, PageQuery
from identity_service.operations.get_deleted_identity import DeletedIdentity
from identity_service.ports import Registry
from identity_service.rows import AgendaRow, IdentityRow, State


class ListDeletedIdentities(PageQuery):
    """Which ones.

    Attributes:
        stuck: Whether to list only those that the sweep is stuck with.
    """

    stuck: Annotated[bool, Meta(description="true or false")] = False


async def list_deleted_identities(
    query: ListDeletedIdentities, registry: Registry, cleanup: CleanupPolicy
) -> Listing[DeletedIdentity]:
    """A page of the deleted identities: so many entries of the agenda, less what is not deleted."""
    entries: list[AgendaRow] = []
    async for entry in registry.agenda(after=_position(query.after)):
        entries.append(entry)
        if len(entries) == query.size:
            break
    rows = await asyncio.gather(*(registry.read(entry.identity_id) for entry in entries))
    at_least = cleanup.max_attempts if query.stuck else 0
    return Listing(
        value=[
            DeletedIdentity.of(row)
            for row, entry in zip(rows, entries, strict=True)
            # One that was put off meanwhile stands further behind, and is listed there.
            if row and row.due == entry.due and _wanted(row, at_least)
        ],
        continuation=str(entries[-1]) if len(entries) == query.size else None,
    )


def _wanted(row: IdentityRow, attempts: int) -> bool:
    return row.state in (State.DELETED, State.PURGING) and row.attempts >= attempts


def _position(continuation: str | None) -> AgendaRow | None:
    try:
        return AgendaRow.parse(continuation) if continuation else None
    except ValueError as error:
        raise InvalidQuery.continuation() from error
