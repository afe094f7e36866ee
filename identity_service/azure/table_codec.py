"""How the registry's rows are stored: partitions, keys and columns.

The key of an identity row is `i|<id>`, of a due entry `<kind>|<due>|<id>` (it has no columns), and
of a user row `u|<SHA-256 of the user id>`. The key of an access row is `a|<tenant id>|<object id>`,
and of its due entry `d|<due>|<tenant id>|<object id>`. Two rows in partition `00` are in no range
that is queried: `r|resource` and `s|sweep`.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from identity_service.identity import DueEntry, DueKind, Identity, State, SweepRecord, UserRow
from identity_service.log import EventLog
from identity_service.teams_access import Access, AccessDue, AccessState

events = EventLog(__name__)

# Never change this number: rows would be looked for in the wrong partitions.
PARTITIONS = 16

# PartitionKey and RowKey of the resource row and of the sweep row.
RESOURCE_KEY = ("00", "r|resource")
SWEEP_KEY = ("00", "s|sweep")

# How the keys of access rows and of their due entries start.
ACCESS, ACCESS_DUE = "a|", "d|"

_KEYS = {"PartitionKey", "RowKey"}
# The columns that this release knows.
_COLUMNS = {field.encode_name for field in msgspec.structs.fields(Identity)} - {
    "id",
    "unknownColumns",
    "etag",
}
_ACCESS_COLUMNS = {field.encode_name for field in msgspec.structs.fields(Access)} - {
    "tenantId",
    "objectId",
    "unknownColumns",
    "etag",
}

Entity = dict[str, Any]
Change = tuple[Any, ...]
_Key = tuple[str, str]


def partition(name: str) -> str:
    """The partition of an identity's id or of a user id: the first hex digit of its SHA-256."""
    return f"{int(_digest(name)[0], 16):02d}"


def keys_of(partition_key: str, row_key: str) -> Entity:
    """The columns of a row's key."""
    return {"PartitionKey": partition_key, "RowKey": row_key}


def identity_key(identity_id: str) -> str:
    """The RowKey of an identity row."""
    return f"i|{identity_id}"


def user_key(user_id: str) -> str:
    """The RowKey of a user row. A user id may have characters that a key must not have."""
    return f"u|{_digest(user_id)}"


def encode_identity(identity: Identity) -> Entity:
    """The entity of an identity row. Default values have no column."""
    # Unknown columns may have values of the SDK's own types. They are written unchanged, see below.
    columns = msgspec.to_builtins(identity, enc_hook=repr)
    keys = keys_of(partition(identity.id), identity_key(identity.id))
    known = {name: value for name, value in columns.items() if name in _COLUMNS}
    return {**keys, **known, **dict(identity.unknown_columns)}


def decode_identity(entity: Mapping[str, Any], etag: str) -> Identity:
    """The identity row of an entity.

    If this release cannot read it, the row has the state `UNKNOWN`, and the log says why. So one
    such row blocks nothing else.
    """
    row = {"id": entity["RowKey"].removeprefix("i|"), "etag": etag}
    known = {name: value for name, value in entity.items() if name in _COLUMNS}
    unknown = tuple((name, entity[name]) for name in entity.keys() - _COLUMNS - _KEYS)
    try:
        return msgspec.convert({**known, **row, "unknownColumns": unknown}, Identity)
    except msgspec.ValidationError as error:
        events.warning(
            "row_not_readable",
            identity_id=row["id"],
            state=known.get("state"),
            reason=str(error),
        )
        return Identity(**row, state=State.UNKNOWN)


def due_changes(old: Identity | Access | None, new: Identity | Access | None) -> list[Change]:
    """What happens to due entries when `old` becomes `new`. None stands for no row.

    A due entry has a key and no columns.
    """
    before, after = _due_key(old), _due_key(new)
    if before == after:
        return []
    return [
        (change, keys_of(*key)) for change, key in (("delete", before), ("create", after)) if key
    ]


def decode_due_entry(row_key: str) -> DueEntry:
    """The due entry with this key."""
    kind, _, position = row_key.partition("|")
    return DueEntry.at(position, DueKind(kind))


def access_key(tenant_id: str, object_id: str) -> tuple[str, str]:
    """The PartitionKey and the RowKey of an access row."""
    return partition(f"{tenant_id}/{object_id}"), f"{ACCESS}{tenant_id}|{object_id}"


def encode_access(access: Access) -> Entity:
    """The entity of an access row. Default values have no column, and a list is one text."""
    columns = msgspec.to_builtins(access, enc_hook=repr)
    known = {name: value for name, value in columns.items() if name in _ACCESS_COLUMNS}
    if access.client_ids:
        known["clientIds"] = " ".join(access.client_ids)
    keys = keys_of(*access_key(access.tenant_id, access.object_id))
    return {**keys, **known, **dict(access.unknown_columns)}


def decode_access(entity: Mapping[str, Any], etag: str) -> Access:
    """The access row of an entity. As `decode_identity`, if this release cannot read it."""
    _, tenant_id, object_id = entity["RowKey"].split("|")
    row = {"tenantId": tenant_id, "objectId": object_id, "etag": etag}
    known = {name: value for name, value in entity.items() if name in _ACCESS_COLUMNS}
    unknown = tuple((name, entity[name]) for name in entity.keys() - _ACCESS_COLUMNS - _KEYS)
    try:
        client_ids = str(known.pop("clientIds", "")).split()
        columns = {**known, **row, "clientIds": client_ids, "unknownColumns": unknown}
        return msgspec.convert(columns, Access)
    except msgspec.ValidationError as error:
        events.warning(
            "row_not_readable",
            tenant_id=tenant_id,
            object_id=object_id,
            state=known.get("state"),
            reason=str(error),
        )
        return Access(
            tenant_id=tenant_id,
            object_id=object_id,
            state=AccessState.UNKNOWN,
            etag=etag,
        )


def decode_access_due(row_key: str) -> AccessDue:
    """The due entry with this key."""
    return AccessDue.at(row_key.removeprefix(ACCESS_DUE))


def encode_user(user_id: str, identity_id: str) -> Entity:
    """The entity of a user row."""
    return {**keys_of(partition(user_id), user_key(user_id)), "identityId": identity_id}


def decode_user(user_id: str, entity: Mapping[str, Any], etag: str) -> UserRow:
    """The user row of an entity."""
    return UserRow(user_id=user_id, identity_id=entity["identityId"], etag=etag)


def encode_resource(resource: str) -> Entity:
    """The entity of the resource row."""
    return {**keys_of(*RESOURCE_KEY), "resource": resource}


def decode_resource(entity: Mapping[str, Any], _: str) -> str:
    """The GUID in the resource row."""
    return str(entity["resource"])


def decode_sweep(entity: Mapping[str, Any], _: str) -> SweepRecord:
    """The record of an entity."""
    return msgspec.convert(dict(entity), SweepRecord)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _due_key(row: Identity | Access | None) -> _Key | None:
    match row.due_entry if row else None:
        case DueEntry() as entry:
            return partition(entry.identity_id), f"{entry.kind}|{entry.position}"
        case AccessDue() as entry:
            partition_key, _ = access_key(entry.tenant_id, entry.object_id)
            return partition_key, f"{ACCESS_DUE}{entry.position}"
    return None
