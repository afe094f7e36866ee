"""The registry. The facts about the port hold in memory and on Azure Table Storage (Azurite)."""

import asyncio
import base64
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.transport import HttpRequest
from azure.data.tables.aio import TableClient

from identity_service.azure.registries import TableRegistry
from identity_service.azure.table import CONNECT, RESPONSE
from identity_service.azure.table_codec import PARTITIONS, identity_key, partition, user_key
from identity_service.errors import CallerGone, InvalidQuery, RegistryUnavailable
from identity_service.identity import (
    LEASE,
    Actor,
    DueEntry,
    DueKind,
    Identity,
    State,
    SweepRecord,
    UserRow,
)
from identity_service.log import begin_invocation
from identity_service.ports import Conflict, Registry
from local.servers import Authority
from tests.support.azurite import StorageAccount, storage_account
from tests.support.memory import MemoryRegistry

Outcome = type[Exception] | None

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
RETENTION = timedelta(days=7)
LATER = NOW + RETENTION
# Any 64 bytes in base64.
ACCOUNT_KEY = base64.b64encode(bytes(64)).decode()

USER_IDS = {
    "plain": "alice",
    "space": " ",
    "not allowed in keys": "/\\#?",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85",
    "quotes": "'\"' or ''",
    "percent": "%2F%00%",
    "emoji": "👩‍👩‍👧‍👦🇨🇭",
    "256 characters": "ß" * 256,
    "256 emoji": "🦄" * 256,
    "like a date": "2030-01-01T12:00:00Z",
    "like a number": "0017",
    "end of a batch": "--changeset\r\n\r\n--batch--\r\n",
    "no characters": "\ufffe\uffff",
}


def encoded(position: object) -> str:
    """A continuation as the table registry writes it."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


INVALID_CONTINUATIONS = {
    "empty": "",
    "a letter": "x",
    "no base64": "!!!",
    "not ASCII": "é👍",
    "control characters": "\x00\r\n",
    "no JSON": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "no list": encoded({}),
    "no name of a list": encoded([0, None]),
    "of another list": encoded([0, None, "a|"]),
    "no number": encoded(["0", None, "i|"]),
    "partition too high": encoded([PARTITIONS, None, "i|"]),
    "partition too low": encoded([-1, None, "i|"]),
    "no position": encoded([0, 1, "i|"]),
    "position of numbers": encoded([0, {"PartitionKey": 1}, "i|"]),
    "position with another name": encoded([0, {"PartitionKey": "00", "Timestamp": "x"}, "i|"]),
    "position not ASCII": encoded([0, {"PartitionKey": "é"}, "i|"]),
    "position with a line end": encoded([0, {"RowKey": "i|\n"}, "i|"]),
    "position with half a character": encoded([0, {"RowKey": "\ud800"}, "i|"]),
    "position too long for a URL": encoded([0, {"RowKey": "i" * 3000}, "i|"]),
    "a due entry's position": DueEntry(NOW, "8:acs:one").position,
    "long": "A" * 3000,
}


@pytest.fixture(params=["memory", "table"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """An empty registry, in memory and on a table."""
    if request.param == "memory":
        return MemoryRegistry()
    registry: TableRegistry = request.getfixturevalue("table_registry")
    return registry


@pytest.fixture
async def table_registry(
    account: StorageAccount, table: TableClient
) -> AsyncIterator[TableRegistry]:
    """An empty registry on a table, connected with a token as in Azure."""
    reader = account.reader(table.table_name)
    yield TableRegistry(table, reader)
    await reader.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The authority of the certificate of failing services."""
    return Authority()


@pytest.fixture(params=["with a key", "with a token"])
def secure(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> "Secure | None":
    """How a registry is connected to a failing service: with a key, the SDK reads single rows."""
    return Secure(authority, tmp_path / "bundle.pem") if request.param == "with a token" else None


def some_id(number: int) -> str:
    """The id of an identity."""
    return f"8:acs:00000000-1111-2222-3333-444444444444_{number:08x}-1111-2222-3333-444444444444"


def ids_in(partition_key: str, count: int) -> list[str]:
    """Ids whose rows are all in one partition."""
    found = (name for name in map(some_id, itertools.count()) if partition(name) == partition_key)
    return list(itertools.islice(found, count))


def changed(identity: Identity, **changes: object) -> Identity:
    """The identity with other values."""
    return msgspec.structs.replace(identity, **changes)


def creating(number: int = 1, due: datetime = NOW + LEASE) -> Identity:
    """An identity that is being created."""
    return changed(Identity.create(some_id(number), None, NOW), due=due)


def active(number: int = 1) -> Identity:
    """An active identity. Nothing is due."""
    return creating(number).finish_creation()


async def insert_all(registry: Registry, identities: Iterable[Identity]) -> None:
    """Insert the rows, some at a time."""
    slots = asyncio.Semaphore(16)

    async def insert(identity: Identity) -> None:
        async with slots:
            await registry.insert(identity)

    await asyncio.gather(*map(insert, identities))


async def entries(
    registry: Registry, after: DueEntry | None = None, until: datetime | None = None
) -> list[DueEntry]:
    """All due entries in this range."""
    return [entry async for entry in registry.due_entries(after=after, until=until)]


async def count_accepted(writes: Iterable[Awaitable[object]]) -> int:
    """How many of the writes are accepted if all are sent at once. The others must conflict."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert {type(error) for error in errors} <= {Conflict}
    return len(outcomes) - len(errors)


async def pages(registry: Registry, size: int) -> list[list[Identity]]:
    """All pages of active identities."""
    found, continuation = [], None
    while True:
        page = await registry.list_identities([State.ACTIVE], continuation, size)
        found.append(page.items)
        if page.continuation is None:
            return found
        continuation = page.continuation


async def user_row(registry: Registry, number: int = 1) -> UserRow:
    """Alice's new row, which names this identity."""
    await registry.insert_user("alice", some_id(number))
    row = await registry.read_user("alice")
    assert row
    return row


async def identity_of(registry: Registry, user_id: str = "alice") -> str | None:
    """The identity that the user's row names, if there is one."""
    row = await registry.read_user(user_id)
    return row.identity_id if row else None


# Identity rows


async def test_empty_registry(registry: Registry) -> None:
    """An empty registry has no rows, no users, nothing due, and one empty page."""
    assert await registry.read(some_id(1)) is None
    assert await registry.read_user("alice") is None
    assert await entries(registry, until=NOW) == []
    assert await pages(registry, 100) == [[]]


async def test_inserted_row_can_be_read(registry: Registry) -> None:
    """Insert returns what read returns, with the ETag; every column is as it was written."""
    identity = Identity(
        id=some_id(1),
        state=State.DELETED,
        user_id="alice",
        created_on=NOW,
        deleted_on=NOW + timedelta(days=1),
        scheduled_purge_on=NOW + timedelta(days=8),
        revoked=True,
        adopted=True,
        due=NOW + timedelta(days=8),
        attempts=3,
        last_error="acs_unavailable",
    )
    inserted = await registry.insert(identity)

    assert await registry.read(some_id(1)) == inserted
    assert inserted.etag
    assert inserted.with_etag("") == identity


async def test_insert_of_an_existing_row_is_refused(registry: Registry) -> None:
    """An identity has one row. A refused insert adds no due entry."""
    row = await registry.insert(active())
    with pytest.raises(Conflict):
        await registry.insert(creating())

    assert (await registry.read(row.id), await entries(registry)) == (row, [])


async def test_updated_row_can_be_read(registry: Registry) -> None:
    """Update returns what read returns, with the new ETag, and the next update accepts it."""
    row = await registry.insert(creating())
    updated = await registry.update(row, row.finish_creation())

    assert await registry.read(row.id) == updated
    assert (
        await registry.update(updated, updated.delete(NOW, RETENTION, Actor.SERVICE))
    ).state is State.DELETED


async def test_update_replaces_every_column(registry: Registry) -> None:
    """A column that the new row does not have is removed."""
    row = await registry.insert(active())
    deleted = await registry.update(row, row.delete(NOW, RETENTION, Actor.SERVICE))
    restored = await registry.update(deleted, deleted.restore())

    assert await registry.read(row.id) == row.with_etag(restored.etag)


async def test_update_changes_the_etag(registry: Registry) -> None:
    """Two versions of a row never have the same ETag, even if their values are equal."""
    row = await registry.insert(active())
    updated = await registry.update(row, row)

    assert updated.etag != row.etag


async def test_removed_row_is_gone(registry: Registry) -> None:
    """A removal removes the row and its due entry."""
    row = await registry.insert(creating())
    await registry.remove(row)

    assert (await registry.read(row.id), await entries(registry)) == (None, [])


@pytest.mark.parametrize("write", ["update", "remove"])
async def test_write_to_a_changed_row_is_refused(registry: Registry, write: str) -> None:
    """An outdated ETag changes or removes neither the row nor its due entry."""
    old = await registry.insert(creating())
    row = await registry.update(old, changed(old, attempts=1))
    new = [changed(old, due=LATER)] if write == "update" else []
    with pytest.raises(Conflict):
        await getattr(registry, write)(old, *new)

    assert await registry.read(row.id) == row
    assert await entries(registry) == [DueEntry(NOW + LEASE, row.id)]


@pytest.mark.parametrize("write", ["update", "remove"])
async def test_write_to_a_missing_row_is_refused(registry: Registry, write: str) -> None:
    """An update never brings a row back, and a removal succeeds once, so it can be counted."""
    row = await registry.insert(active())
    await registry.remove(row)
    new = [row.delete(NOW, RETENTION, Actor.SERVICE)] if write == "update" else []
    with pytest.raises(Conflict):
        await getattr(registry, write)(row, *new)

    assert (await registry.read(row.id), await entries(registry)) == (None, [])


async def test_one_of_many_writes_is_accepted(registry: Registry) -> None:
    """Of fifty concurrent inserts, updates or removals of one version, one is accepted."""
    assert await count_accepted(registry.insert(creating()) for _ in range(50)) == 1
    row = await registry.read(some_id(1))
    assert row
    delays = [timedelta(seconds=second) for second in range(50)]
    updates = (registry.update(row, changed(row, due=NOW + delay)) for delay in delays)
    assert await count_accepted(updates) == 1
    current = await registry.read(some_id(1))
    assert current
    assert [entry.due for entry in await entries(registry)] == [current.due]
    assert await count_accepted(registry.remove(current) for _ in range(50)) == 1


async def test_write_that_nobody_waits_for(registry: Registry) -> None:
    """With `if_awaited`, nothing is written after the caller has got a response."""
    invocation = begin_invocation("one")
    row = await registry.insert(creating())
    invocation.is_over = True
    with pytest.raises(CallerGone):
        await registry.update(row, row.finish_creation(), if_awaited=True)
    unchanged = await registry.read(row.id)
    await registry.update(row, row.finish_creation())

    assert unchanged == row
    assert (await registry.read(row.id) or row).state is State.ACTIVE


# Due entries


@pytest.mark.parametrize("before", [None, NOW, LATER])
@pytest.mark.parametrize("after", [None, NOW, LATER])
async def test_due_entry_changes_with_its_row(
    registry: Registry, before: datetime | None, after: datetime | None
) -> None:
    """There is one entry if and only if the row has a due time, and it is the row's."""
    row = await registry.insert(changed(creating(), due=before))
    inserted = await entries(registry)
    await registry.update(row, changed(row, due=after))

    assert inserted == [DueEntry(due, row.id) for due in [before] if due]
    assert await entries(registry) == [DueEntry(due, row.id) for due in [after] if due]


@pytest.mark.parametrize("write", ["update", "remove"])
async def test_write_is_refused_if_the_due_entry_is_missing(registry: Registry, write: str) -> None:
    """The row neither changes nor goes if its old entry cannot be removed."""
    row = await registry.insert(creating())
    wrong = changed(row, due=NOW)
    with pytest.raises(Conflict):
        await getattr(registry, write)(
            wrong, *([wrong.finish_creation()] if write == "update" else [])
        )

    assert (await registry.read(row.id), len(await entries(registry))) == (row, 1)


async def test_insert_is_refused_if_the_due_entry_exists(registry: Registry) -> None:
    """The row is not written if its entry cannot be."""
    row = await registry.insert(creating())
    await registry.remove(changed(row, due=None))
    with pytest.raises(Conflict):
        await registry.insert(creating())

    assert await registry.read(row.id) is None


async def test_due_entries_are_in_order(registry: Registry) -> None:
    """Entries of all partitions come in the order of their times, then of their ids."""
    rows = [creating(number, NOW + timedelta(minutes=number * 7 % 10)) for number in range(64)]
    await insert_all(registry, rows)

    assert len({partition(row.id) for row in rows}) == PARTITIONS

    found = await entries(registry)

    assert found == sorted(DueEntry(row.due or NOW, row.id) for row in rows)


async def test_until_includes_its_moment(registry: Registry) -> None:
    """The limit is exact to the microsecond."""
    moment = timedelta(microseconds=1)
    for number, due in enumerate([NOW - moment, NOW, NOW + moment]):
        await registry.insert(creating(number, due))

    found = await entries(registry, until=NOW)

    assert [entry.due for entry in found] == [NOW - moment, NOW]


async def test_after_starts_behind_its_entry(registry: Registry) -> None:
    """This also holds among entries with the same time."""
    await insert_all(registry, map(creating, range(40)))
    found = await entries(registry)

    for position in (0, 17, 38, 39):
        assert await entries(registry, after=found[position]) == found[position + 1 :]


async def test_after_accepts_a_removed_entry(registry: Registry) -> None:
    """The last entry of a page may be purged before the next page is read."""
    rows = [await registry.insert(creating(number)) for number in range(3)]
    found = await entries(registry)
    await registry.remove(rows[1])

    assert await entries(registry, after=found[1]) == found[2:]


async def test_after_and_until_together(registry: Registry) -> None:
    """Both limits apply."""
    for number in range(5):
        await registry.insert(creating(number, NOW + timedelta(minutes=number)))
    [_, second, third, fourth, _] = await entries(registry)

    assert await entries(registry, after=second, until=fourth.due) == [third, fourth]


async def test_due_entries_of_a_partition_may_fill_several_pages(registry: Registry) -> None:
    """More than two pages of one partition are merged with entries of another one."""
    rows = [
        changed(creating(), id=name, due=NOW + timedelta(seconds=number * 89 % 257))
        for number, name in enumerate([*ids_in("07", 205), *ids_in("08", 3)])
    ]
    await insert_all(registry, rows)
    found = await entries(registry)

    assert found == sorted(DueEntry(row.due or NOW, row.id) for row in rows)


async def test_due_entries_can_be_removed_while_they_are_read(registry: Registry) -> None:
    """A sweep removes what it reads, and still reads each entry once."""
    rows = [changed(creating(), id=name) for name in ids_in("07", 130)]
    await insert_all(registry, rows)
    seen = []
    async for entry in registry.due_entries():
        seen.append(entry.identity_id)
        row = await registry.read(entry.identity_id)
        assert row
        await registry.remove(row)

    assert sorted(seen) == sorted(row.id for row in rows)
    assert await entries(registry) == []


async def test_reading_due_entries_can_stop_early(registry: Registry) -> None:
    """A caller can read just the first entry."""
    await insert_all(registry, map(creating, range(20)))
    async for entry in registry.due_entries():
        first = entry
        break

    assert first == (await entries(registry))[0]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2030, 1, 1, 0, 0, 0, 0, UTC),
        datetime(2030, 6, 1, 12, 0, 0, 100000, UTC),
        datetime(2030, 6, 1, 12, 0, 0, 7, timezone(timedelta(hours=5, minutes=45))),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    ],
    ids=str,
)
async def test_times_are_exact(registry: Registry, moment: datetime) -> None:
    """Row and due entry have the same microsecond: the sweep compares them."""
    identity = changed(
        creating(due=moment), created_on=moment, deleted_on=moment, scheduled_purge_on=moment
    )
    await registry.insert(identity)
    row = await registry.read(identity.id)

    assert row
    assert row.with_etag("") == identity
    assert [entry.due for entry in await entries(registry)] == [row.due]


# User rows


@pytest.mark.parametrize("user_id", USER_IDS.values(), ids=USER_IDS)
async def test_any_user_id(registry: Registry, user_id: str) -> None:
    """Any user id finds its user row, and is unchanged in the identity's row."""
    await registry.insert(changed(creating(), user_id=user_id))
    await registry.insert_user(user_id, some_id(1))
    row = await registry.read_user(user_id)
    identity = await registry.read(some_id(1))

    assert row
    assert identity
    assert (row.user_id, row.identity_id, identity.user_id) == (user_id, some_id(1), user_id)


async def test_user_ids_differ_by_every_character(registry: Registry) -> None:
    """Case, Unicode composition and trailing spaces make another user."""
    users = ["alice", "Alice", "alice ", "alice\x00", "é", "e\u0301"]
    for number, user_id in enumerate(users):
        await registry.insert_user(user_id, some_id(number))

    found = [await identity_of(registry, user_id) for user_id in users]

    assert found == list(map(some_id, range(6)))


async def test_user_has_one_identity(registry: Registry) -> None:
    """One of fifty concurrent inserts or replacements wins. User rows are not due, not listed."""
    inserts = (registry.insert_user("alice", some_id(number)) for number in range(50))
    assert await count_accepted(inserts) == 1
    row = await registry.read_user("alice")
    assert row
    replacements = (registry.replace_user(row, some_id(number)) for number in range(50, 100))
    assert await count_accepted(replacements) == 1
    assert await identity_of(registry) in set(map(some_id, range(50, 100)))
    assert (await entries(registry), await pages(registry, 10)) == ([], [[]])


async def test_outdated_user_row_is_not_used(registry: Registry) -> None:
    """A changed row is not removed, and a removed one not replaced."""
    row = await user_row(registry)
    await registry.replace_user(row, some_id(2))
    with pytest.raises(Conflict):
        await registry.remove_user(row)
    current = await registry.read_user("alice")

    assert current
    assert current.identity_id == some_id(2)
    await registry.remove_user(current)
    with pytest.raises(Conflict):
        await registry.replace_user(current, some_id(3))
    assert await identity_of(registry) is None


async def test_removed_user_row_is_gone(registry: Registry) -> None:
    """Removing it again has no effect: the table service does not tell the difference."""
    row = await user_row(registry)
    await registry.remove_user(row)
    await registry.remove_user(row)

    assert await identity_of(registry) is None


# The resource row

RESOURCE = "00000000-1111-2222-3333-444444444444"


async def test_resource_is_recorded_once(registry: Registry) -> None:
    """The first resource stays. Another one, or the same again, is refused."""
    assert await registry.read_resource() is None
    await registry.record_resource(RESOURCE)
    for resource in ("99999999-1111-2222-3333-444444444444", RESOURCE):
        with pytest.raises(Conflict):
            await registry.record_resource(resource)

    assert await registry.read_resource() == RESOURCE


async def test_resource_is_in_no_list(registry: Registry) -> None:
    """Neither a list of identities nor the due entries have it."""
    await registry.record_resource(RESOURCE)
    page = await registry.list_identities(tuple(State), None, 1000)

    assert (page.items, page.continuation) == ([], None)
    assert [entry async for entry in registry.due_entries()] == []
    assert [await registry.count_due(kind, until=LATER, at_most=9) for kind in DueKind] == [0, 0]


# Lists


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_active_identities_are_listed_once(registry: Registry, size: int) -> None:
    """The pages have every active identity once, as its row, and no other; none is too long."""
    rows = [*map(active, range(40))]
    others = [active(number).delete(NOW, RETENTION, Actor.SERVICE) for number in range(40, 60)]
    await insert_all(registry, rows + others)
    found = await pages(registry, size)

    listed = sorted((row for page in found for row in page), key=lambda row: row.id)
    assert listed == [await registry.read(row.id) for row in rows]
    assert max(map(len, found)) <= size


async def test_active_identities_of_a_partition_may_fill_several_pages(registry: Registry) -> None:
    """One partition can have more than a page."""
    names = ids_in("15", 130)
    await insert_all(registry, (changed(active(), id=name) for name in names))
    found = await pages(registry, 100)

    assert sorted(row.id for page in found for row in page) == sorted(names)


async def test_rows_can_be_removed_between_pages(registry: Registry) -> None:
    """The list continues even if the last row of a page is gone."""
    await insert_all(registry, map(active, range(40)))
    seen: list[str] = []
    page = await registry.list_identities([State.ACTIVE], None, 5)
    while True:
        for row in page.items:
            seen.append(row.id)
            await registry.remove(row)
        if page.continuation is None:
            break
        page = await registry.list_identities([State.ACTIVE], page.continuation, 5)

    assert sorted(seen) == sorted(map(some_id, range(40)))


@pytest.mark.parametrize("continuation", INVALID_CONTINUATIONS.values(), ids=INVALID_CONTINUATIONS)
async def test_invalid_continuation_is_refused(registry: Registry, continuation: str) -> None:
    """Only a continuation of an earlier page is valid."""
    await registry.insert(active())
    with pytest.raises(InvalidQuery) as caught:
        await registry.list_identities([State.ACTIVE], continuation, 10)

    assert caught.value.field == "continuation"


async def test_half_a_position_is_enough() -> None:
    """The table service may name only a partition as the position after a page."""
    position = encoded([0, {"PartitionKey": "00", "RowKey": None}, "i|"])
    async with FailingService(200, body=("application/json", '{"value":[]}')).registry() as any_one:
        page = await any_one.list_identities([State.ACTIVE], position, 10)

    assert page.items == []


# The sweep


async def test_no_sweep_yet(registry: Registry) -> None:
    """Before the first sweep, nothing is known about one."""
    assert await registry.read_sweep() == SweepRecord()


async def test_sweep_is_recorded(registry: Registry) -> None:
    """Its start and its end are recorded. A later start keeps what is known about the end."""
    await registry.record_sweep_start(NOW)
    await registry.record_sweep_end(NOW + LEASE)
    await registry.record_sweep_start(LATER)

    assert await registry.read_sweep() == SweepRecord(
        last_started_on=LATER, last_completed_on=NOW + LEASE
    )


async def test_row_about_the_sweep_is_no_other_row(registry: Registry) -> None:
    """No list has it, and it is not due."""
    await registry.record_sweep_start(NOW)
    await registry.record_sweep_end(NOW)
    listed = await registry.list_identities(tuple(State), None, 10)

    assert (listed.items, await entries(registry)) == ([], [])


# The table


async def test_concurrent_first_calls_create_the_table(table_registry: TableRegistry) -> None:
    """A hundred reads and writes at once succeed before the table exists."""
    inserts = (table_registry.insert(creating(number)) for number in range(50))
    reads = (table_registry.read(some_id(number)) for number in range(50, 100))
    await asyncio.gather(*inserts, *reads)

    assert len(await entries(table_registry)) == 50


async def test_cancelled_first_call_does_not_affect_others(table_registry: TableRegistry) -> None:
    """Calls share the creation of the table. A caller that gives up does not cancel it."""
    cancelled, other = (
        asyncio.create_task(table_registry.read(some_id(number))) for number in range(2)
    )
    await asyncio.sleep(0)
    cancelled.cancel()

    assert await other is None


async def test_concurrent_workers_create_the_table(table: TableClient) -> None:
    """Twenty workers at once succeed before the table exists."""
    workers = [TableRegistry(table) for _ in range(20)]
    await asyncio.gather(*(worker.insert(creating(n)) for n, worker in enumerate(workers)))

    assert len(await entries(workers[0])) == 20


@pytest.mark.parametrize("is_write", [False, True])
async def test_deleted_table_is_created_again(
    table: TableClient, table_registry: TableRegistry, is_write: bool
) -> None:
    """If the table is deleted while the app runs, one call fails and the next one creates it.

    A missing table is 404 like a missing row, but it is no conflict: it says nothing about the row.
    """
    row = await table_registry.insert(active())
    await table.delete_table()
    with pytest.raises(RegistryUnavailable):
        await (table_registry.remove(row) if is_write else table_registry.read(row.id))

    assert await table_registry.read(row.id) is None


# Failures of the table service


async def test_wrong_key(table: TableClient, caplog: pytest.LogCaptureFixture) -> None:
    """With a wrong key, every call fails as refused, and never because of the caller."""
    await table.create_table()
    wrong = AzureNamedKeyCredential(str(table.account_name), ACCOUNT_KEY)
    transport = table._client._client._pipeline._transport  # trusts the certificate
    client = TableClient(
        table.url, table.table_name, credential=wrong, transport=transport, retry_total=0
    )
    registry = TableRegistry(client)
    position = encoded([0, {"PartitionKey": "00", "RowKey": "i|"}, "i|"])
    for call in [*all_calls(registry), registry.list_identities([State.ACTIVE], position, 10)]:
        caplog.clear()
        with pytest.raises(RegistryUnavailable):
            await call
        [message] = caplog.messages
        assert message.startswith(f"registry_refused_us host={urlsplit(table.url).netloc} ")
        assert " status=400 code=InvalidAuthenticationInfo " in message


REFUSED = "registry_refused_us"
UNAVAILABLE = "registry_unavailable"
# What a read raises, a list with a continuation, and a write.
Outcomes = tuple[Outcome, Outcome, Outcome]
DOWN: Outcomes = (RegistryUnavailable, RegistryUnavailable, RegistryUnavailable)
NO_ROW: Outcomes = (None, RegistryUnavailable, Conflict)
CHANGED: Outcomes = (RegistryUnavailable, RegistryUnavailable, Conflict)
NO_QUERY: Outcomes = (RegistryUnavailable, InvalidQuery, RegistryUnavailable)
# A response's status and code, what they mean, and the event if it is neither a conflict nor the
# caller's mistake.
CODES: list[tuple[int, str, Outcomes, str]] = [
    (403, "AuthenticationFailed", DOWN, REFUSED),
    (403, "AuthorizationFailure", DOWN, REFUSED),
    (403, "AuthorizationPermissionMismatch", DOWN, REFUSED),
    (400, "InvalidAuthenticationInfo", DOWN, REFUSED),
    (400, "AuthenticationFailed", DOWN, REFUSED),
    (404, "TableNotFound", DOWN, UNAVAILABLE),
    (404, "ResourceNotFound", NO_ROW, UNAVAILABLE),
    (404, "EntityNotFound", NO_ROW, UNAVAILABLE),
    (400, "ResourceNotFound", NO_ROW, UNAVAILABLE),
    (404, "AccountNotFound", DOWN, UNAVAILABLE),
    (404, "ContainerNotFound", DOWN, UNAVAILABLE),
    (409, "EntityAlreadyExists", CHANGED, UNAVAILABLE),
    (409, "TableBeingDeleted", DOWN, UNAVAILABLE),
    (409, "SomethingNew", DOWN, UNAVAILABLE),
    (412, "UpdateConditionNotSatisfied", CHANGED, UNAVAILABLE),
    (412, "ConditionNotMet", CHANGED, UNAVAILABLE),
    (412, "LeaseIdMissing", DOWN, UNAVAILABLE),
    (400, "InvalidInput", NO_QUERY, UNAVAILABLE),
    (400, "OutOfRangeInput", NO_QUERY, UNAVAILABLE),
    (400, "InvalidDuplicateRow", DOWN, UNAVAILABLE),
    (500, "InternalError", DOWN, UNAVAILABLE),
    (503, "ServerBusy", DOWN, UNAVAILABLE),
    (500, "OperationTimedOut", DOWN, UNAVAILABLE),
]


async def outcome(call: Awaitable[object]) -> Outcome:
    """The type of the error that the call raises. None if it succeeds."""
    try:
        await call
    except (RegistryUnavailable, InvalidQuery, Conflict) as error:
        return type(error)
    return None


@pytest.mark.parametrize("case", CODES, ids=lambda case: f"{case[0]} {case[1]}")
async def test_error_by_its_code(
    caplog: pytest.LogCaptureFixture,
    secure: "Secure | None",
    case: tuple[int, str, Outcomes, str],
) -> None:
    """The code decides, and not the status. Only a failure of the registry is logged, once."""
    status, code, (read, listed, write), event = case
    position = encoded([0, {"PartitionKey": "00", "RowKey": "i|"}, "i|"])
    calls: list[tuple[Callable[[Registry], Awaitable[object]], Outcome]] = [
        (lambda registry: registry.read(some_id(1)), read),
        (lambda registry: registry.read_user("alice"), read),
        (entries, RegistryUnavailable),
        (
            lambda registry: registry.count_due(DueKind.WORK, until=NOW, at_most=10),
            RegistryUnavailable,
        ),
        (lambda registry: registry.list_identities([State.ACTIVE], None, 10), RegistryUnavailable),
        (lambda registry: registry.list_identities([State.ACTIVE], position, 10), listed),
        *((call, write) for call in WRITES.values()),
    ]
    async with FailingService(status, code).registry(secure) as registry:
        for call, expected in calls:
            caplog.clear()
            assert await outcome(call(registry)) is expected
            is_logged = expected is RegistryUnavailable
            assert [message.partition(" ")[0] for message in caplog.messages] == [event] * is_logged
            assert all(code in message for message in caplog.messages)


PART = "Content-Type: application/http\r\n\r\n"
# Seconds: a little less than the client waits for each part of a response.
ALMOST = RESPONSE - 0.5
ACCEPTED = "HTTP/1.1 204 No Content\r\nETag: version\r\n\r\n\r\n--c--\r\n--b--\r\n"
BATCH = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n"
# Responses that the table service does not send: their status, their type and their text.
FOREIGN: dict[str, tuple[int, str, str]] = {
    "404 without a body": (404, "", ""),
    "404 page": (404, "text/html", "<html>not here</html>"),
    "404 of another service": (404, "application/json", '{"error":{"code":"NotFound"}}'),
    "404 without a code": (404, "application/json", '{"odata.error":{}}'),
    "404 with null": (404, "application/json", '{"odata.error":null}'),
    "404 that is a list": (404, "application/json", "[]"),
    "404 in text": (404, "text/plain", "ResourceNotFound"),
    "412 without a code": (412, "application/json", "{}"),
    "page": (200, "text/html", "<html>sign in</html>"),
    "XML": (200, "application/xml", "<feed/>"),
    "XML as text": (200, "text/xml; charset=utf-8", "<value></value>"),
    "empty": (200, "application/json", ""),
    "deep JSON": (200, "application/json", "[" * 100_000),
    "batch without results": (202, "multipart/mixed", ""),
    "batch with a page": (202, "multipart/mixed; boundary=b", f"--b\r\n{PART}<html>\r\n--b--\r\n"),
    "404 in a batch": (
        202,
        "multipart/mixed; boundary=b",
        f"{BATCH}{PART}HTTP/1.1 404 Not Found\r\n\r\n\r\n--c--\r\n--b--\r\n",
    ),
}


@pytest.mark.parametrize(("status", "kind", "text"), FOREIGN.values(), ids=FOREIGN)
async def test_foreign_response_is_no_result(
    secure: "Secure | None", status: int, kind: str, text: str
) -> None:
    """Without the table service's own code or results, a call says nothing about any row."""
    async with FailingService(status, body=(kind, text)).registry(secure) as registry:
        outcomes = [await outcome(call) for call in all_calls(registry)]

    assert set(outcomes) == {RegistryUnavailable}


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"value":[]}',
        '{"odata.etag":"W/1","RowKey":"i|other"}',
        f'{{"odata.etag":1,"RowKey":"{identity_key(some_id(1))}"}}',
    ],
)
async def test_json_of_another_service_is_no_row(secure: "Secure | None", text: str) -> None:
    """A response without an ETag or with another key is not the row, and no proof against it."""
    body = ("application/json", text)
    async with FailingService(200, body=body).registry(secure) as registry:
        assert await outcome(registry.read(some_id(1))) is RegistryUnavailable


async def test_batch_has_a_result_for_each_change() -> None:
    """A batch with one result for a row and its due entry may not have written both."""
    one = ("multipart/mixed; boundary=b", f"{BATCH}{PART}{ACCEPTED}")
    async with FailingService(202, body=one).registry() as registry:
        outcomes = [
            await outcome(registry.insert(active())),
            await outcome(registry.insert(creating())),
        ]

    assert outcomes == [None, RegistryUnavailable]


@pytest.mark.parametrize(
    ("status", "code", "throttles"),
    [(503, "ServerBusy", True), (503, "Other", False), (500, "OperationTimedOut", False)],
)
async def test_table_throttles(
    secure: "Secure | None", status: int, code: str, throttles: bool
) -> None:
    """The error tells it apart from a table that does not respond."""
    async with FailingService(status, code).registry(secure) as registry:
        with pytest.raises(RegistryUnavailable) as caught:
            await registry.read(some_id(1))

    assert caught.value.throttles is throttles


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"state": "frozen"}, "Invalid enum value 'frozen'"),
        ({}, "missing required field `state`"),
        ({"state": "active", "createdOn": "yesterday"}, "Invalid RFC3339"),
        ({"state": "active", "attempts": "many"}, "Expected `int`"),
    ],
)
async def test_row_that_is_not_readable(
    secure: "Secure | None",
    columns: dict[str, str],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A row that a newer release or another program has written is in the state `unknown`."""
    keys = {"PartitionKey": "00", "RowKey": f"i|{some_id(1)}", "odata.etag": "version"}
    row = {**keys, **columns}
    async with FailingService(200, row=row).registry(secure) as registry:
        identity = await registry.read(some_id(1))

    assert identity
    assert (identity.id, identity.state) == (some_id(1), State.UNKNOWN)
    assert f"row_not_readable identity_id={some_id(1)}" in caplog.text
    assert reason in caplog.text


def all_calls(registry: Registry) -> list[Awaitable[object]]:
    """One call of each method of the port."""
    row = active().with_etag("version")
    user = UserRow(user_id="alice", identity_id=row.id, etag="version")
    return [
        registry.read(row.id),
        registry.insert(creating(2)),
        registry.update(row, row.delete(NOW, RETENTION, Actor.SERVICE)),
        registry.remove(row),
        registry.read_user("alice"),
        registry.insert_user("alice", row.id),
        registry.replace_user(user, row.id),
        registry.remove_user(user),
        registry.list_identities([State.ACTIVE], None, 10),
        registry.read_sweep(),
        registry.record_sweep_start(NOW),
        registry.record_sweep_end(NOW),
        entries(registry),
        registry.count_due(DueKind.WORK, until=NOW, at_most=10),
    ]


async def test_stopped_table_service_is_unavailable(tmp_path: Path) -> None:
    """If the service stops under a worker with open connections, every call fails in time."""
    with contextlib.ExitStack() as running:
        account = running.enter_context(storage_account(tmp_path))
        async with account.table("registry") as client:
            registry = TableRegistry(client)
            await registry.insert(active())
            running.close()

            for call in all_calls(registry):
                with pytest.raises(RegistryUnavailable):
                    await asyncio.wait_for(call, 9)


class FailingService:
    """A table service that fails to process requests.

    Args:
        status: The status of its responses. None if it closes the connection instead.
        code: The error code in its responses.
        row: The body of its responses, if it is not an error.
        body: The type and the text of its responses instead.

    Attributes:
        requests: The methods of the requests, in order, without the creation of the table.
    """

    def __init__(
        self,
        status: int | None,
        code: str = "",
        row: dict[str, str] | None = None,
        body: tuple[str, str] = ("", ""),
    ) -> None:
        self.requests: list[str] = []
        self._status = status
        error: object = {"code": code, "message": {"lang": "en-US", "value": "planned by the test"}}
        content: object = row or ({"odata.error": error} if code else None)
        self._type, self._text = ("application/json", json.dumps(content)) if content else body

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Read the whole request, then fail."""
        if request.path.endswith("/Tables"):
            return web.json_response({"TableName": "registry"}, status=201)
        self.requests.append(request.method)
        await request.read()
        if self._status is None:
            assert request.transport
            request.transport.abort()
        response = web.Response(status=self._status or 200, text=self._text)
        response.headers["Content-Type"] = self._type
        return response

    @contextlib.asynccontextmanager
    async def registry(self, secure: "Secure | None" = None) -> AsyncIterator[TableRegistry]:
        """A registry on this service: over TLS with a token, or without TLS with a key."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.respond)
        server = TestServer(application)
        await server.start_server(ssl=secure.authority.server_context() if secure else None)
        port = server.port or 0
        async with server, secure.registry_at(port) if secure else registry_at(port) as registry:
            yield registry


class Secure(NamedTuple):
    """Serves and trusts a certificate."""

    authority: Authority
    bundle: Path

    @contextlib.asynccontextmanager
    async def registry_at(self, port: int) -> AsyncIterator[TableRegistry]:
        """The registry, connected with a token as in Azure."""
        self.authority.write_bundle(self.bundle)
        account = StorageAccount(f"https://localhost:{port}/local", self.bundle)
        registry = TableRegistry(account.table("registry"), account.reader("registry"))
        yield registry
        await registry.close()


@contextlib.asynccontextmanager
async def registry_at(port: int) -> AsyncIterator[TableRegistry]:
    """The registry, connected as in the app, in an account on loopback without TLS."""
    registry = TableRegistry.from_connection_string(
        f"DefaultEndpointsProtocol=http;AccountName=local;AccountKey={ACCOUNT_KEY};"
        f"TableEndpoint=http://127.0.0.1:{port}/local"
    )
    yield registry
    await registry.close()


ROW = changed(creating(), etag="version")
USER_ROW = UserRow(user_id="alice", identity_id=some_id(1), etag="version")
WRITES: dict[str, Callable[[Registry], Awaitable[object]]] = {
    "start of a sweep": lambda registry: registry.record_sweep_start(NOW),
    "insert": lambda registry: registry.insert(creating()),
    "update": lambda registry: registry.update(ROW, ROW.finish_creation()),
    "remove": lambda registry: registry.remove(changed(ROW, due=None)),
    "insert_user": lambda registry: registry.insert_user("alice", some_id(1)),
    "replace_user": lambda registry: registry.replace_user(USER_ROW, some_id(2)),
}
# For a missing user row, the last one has nothing to do.
ALL_WRITES: dict[str, Callable[[Registry], Awaitable[object]]] = {
    **WRITES,
    "remove_user": lambda registry: registry.remove_user(USER_ROW),
}


async def test_no_write_has_the_hash_of_a_user_id_in_its_url(account: StorageAccount) -> None:
    """Storage logs the URLs of writes and deletions, and the audit trail keeps them for years.

    A read has the hash in its URL, so reads are not logged.
    """
    sent: list[tuple[str, str]] = []

    def record(request: PipelineRequest[HttpRequest]) -> None:
        sent.append((request.http_request.method, unquote(request.http_request.url)))

    async with account.table(f"t{uuid4().hex}", raw_request_hook=record) as client:
        registry = TableRegistry(client)
        await registry.replace_user(await user_row(registry), some_id(2))
        row = await registry.read_user("alice")
        assert row
        await registry.remove_user(row)

    assert {method for method, _ in sent} == {"GET", "POST"}
    assert {method for method, url in sent if user_key("alice") in url} == {"GET"}


@pytest.mark.parametrize("status", [None, 408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("name", ALL_WRITES)
async def test_failed_write_is_sent_once(name: str, status: int | None) -> None:
    """A second attempt could be refused because of the first one, and look like a conflict."""
    service = FailingService(status)
    async with service.registry() as registry:
        with pytest.raises(RegistryUnavailable):
            await ALL_WRITES[name](registry)

    assert len(service.requests) == 1


class SlowService(FailingService):
    """A table service that is silent for some seconds before each of three parts of a response.

    It accepts every batch with one change.
    """

    def __init__(self, silence: float) -> None:
        super().__init__(202)
        self._silence = silence

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Send the headers, and then the body in two parts."""
        if request.path.endswith("/Tables"):
            return await super().respond(request)
        await request.read()
        response = web.StreamResponse(status=202)
        response.headers["Content-Type"] = "multipart/mixed; boundary=b"
        for part in ["", BATCH, f"{PART}{ACCEPTED}"]:
            await asyncio.sleep(self._silence)
            if not response.prepared:
                await response.prepare(request)
            await response.write(part.encode())
        return response


def test_write_is_waited_for_longer_than_a_read(virtual_time: asyncio.Runner) -> None:
    """The result of a write must be known: it is not abandoned when a read would be.

    Neither its total time nor a long silence ends it.
    """

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        async with SlowService(CONNECT + RESPONSE).registry() as registry:
            started = loop.time()
            await registry.insert(active())
            return loop.time() - started

    assert virtual_time.run(scenario()) > CONNECT + RESPONSE


def test_slow_read_is_abandoned(virtual_time: asyncio.Runner) -> None:
    """A read may take no longer, however slowly its parts arrive: none is late for itself."""

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        async with SlowService(ALMOST).registry() as registry:
            started = loop.time()
            assert await outcome(registry.read(some_id(1))) is RegistryUnavailable
            return loop.time() - started

    assert virtual_time.run(scenario()) == pytest.approx(CONNECT + RESPONSE)


@pytest.mark.parametrize(
    ("silence", "call", "seconds"),
    [
        (1, lambda registry: registry.insert(active()), 3),
        (ALMOST, lambda registry: outcome(registry.read(some_id(1))), CONNECT + RESPONSE),
    ],
    ids=["a write", "an abandoned read"],
)
def test_time_of_the_table(
    virtual_time: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    silence: float,
    call: Callable[[Registry], Awaitable[object]],
    seconds: float,
) -> None:
    """The invocation has the time that the table took, and nothing of the time after it."""

    async def scenario() -> int:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr("identity_service.log.time.perf_counter", loop.time)
        invocation = begin_invocation("one")
        async with SlowService(silence).registry() as registry:
            await call(registry)
        await asyncio.sleep(60)
        return invocation.table.milliseconds

    assert virtual_time.run(scenario()) == pytest.approx(seconds * 1000, abs=1)


@pytest.mark.parametrize("status", [None, 500, 503])
async def test_failed_read_is_sent_again(secure: "Secure | None", status: int | None) -> None:
    """A read can be repeated."""
    service = FailingService(status)
    async with service.registry(secure) as registry:
        with pytest.raises(RegistryUnavailable):
            await registry.read(some_id(1))

    assert len(service.requests) > 1


SILENT: dict[str, Callable[[Registry], list[Awaitable[object]]]] = {
    "one call of each method": all_calls,
    # None of them waits for the failures of the others.
    "many first writes": lambda registry: [registry.insert(creating(n)) for n in range(50)],
}


@pytest.mark.parametrize("calls", list(SILENT.values()), ids=list(SILENT))
def test_silent_table_service_is_unavailable_in_time(
    virtual_time: asyncio.Runner, calls: Callable[[Registry], list[Awaitable[object]]]
) -> None:
    """All calls end within ten seconds if the service accepts connections and never responds."""

    async def scenario() -> float:
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
            async with registry_at(listener.getsockname()[1]) as registry:
                loop = asyncio.get_running_loop()
                started = loop.time()
                outcomes = await asyncio.gather(*calls(registry), return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {RegistryUnavailable}
                return loop.time() - started

    assert virtual_time.run(scenario()) < 10
