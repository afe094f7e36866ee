"""This release on a table that a newer release has written, as during a roll-back from that one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
import pytest
from azure.data.tables import EdmType, EntityProperty, UpdateMode

from identity_service.azure.table_codec import due_changes, encode_identity, partition
from identity_service.errors import IdentityNotReadable, RegistryUnavailable
from identity_service.identity import Identity, State
from identity_service.operations.deleted_identities import list_deleted_identities
from identity_service.operations.identities import list_identities
from identity_service.policies import CleanupPolicy
from identity_service.schemas import ListDeletedIdentitiesQuery, ListIdentitiesQuery
from tests.support.world import ACS_IS_DOWN, RETENTION, TABLE_IS_DOWN, World, refusal
from tests.upgrade.world import Shared

# A column of each type, with values that a conversion could change.
COLUMNS: dict[str, Any] = {
    "futureText": "",
    "futureLongText": "ß🦄\u0000'\"" * 5000,
    "futureTextLikeATime": "2030-01-01T12:00:00.1234567Z",
    "futureInt32": 7,
    "futureInt64": EntityProperty(7, EdmType.INT64),
    "futureLargeInt64": EntityProperty(2**63 - 1, EdmType.INT64),
    "futureDouble": 0.1,
    "futureWholeDouble": 5.0,
    "futureInfinity": float("inf"),
    "futureNotANumber": float("nan"),
    "futureBool": False,
    "futureTime": EntityProperty("2030-01-01T12:00:00.1234567Z", EdmType.DATETIME),
    "futureGuid": UUID("01234567-89ab-cdef-0123-456789abcdef"),
    "futureBinary": b"\x00\xff",
    # Names that mean something else in the code.
    "id": "a column",
    "etag": "a column",
    "unknownColumns": "a column",
}


async def extend(world: Shared, key: str, columns: Mapping[str, Any]) -> None:
    """Add columns to a row, as a newer release would."""
    row = (await world.rows())[key]
    keys = {name: row[name] for name in ("PartitionKey", "RowKey")}
    await world.table.update_entity({**keys, **columns}, mode=UpdateMode.MERGE)


async def unknown_columns(world: Shared, key: str) -> dict[str, Any]:
    """The columns that this release does not know, with their types, as the service sends them."""
    bodies: list[dict[str, Any]] = []

    def keep(response: Any) -> None:
        bodies.append(msgspec.json.decode(response.http_response.body()))

    partition_key = (await world.rows())[key]["PartitionKey"]
    await world.table.get_entity(partition_key, key, raw_response_hook=keep)
    return {name: bodies[0][name] for name in bodies[0] if name.partition("@")[0] in COLUMNS}


async def sweep_in_vain(world: Shared, identity_id: str) -> None:
    """A sweep after the lease, in which ACS fails at first."""
    for _ in range(2):
        await world.unrevoked()
    world.acs.fails("revoke_tokens", ACS_IS_DOWN)
    world.acs.fails("delete", ACS_IS_DOWN)
    world.pass_lease()
    await world.sweep()


async def sweep_with_a_bug(world: Shared, identity_id: str) -> None:
    """A sweep after the lease, in which the purge raises an unexpected error."""
    world.acs.fails("delete", RuntimeError("planned by the test"))
    world.pass_lease()
    await world.sweep()


async def stop_a_rollback(world: Shared, identity_id: str) -> None:
    """A rollback by the sweep that stops before it removes the row."""
    world.registry.fails("remove", TABLE_IS_DOWN)
    world.pass_lease()
    with suppress(RegistryUnavailable):
        await world.sweep()


async def stop_a_purge(world: Shared, identity_id: str) -> None:
    """A purge that fails in ACS."""
    world.acs.fails("delete", ACS_IS_DOWN)
    assert await refusal(world.purge(identity_id)) is type(ACS_IS_DOWN)


async def hold(world: Shared, identity_id: str) -> None:
    """A sweep at the purge date that purges nothing."""
    world.cleanup = CleanupPolicy(purge_hold=True)
    world.clock.advance(RETENTION)
    world.pass_lease()
    await world.sweep()


async def suspend(world: Shared, identity_id: str) -> None:
    """suspend_identity."""
    await world.lifecycle.suspend(identity_id, registered_only=False)


async def resume(world: Shared, identity_id: str) -> None:
    """resume_identity."""
    await world.lifecycle.resume(identity_id)


async def suspended(world: Shared, user_id: str) -> str:
    """The id of a suspended identity."""
    identity_id = await world.active(user_id)
    await suspend(world, identity_id)
    return identity_id


# Every kind of write of an identity row: the state before it, the call, and the state after it.
WRITES: dict[str, tuple[str, Callable[[Shared, str], Awaitable[object]], State]] = {
    "finish a creation": ("creating", lambda world, _: world.create("alice"), State.ACTIVE),
    "register": ("registering", lambda world, each: world.register(each, "alice"), State.ACTIVE),
    "register again": ("active", World.register, State.ACTIVE),
    "delete": ("active", World.delete, State.DELETED),
    "delete again": ("deleted", World.delete, State.DELETED),
    "restore": ("deleted", World.restore, State.ACTIVE),
    "restore again": ("active", World.restore, State.ACTIVE),
    "suspend": ("active", suspend, State.SUSPENDED),
    "resume": ("suspended", resume, State.ACTIVE),
    "delete what is suspended": ("suspended", World.delete, State.DELETED),
    "start a purge": ("deleted", stop_a_purge, State.PURGING),
    "start the purge of a creation": ("creating", sweep_in_vain, State.PURGING),
    "start a rollback": ("registering", stop_a_rollback, State.REGISTERING),
    "postpone a revocation": ("unrevoked", sweep_in_vain, State.DELETED),
    "postpone a purge": ("purging", sweep_with_a_bug, State.PURGING),
    "hold a purge": ("release 1", hold, State.DELETED),
}


STARTS: dict[str, Callable[[Shared, str], Awaitable[str]]] = {
    "active": World.active,
    "creating": World.creating,
    "registering": World.registering,
    "suspended": suspended,
    "deleted": World.deleted,
    "unrevoked": World.unrevoked,
    "purging": World.purging,
    "release 1": lambda world, user_id: world.release_1.deleted(user_id),
}


@pytest.mark.parametrize("write", WRITES)
async def test_write_keeps_unknown_columns(world: Shared, write: str) -> None:
    """A write keeps the columns that it does not know, with every value and type."""
    start, call, end = WRITES[write]
    identity_id = await STARTS[start](world, "alice")
    key = f"i|{identity_id}"
    await extend(world, key, COLUMNS)
    before, columns = await world.columns(identity_id), await unknown_columns(world, key)
    await call(world, identity_id)
    after = await world.columns(identity_id)

    assert await unknown_columns(world, key) == columns
    assert columns.keys() >= COLUMNS.keys()
    assert after["state"] == end
    assert same(before, after) == write.endswith("again")


async def test_user_row_keeps_unknown_columns(world: Shared) -> None:
    """A user row that names another identity keeps the columns that the write does not know."""
    await world.active("alice")
    [key] = [key for key in await world.rows() if key.startswith("u|")]
    await extend(world, key, COLUMNS)
    columns = await unknown_columns(world, key)
    identity = await world.registry.read(world.acs.identities[0])
    assert identity
    await world.registry.remove(identity)
    await world.active("alice")

    assert (await world.rows())[key]["identityId"] == world.acs.identities[1]
    assert await unknown_columns(world, key) == columns


async def blocked(world: Shared, user_id: str | None = None) -> str:
    """The id of an identity that a newer release has put into a new state, with work to do."""
    identity = Identity.create(world.acs.add(), user_id, world.clock.now())
    row = {**encode_identity(identity), **COLUMNS, "state": "blocked"}
    entry = due_changes(None, identity)
    await world.table.submit_transaction([("create", row), *entry])
    if user_id:
        await world.registry.insert_user(user_id, identity.id)
    return identity.id


CALLS: dict[str, Callable[[Shared, str], Awaitable[object]]] = {
    "create": lambda world, _: world.create("alice"),
    "create with token": lambda world, _: world.create_with_token("alice"),
    "register": lambda world, each: world.register(each, "alice"),
    "unregister": World.unregister,
    "issue": World.issue,
    "suspend": suspend,
    "resume": resume,
    "delete": World.delete,
    "restore": World.restore,
    "purge": World.purge,
}


@pytest.mark.parametrize("call", CALLS)
async def test_unknown_state_is_left_alone(world: Shared, call: str) -> None:
    """An identity in an unknown state cannot be changed and gets no token."""
    identity_id = await blocked(world, "alice")
    before = await world.rows()

    assert await refusal(CALLS[call](world, identity_id)) is IdentityNotReadable
    assert same(await world.rows(), before)
    assert identity_id in world.acs.identities


async def test_unknown_states_block_no_sweep(
    world: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    """However many of them are due first, the sweep logs them, leaves them and does its work."""
    ids = await asyncio.gather(*(blocked(world) for _ in range(50)))
    before = await world.rows()
    last = await world.creating()
    world.pass_lease()
    report = await world.sweep()
    logged = [name for name in ids if f"row_not_readable identity_id={name} " in caplog.text]

    assert (report.due, report.purged, report.deferred, report.backlog) == (51, 1, 0, 50)
    assert logged == ids
    assert last not in world.acs.identities
    assert same(await world.rows(), before)


async def test_unknown_states_block_no_list(world: Shared) -> None:
    """They are listed with `state=unknown`, and the list of deleted identities leaves them out."""
    ids = [await blocked(world) for _ in range(3)]
    deleted = await world.deleted()
    active = await world.active()
    lists = [
        await list_identities(query, world.registry)
        for query in (ListIdentitiesQuery(), ListIdentitiesQuery(state="unknown"))
    ]
    deleted_list = await list_deleted_identities(
        ListDeletedIdentitiesQuery(), world.registry, world.cleanup
    )

    assert [[one.id for one in page.items] for page in lists] == [[active], sorted(ids, key=place)]
    assert {one.state for one in lists[1].items} == {State.UNKNOWN}
    assert [one.id for one in deleted_list.items] == [deleted]


async def test_unknown_kind_of_due_entry(world: Shared) -> None:
    """A due entry of an unknown kind is ignored, and its row is not changed."""
    identity_id = await world.deleted()
    [key] = [key for key in await world.rows() if key.startswith("p|")]
    partition_key = (await world.rows())[key]["PartitionKey"]
    await world.table.delete_entity(partition_key, key)
    await world.table.create_entity({"PartitionKey": partition_key, "RowKey": f"x{key[1:]}"})
    await extend(world, f"i|{identity_id}", {"dueKind": "x"})
    before = await world.rows()
    world.clock.advance(RETENTION)
    world.pass_lease()
    report = await world.sweep()

    assert report.due == 0
    assert await refusal(world.restore(identity_id)) is IdentityNotReadable
    assert await world.rows() == before


async def test_unknown_kind_of_row(world: Shared) -> None:
    """Rows of an unknown kind are in no list and stop no sweep."""
    for key in ("a|tenant|user", "h|x", "j|x", "o|x", "q|x", "s|x", "v|x", "z|x"):
        row = {"PartitionKey": "00", "RowKey": key, "state": "active", "due": "tomorrow"}
        await world.table.create_entity(row)
    before = await world.rows()
    report = await world.sweep()
    listed = await list_identities(ListIdentitiesQuery(), world.registry)

    assert (report.due, listed.items) == (0, [])
    assert await world.rows() == before


def same(rows: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether the rows, or their columns, are the same. `nan` is not equal to itself."""
    return repr(sorted(rows.items())) == repr(sorted(others.items()))


def place(identity_id: str) -> tuple[str, str]:
    """Where an identity is in the lists: by partition, then by id."""
    return partition(identity_id), identity_id
