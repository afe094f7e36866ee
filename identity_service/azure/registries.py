"""The ports `Registry` and `AccessRegistry` on one table of Azure Table Storage.

A row and its due entry share a partition and change in one entity group transaction.
"""

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Any

from azure.core import MatchConditions
from azure.data.tables import UpdateMode

from identity_service.azure.table import ROW_NOT_FOUND, Table
from identity_service.azure.table_codec import (
    ACCESS,
    ACCESS_DUE,
    RESOURCE_KEY,
    SWEEP_KEY,
    access_key,
    decode_access,
    decode_access_due,
    decode_due_entry,
    decode_identity,
    decode_resource,
    decode_sweep,
    decode_user,
    due_changes,
    encode_access,
    encode_identity,
    encode_resource,
    encode_user,
    identity_key,
    keys_of,
    partition,
    user_key,
)
from identity_service.azure.transport import not_sent_after
from identity_service.identity import (
    DueEntry,
    DueKind,
    Identity,
    Page,
    State,
    SweepRecord,
    UserRow,
    timestamp,
)
from identity_service.ports import Conflict
from identity_service.teams_access import Access, AccessDue, AccessState


class TableRegistry(Table):
    """Implements `ports.Registry`."""

    async def read(self, identity_id: str) -> Identity | None:
        """See `ports.Registry`."""
        key = partition(identity_id), identity_key(identity_id)
        return await self._read(*key, decode_identity)

    async def insert(self, identity: Identity) -> Identity:
        """See `ports.Registry`."""
        change = ("create", encode_identity(identity))
        return await self._write(identity, change, *due_changes(None, identity))

    async def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """See `ports.Registry`."""
        options = {"mode": UpdateMode.REPLACE, **_if_match(old.etag)}
        change = ("update", encode_identity(new), options)
        return await self._write(new, change, *due_changes(old, new), if_awaited=if_awaited)

    async def remove(self, identity: Identity) -> None:
        """See `ports.Registry`."""
        try:
            await self._remove(identity)
        except Conflict as conflict:
            if str(conflict) not in ROW_NOT_FOUND or not identity.due:
                raise
            # A release that does not know the kinds may have erased the kind from the row.
            entry = DueEntry(identity.due, identity.id, DueKind.PURGE)
            await self._remove(identity.found_at(entry) or identity)

    async def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        key = partition(user_id), user_key(user_id)
        return await self._read(*key, lambda *row: decode_user(user_id, *row))

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""
        await self._send_batch(("create", encode_user(user_id, identity_id)))

    async def replace_user(self, row: UserRow, identity_id: str) -> None:
        """See `ports.Registry`."""
        entity = encode_user(row.user_id, identity_id)
        options = {"mode": UpdateMode.MERGE, **_if_match(row.etag)}  # keeps unknown columns
        await self._send_batch(("update", entity, options))

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`."""
        entity = encode_user(row.user_id, row.identity_id)
        try:
            await self._send_batch(("delete", entity, _if_match(row.etag)))
        except Conflict as conflict:
            if str(conflict) not in ROW_NOT_FOUND:  # a row that is gone is what the caller wants
                raise

    async def read_resource(self) -> str | None:
        """See `ports.Registry`."""
        return await self._read(*RESOURCE_KEY, decode_resource)

    async def record_resource(self, resource: str) -> None:
        """See `ports.Registry`."""
        await self._send_batch(("create", encode_resource(resource)))

    async def due_entries(
        self,
        kinds: Collection[DueKind] = tuple(DueKind),
        *,
        after: DueEntry | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DueEntry]:
        """See `ports.Registry`. Merges the kinds."""
        first = after.position if after else ""
        last = f"{timestamp(until)}~" if until else "~"
        ranges = [(f"{kind}|{first}", f"{kind}|{last}") for kind in kinds]
        async for entry in self._in_order(ranges, decode_due_entry):
            yield entry

    async def count_due(self, kind: DueKind, *, until: datetime, at_most: int) -> int:
        """See `ports.Registry`."""
        return await self._count(f"{kind}|", f"{kind}|{timestamp(until)}~", at_most)

    async def list_identities(
        self,
        states: Collection[State],
        continuation: str | None,
        size: int,
        *,
        min_attempts: int = 0,
    ) -> Page[Identity]:
        """See `ports.Registry`."""
        conditions = []
        if set(states) != set(State):
            conditions.append(f"({_in_states(states)})")
        if min_attempts:
            conditions.append(f"attempts ge {min_attempts}")
        return await self._list(("i|", "i}"), conditions, continuation, size, decode_identity)

    async def read_sweep(self) -> SweepRecord:
        """See `ports.Registry`."""
        return await self._read(*SWEEP_KEY, decode_sweep) or SweepRecord()

    async def record_sweep_start(self, now: datetime) -> None:
        """See `ports.Registry`."""
        await self._record_sweep({"lastStartedOn": timestamp(now)})

    async def record_sweep_end(self, now: datetime) -> None:
        """See `ports.Registry`."""
        await self._record_sweep({"lastCompletedOn": timestamp(now)})

    async def _record_sweep(self, columns: dict[str, Any]) -> None:
        """Write these columns and keep all others."""
        await self._send_batch(
            ("upsert", keys_of(*SWEEP_KEY) | columns, {"mode": UpdateMode.MERGE})
        )

    async def _remove(self, identity: Identity) -> None:
        change = ("delete", encode_identity(identity), _if_match(identity.etag))
        await self._write(identity, change, *due_changes(identity, None))


class TableAccessRegistry(Table):
    """Implements `ports.AccessRegistry`, in the same table."""

    async def read(self, tenant_id: str, object_id: str) -> Access | None:
        """See `ports.AccessRegistry`."""
        return await self._read(*access_key(tenant_id, object_id), decode_access)

    async def insert(self, access: Access, *, not_after: datetime) -> Access:
        """See `ports.AccessRegistry`."""
        with not_sent_after(not_after):
            change = ("create", encode_access(access))
            return await self._write(access, change, *due_changes(None, access))

    async def update(self, old: Access, new: Access) -> Access:
        """See `ports.AccessRegistry`."""
        options = {"mode": UpdateMode.REPLACE, **_if_match(old.etag)}
        change = ("update", encode_access(new), options)
        return await self._write(new, change, *due_changes(old, new))

    async def remove(self, access: Access) -> None:
        """See `ports.AccessRegistry`."""
        change = ("delete", encode_access(access), _if_match(access.etag))
        await self._write(access, change, *due_changes(access, None))

    async def due(self, until: datetime) -> AsyncIterator[AccessDue]:
        """See `ports.AccessRegistry`."""
        entries = (ACCESS_DUE, f"{ACCESS_DUE}{timestamp(until)}~")
        async for entry in self._in_order([entries], decode_access_due):
            yield entry

    async def list(
        self,
        tenant_id: str | None,
        states: Collection[AccessState],
        continuation: str | None,
        size: int,
    ) -> Page[Access]:
        """See `ports.AccessRegistry`."""
        prefix = f"{ACCESS}{tenant_id}|" if tenant_id else ACCESS
        rows = (prefix, f"{prefix[:-1]}}}")  # } follows |
        conditions = [] if set(states) == set(AccessState) else [f"({_in_states(states)})"]
        return await self._list(rows, conditions, continuation, size, decode_access)


def _in_states(states: Collection[State] | Collection[AccessState]) -> str:
    """The condition for rows in one of the states. A row that is not readable has any other one."""
    terms = [f"state eq '{state}'" for state in states if state != "unknown"]
    terms += [
        " and ".join(f"state ne '{other}'" for other in type(state))
        for state in states
        if state == "unknown"
    ]
    return " or ".join(f"({term})" for term in terms)


def _if_match(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}
