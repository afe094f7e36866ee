"""How the registry's rows are stored: partitions, keys and columns.

The key of an identity row is `i|<id>`, of a due entry `t|<due>|<id>` (it has no columns), and of a
user row `u|<SHA-256 of the user id>`.
"""

import hashlib
from typing import Any

import msgspec

from identity_service.identity import DueEntry, Identity, UserRow

# Never change this number: rows would be looked for in the wrong partitions.
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
    """The RowKey of a user row. A user id may have characters that a key must not have."""
    return f"u|{_digest(user_id)}"


def encode_identity(identity: Identity) -> Entity:
    """The entity of an identity row. Default values have no column."""
    columns = msgspec.to_builtins(identity)
    identity_id = columns.pop("id")
    columns.pop("etag", None)
    keys = {"PartitionKey": partition(identity_id), "RowKey": identity_key(identity_id)}
    return {**keys, **columns}


def decode_identity(entity: Any) -> Identity:
    """The identity row of an entity."""
    identity_id = entity["RowKey"].removeprefix("i|")
    columns = {**entity, "id": identity_id, "etag": entity.metadata["etag"]}
    return msgspec.convert(columns, Identity)


def due_entry_change(identity: Identity, change: str) -> list[Change]:
    """The change to the identity's due entry in a batch. None if nothing is due."""
    if identity.due is None:
        return []
    key = f"t|{DueEntry(identity.due, identity.id)}"
    return [(change, {"PartitionKey": partition(identity.id), "RowKey": key})]


def decode_due_entry(row_key: str) -> DueEntry:
    """The due entry with this key."""
    return DueEntry.parse(row_key.removeprefix("t|"))


def encode_user(user_id: str, identity_id: str) -> Entity:
    """The entity of a user row."""
    return {
        "PartitionKey": partition(user_id),
        "RowKey": user_key(user_id),
        "identityId": identity_id,
    }


def decode_user(user_id: str, entity: Any) -> UserRow:
    """The user row of an entity."""
    return UserRow(user_id=user_id, identity_id=entity["identityId"], etag=entity.metadata["etag"])


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
