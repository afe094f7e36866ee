"""How our rows stand in the table: partitions, keys, columns.

An identity row's key is `i|<id>`, an agenda row's `t|<due>|<id>` (it has no columns), a user row's
`u|<SHA-256 of the user id>`.
"""

import hashlib
from typing import Any

import msgspec

from identity_service.rows import AgendaRow, IdentityRow, UserRow

# Fixed for ever: with another number every row would be looked for elsewhere.
PARTITIONS = 16

Entity = dict[str, Any]
Change = tuple[Any, ...]


def partition(name: str) -> str:
    """The partition of an identity's id or of a user id: the first hex digit of its SHA-256."""
    return f"{int(_digest(name)[0], 16):02d}"


def identity_key(identity_id: str) -> str:
    """The RowKey of an identity row."""
    return f"i|{identity_id}"


def user_key(user_id: str) -> str:
    """The RowKey of a user row. A digest, for a user id may hold what a key must not."""
    return f"u|{_digest(user_id)}"


def identity_entity(row: IdentityRow) -> Entity:
    """The identity row as it is stored; what says nothing has no column."""
    columns = msgspec.to_builtins(row)
    identity_id = columns.pop("id")
    columns.pop("etag", None)
    keys = {"PartitionKey": partition(identity_id), "RowKey": identity_key(identity_id)}
    return {**keys, **columns}


def identity_row(entity: Any) -> IdentityRow:
    """The identity row that was stored as this entity."""
    identity_id = entity["RowKey"].removeprefix("i|")
    columns = {**entity, "id": identity_id, "etag": entity.metadata["etag"]}
    return msgspec.convert(columns, IdentityRow)


def agenda_change(row: IdentityRow, change: str) -> list[Change]:
    """The change of the agenda row that belongs to the identity row, if one does."""
    if row.due is None:
        return []
    key = f"t|{AgendaRow(row.due, row.id)}"
    return [(change, {"PartitionKey": partition(row.id), "RowKey": key})]


def agenda_row(row_key: str) -> AgendaRow:
    """The agenda row that is stored under this key."""
    return AgendaRow.parse(row_key.removeprefix("t|"))


def user_entity(user_id: str, identity_id: str) -> Entity:
    """The user row as it is stored."""
    return {
        "PartitionKey": partition(user_id),
        "RowKey": user_key(user_id),
        "identityId": identity_id,
    }


def user_row(user_id: str, entity: Any) -> UserRow:
    """The user row that was stored as this entity."""
    return UserRow(user_id=user_id, identity_id=entity["identityId"], etag=entity.metadata["etag"])


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
