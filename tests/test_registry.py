"""The same facts hold for the registry in memory and for the real one on Azure Table Storage."""

import asyncio
import base64
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.data.tables.aio import TableClient

from identity_service.entities import PARTITIONS, partition
from identity_service.errors import InvalidQuery, RegistryUnavailable
from identity_service.ports import Registry, RowChanged
from identity_service.registry import TableRegistry
from identity_service.rows import LEASE, AgendaRow, IdentityRow, State, UserRow
from tests.memory_registry import MemoryRegistry
from tests.support.azurite import CONNECTION, StorageAccount, storage_account

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
RETENTION = timedelta(days=7)
# Any 64 bytes in base64: a storage account's key.
ACCOUNT_KEY = base64.b64encode(bytes(64)).decode()

# What a user may be called.
USER_IDS = {
    "plain": "alice",
    "space": " ",
    "forbidden in keys": "/\\#?",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85",
    "quotes": "'\"' or ''",
    "percent": "%2F%00%",
    "emoji": "👩‍👩‍👧‍👦🇨🇭",
    "256 characters": "ß" * 256,
    "256 emoji": "🦄" * 256,
    "looks like a date": "2030-01-01T12:00:00Z",
    "looks like a number": "0017",
    "end of a batch": "--changeset\r\n\r\n--batch--\r\n",
    "not a character": "\ufffe\uffff",
}


def encoded(position: object) -> str:
    """A continuation as the real registry writes one."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


# What is no continuation.
GARBAGE = {
    "nothing": "",
    "a letter": "x",
    "no base64": "!!!",
    "not ASCII": "é👍",
    "control characters": "\x00\r\n",
    "no JSON": base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    "no pair": encoded({}),
    "no number": encoded(["0", None]),
    "partition too high": encoded([PARTITIONS, None]),
    "partition too low": encoded([-1, None]),
    "no position": encoded([0, 1]),
    "position of numbers": encoded([0, {"PartitionKey": 1}]),
    "long": "A" * 3000,
}


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageAccount]:
    """A storage account for all tests of this process."""
    with storage_account(tmp_path_factory.mktemp("storage")) as running:
        yield running


@pytest.fixture
async def table(account: StorageAccount) -> AsyncIterator[TableClient]:
    """A table of the test's own, which is not there yet."""
    async with account.table(f"t{uuid4().hex}") as client:
        yield client


@pytest.fixture(params=["memory", "table"])
def registry(request: pytest.FixtureRequest) -> Registry:
    """An empty registry: once in memory, once the real one."""
    if request.param == "memory":
        return MemoryRegistry()
    return TableRegistry(request.getfixturevalue("table"))


@pytest.fixture
def table_registry(table: TableClient) -> TableRegistry:
    """The real one, where it alone is meant."""
    return TableRegistry(table)


def some_id(number: int) -> str:
    """An identity's id."""
    return f"8:acs:00000000-1111-2222-3333-444444444444_{number:08x}-1111-2222-3333-444444444444"


def ids_in(partition_key: str) -> Iterator[str]:
    """Ids whose rows are all in one partition."""
    return (name for name in map(some_id, itertools.count()) if partition(name) == partition_key)


def creating(number: int = 1, due: datetime = NOW + LEASE) -> IdentityRow:
    """A row as a creation writes it first."""
    return IdentityRow(id=some_id(number), state=State.CREATING, created_on=NOW, due=due)


async def active_row(registry: Registry, number: int = 1) -> IdentityRow:
    """The row of an active identity, written down."""
    return await registry.insert(creating(number).active())


async def insert_all(registry: Registry, rows: Iterable[IdentityRow]) -> None:
    """Write the rows, a few at a time."""
    several = asyncio.Semaphore(16)

    async def insert(row: IdentityRow) -> None:
        async with several:
            await registry.insert(row)

    await asyncio.gather(*map(insert, rows))


async def entries(
    registry: Registry, after: AgendaRow | None = None, until: datetime | None = None
) -> list[AgendaRow]:
    """The agenda, read to its end."""
    return [entry async for entry in registry.agenda(after=after, until=until)]


async def winners(writes: Iterable[Awaitable[object]]) -> int:
    """How many of the writes were taken, all sent at once; the others were refused."""
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(outcome, RowChanged) for outcome in outcomes if is_error(outcome))
    return sum(not is_error(outcome) for outcome in outcomes)


def is_error(outcome: object) -> bool:
    """Whether a write ended with an exception."""
    return isinstance(outcome, BaseException)


async def listed(registry: Registry, size: int) -> list[list[IdentityRow]]:
    """The pages of active identities to the end."""
    pages = []
    continuation = None
    while True:
        page = await registry.active(continuation, size)
        pages.append(page.rows)
        continuation = page.continuation
        if continuation is None:
            return pages


async def test_missing_row_is_none(registry: Registry) -> None:
    """Reading an identity that has no row gives none."""
    row = await registry.read(some_id(1))

    assert row is None


async def test_inserted_row_can_be_read(registry: Registry) -> None:
    """What insert returns is what read gives, its ETag included."""
    inserted = await registry.insert(creating())

    assert await registry.read(some_id(1)) == inserted


async def test_inserted_row_is_as_it_was_given(registry: Registry) -> None:
    """Every column comes back as it was written."""
    row = IdentityRow(
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

    inserted = await registry.insert(row)

    assert inserted.but(etag="") == row


async def test_insert_of_a_row_that_is_there_is_refused(registry: Registry) -> None:
    """An identity has one row."""
    await registry.insert(creating())

    with pytest.raises(RowChanged):
        await registry.insert(creating())


async def test_updated_row_can_be_read(registry: Registry) -> None:
    """What update returns is what read gives, its new ETag included."""
    row = await registry.insert(creating())

    updated = await registry.update(row, row.active())

    assert await registry.read(row.id) == updated


async def test_update_replaces_every_column(registry: Registry) -> None:
    """A column that the new row does not have is gone."""
    row = await active_row(registry)
    deleted = await registry.update(row, row.deleted(NOW, RETENTION))

    restored = await registry.update(deleted, deleted.active())

    assert await registry.read(row.id) == row.but(etag=restored.etag)


async def test_update_changes_the_etag(registry: Registry) -> None:
    """Two versions of a row never share an ETag, even when they are alike."""
    row = await active_row(registry)

    updated = await registry.update(row, row)

    assert updated.etag != row.etag


async def test_row_can_be_updated_with_the_etag_that_update_returned(registry: Registry) -> None:
    """Nobody needs to read a row that they have just written."""
    row = await registry.insert(creating())
    active = await registry.update(row, row.active())

    deleted = await registry.update(active, active.deleted(NOW, RETENTION))

    assert deleted.state is State.DELETED


async def test_update_of_a_row_that_has_changed_is_refused(registry: Registry) -> None:
    """A stale ETag writes nothing."""
    row = await registry.insert(creating())
    active = await registry.update(row, row.active())

    with pytest.raises(RowChanged):
        await registry.update(row, row.but(due=NOW))

    assert await registry.read(row.id) == active


async def test_update_of_a_missing_row_is_refused(registry: Registry) -> None:
    """An update never brings a row back."""
    row = await active_row(registry)
    await registry.remove(row)

    with pytest.raises(RowChanged):
        await registry.update(row, row.deleted(NOW, RETENTION))

    assert await registry.read(row.id) is None


async def test_removed_row_is_gone(registry: Registry) -> None:
    """After its removal an identity has no row."""
    row = await registry.insert(creating())

    await registry.remove(row)

    assert await registry.read(row.id) is None


async def test_removal_of_a_row_that_has_changed_is_refused(registry: Registry) -> None:
    """A stale ETag removes nothing."""
    row = await registry.insert(creating())
    active = await registry.update(row, row.active())

    with pytest.raises(RowChanged):
        await registry.remove(row)

    assert await registry.read(row.id) == active


async def test_removal_of_a_missing_row_is_refused(registry: Registry) -> None:
    """A row is removed by one: what must be won once can be won by removing."""
    row = await registry.insert(creating())
    await registry.remove(row)

    with pytest.raises(RowChanged):
        await registry.remove(row)


async def test_of_many_inserts_exactly_one_wins(registry: Registry) -> None:
    """Fifty writers, one new row."""
    taken = await winners(registry.insert(creating()) for _ in range(50))

    assert taken == 1


async def test_of_many_updates_with_one_etag_exactly_one_wins(registry: Registry) -> None:
    """Fifty writers who have read the same version."""
    row = await active_row(registry)

    taken = await winners(
        registry.update(row, row.deleted(NOW + timedelta(seconds=second), RETENTION))
        for second in range(50)
    )

    assert taken == 1


async def test_the_one_update_that_wins_leaves_one_agenda_row(registry: Registry) -> None:
    """Forty-nine refused batches put nothing on the agenda."""
    row = await active_row(registry)

    await winners(
        registry.update(row, row.deleted(NOW + timedelta(seconds=second), RETENTION))
        for second in range(50)
    )

    after = await registry.read(row.id)
    assert after
    assert [entry.due for entry in await entries(registry)] == [after.due]


async def test_of_many_removals_exactly_one_wins(registry: Registry) -> None:
    """Twenty sweeps at the last step of one purge: it is counted once."""
    row = await registry.insert(creating())

    taken = await winners(registry.remove(row) for _ in range(20))

    assert taken == 1


async def test_row_with_a_due_is_on_the_agenda(registry: Registry) -> None:
    """Insert writes both rows."""
    await registry.insert(creating())

    assert await entries(registry) == [AgendaRow(NOW + LEASE, some_id(1))]


async def test_row_without_a_due_is_not_on_the_agenda(registry: Registry) -> None:
    """An active identity costs the sweep nothing."""
    await active_row(registry)

    assert await entries(registry) == []


async def test_update_that_clears_the_due_takes_it_off_the_agenda(registry: Registry) -> None:
    """Both rows change in one batch."""
    row = await registry.insert(creating())

    await registry.update(row, row.active())

    assert await entries(registry) == []


async def test_update_that_sets_a_due_puts_it_on_the_agenda(registry: Registry) -> None:
    """Both rows change in one batch."""
    row = await active_row(registry)

    await registry.update(row, row.deleted(NOW, RETENTION))

    assert await entries(registry) == [AgendaRow(NOW + LEASE, row.id)]


async def test_update_that_moves_the_due_leaves_one_agenda_row(registry: Registry) -> None:
    """The old agenda row goes out as the new one comes in."""
    row = await registry.insert(creating())

    await registry.update(row, row.but(due=NOW + RETENTION))

    assert await entries(registry) == [AgendaRow(NOW + RETENTION, row.id)]


async def test_update_that_keeps_the_due_keeps_the_agenda_row(registry: Registry) -> None:
    """The claim of a purge that is due already."""
    row = await registry.insert(creating())

    await registry.update(row, row.but(state=State.PURGING))

    assert await entries(registry) == [AgendaRow(NOW + LEASE, row.id)]


async def test_removal_takes_the_row_off_the_agenda(registry: Registry) -> None:
    """Both rows go in one batch."""
    row = await registry.insert(creating())

    await registry.remove(row)

    assert await entries(registry) == []


async def test_refused_insert_leaves_the_agenda_alone(registry: Registry) -> None:
    """The identity row is refused, so the agenda row does not come in either."""
    row = await active_row(registry)

    with pytest.raises(RowChanged):
        await registry.insert(creating())

    assert (await registry.read(row.id), await entries(registry)) == (row, [])


async def test_refused_update_leaves_the_agenda_alone(registry: Registry) -> None:
    """The identity row is refused, so no agenda row goes out or comes in."""
    row = await registry.insert(creating())
    await registry.update(row, row.but(attempts=1))

    with pytest.raises(RowChanged):
        await registry.update(row, row.but(due=NOW + RETENTION))

    assert await entries(registry) == [AgendaRow(NOW + LEASE, row.id)]


async def test_refused_removal_leaves_the_agenda_alone(registry: Registry) -> None:
    """The identity row is refused, so its agenda row stays."""
    row = await registry.insert(creating())
    await registry.update(row, row.but(attempts=1))

    with pytest.raises(RowChanged):
        await registry.remove(row)

    assert await entries(registry) == [AgendaRow(NOW + LEASE, row.id)]


async def test_update_is_refused_where_the_old_agenda_row_is_missing(registry: Registry) -> None:
    """The agenda row is refused, so the identity row does not change either."""
    row = await registry.insert(creating())
    mistaken = row.but(due=NOW)

    with pytest.raises(RowChanged):
        await registry.update(mistaken, mistaken.active())

    assert (await registry.read(row.id), len(await entries(registry))) == (row, 1)


async def test_insert_is_refused_where_the_agenda_row_is_there(registry: Registry) -> None:
    """The agenda row is refused, so the identity row does not come in either."""
    row = await registry.insert(creating())
    await registry.remove(row.but(due=None))

    with pytest.raises(RowChanged):
        await registry.insert(creating())

    assert await registry.read(row.id) is None


async def test_removal_is_refused_where_the_agenda_row_is_missing(registry: Registry) -> None:
    """The agenda row is refused, so the identity row stays."""
    row = await active_row(registry)

    with pytest.raises(RowChanged):
        await registry.remove(row.but(due=NOW))

    assert await registry.read(row.id) == row


async def test_empty_agenda_has_no_entries(registry: Registry) -> None:
    """Nothing is due in an empty registry."""
    assert await entries(registry, until=NOW) == []


async def test_agenda_is_in_order_across_partitions(registry: Registry) -> None:
    """Sixteen sorted streams are merged into one, by due and then by id."""
    rows = [creating(number, NOW + timedelta(minutes=number * 7 % 10)) for number in range(64)]
    await insert_all(registry, rows)
    assert len({partition(row.id) for row in rows}) == PARTITIONS

    agenda = await entries(registry)

    assert agenda == sorted(AgendaRow(row.due or NOW, row.id) for row in rows)


async def test_agenda_until_includes_what_is_due_at_that_moment(registry: Registry) -> None:
    """To the microsecond: what is due now is due, what is due next is not."""
    moment = timedelta(microseconds=1)
    for number, due in enumerate([NOW - moment, NOW, NOW + moment]):
        await registry.insert(creating(number, due))

    agenda = await entries(registry, until=NOW)

    assert [entry.due for entry in agenda] == [NOW - moment, NOW]


async def test_agenda_until_knows_time_zones(registry: Registry) -> None:
    """The same moment, as another country writes it."""
    await registry.insert(creating(due=NOW))

    agenda = await entries(registry, until=NOW.astimezone(timezone(timedelta(hours=-9))))

    assert len(agenda) == 1


async def test_agenda_after_an_entry_begins_behind_it(registry: Registry) -> None:
    """Also among entries that are due at the same moment."""
    await insert_all(registry, (creating(number) for number in range(40)))
    agenda = await entries(registry)

    for position in (0, 17, 38, 39):
        assert await entries(registry, after=agenda[position]) == agenda[position + 1 :]


async def test_agenda_after_an_entry_that_is_gone_begins_behind_its_place(
    registry: Registry,
) -> None:
    """A page of a list may be asked for when its predecessor's last entry has been purged."""
    rows = [await registry.insert(creating(number)) for number in range(3)]
    agenda = await entries(registry)
    await registry.remove(rows[1])

    rest = await entries(registry, after=agenda[1])

    assert rest == agenda[2:]


async def test_agenda_after_and_until_bound_it_together(registry: Registry) -> None:
    """Both ends at once."""
    for number in range(5):
        await registry.insert(creating(number, NOW + timedelta(minutes=number)))
    [_, second, third, fourth, _] = await entries(registry)

    agenda = await entries(registry, after=second, until=fourth.due)

    assert agenda == [third, fourth]


async def test_agenda_goes_on_beyond_a_page_of_a_partition(registry: Registry) -> None:
    """More than two pages in one partition, and a few entries elsewhere in between."""
    names = [*itertools.islice(ids_in("07"), 205), *itertools.islice(ids_in("08"), 3)]
    rows = [
        creating().but(id=name, due=NOW + timedelta(seconds=number * 89 % 257))
        for number, name in enumerate(names)
    ]
    await insert_all(registry, rows)

    agenda = await entries(registry)

    assert agenda == sorted(AgendaRow(row.due or NOW, row.id) for row in rows)


async def test_agenda_survives_removals_while_it_is_read(registry: Registry) -> None:
    """A sweep removes what it reads: each entry comes once, and none is left out."""
    rows = [creating().but(id=name) for name in itertools.islice(ids_in("07"), 130)]
    await insert_all(registry, rows)
    seen = []

    async for entry in registry.agenda():
        seen.append(entry.identity_id)
        row = await registry.read(entry.identity_id)
        assert row
        await registry.remove(row)

    assert (len(seen), set(seen)) == (130, {row.id for row in rows})
    assert await entries(registry) == []


async def test_agenda_can_be_left_halfway(registry: Registry) -> None:
    """Whoever wants the first entry only reads the first entry only."""
    await insert_all(registry, (creating(number) for number in range(20)))

    first = [entry async for entry in _first(registry.agenda())]

    assert first == (await entries(registry))[:1]


async def _first(agenda: AsyncIterator[AgendaRow]) -> AsyncIterator[AgendaRow]:
    async for entry in agenda:
        yield entry
        return


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 12, 31, 23, 59, 59, 999999, UTC),
        datetime(2030, 1, 1, 0, 0, 0, 0, UTC),
        datetime(2030, 6, 1, 12, 0, 0, 1, UTC),
        datetime(2030, 6, 1, 12, 0, 0, 100000, UTC),
        datetime(2030, 6, 1, 12, 0, 0, 7, timezone(timedelta(hours=5, minutes=45))),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    ],
    ids=str,
)
async def test_moments_survive_exactly(registry: Registry, moment: datetime) -> None:
    """To the microsecond, in the row and on the agenda: the sweep compares the two."""
    row = creating(due=moment).but(created_on=moment, deleted_on=moment, scheduled_purge_on=moment)
    await registry.insert(row)

    read = await registry.read(row.id)

    assert read
    assert read.but(etag="") == row
    assert [entry.due for entry in await entries(registry)] == [read.due]


async def test_missing_user_is_none(registry: Registry) -> None:
    """Reading a user who claims nothing gives none."""
    claim = await registry.read_user("alice")

    assert claim is None


@pytest.mark.parametrize("user_id", USER_IDS.values(), ids=USER_IDS)
async def test_user_id_may_be_anything(registry: Registry, user_id: str) -> None:
    """The claim is found by it, and the identity's row holds it unchanged."""
    await registry.insert(creating().but(user_id=user_id))
    await registry.insert_user(user_id, some_id(1))

    claim = await registry.read_user(user_id)
    row = await registry.read(some_id(1))

    assert claim
    assert row
    assert (claim.user_id, claim.identity_id, row.user_id) == (user_id, some_id(1), user_id)


async def test_users_are_told_apart_by_every_character(registry: Registry) -> None:
    """Case, composition and trailing blanks make another user."""
    users = ["alice", "Alice", "alice ", "alice\x00", "é", "e\u0301"]
    for number, user_id in enumerate(users):
        await registry.insert_user(user_id, some_id(number))

    claims = [await registry.read_user(user_id) for user_id in users]

    assert [claim and claim.identity_id for claim in claims] == list(map(some_id, range(6)))


async def test_second_claim_of_a_user_is_refused(registry: Registry) -> None:
    """A user has one identity."""
    await registry.insert_user("alice", some_id(1))

    with pytest.raises(RowChanged):
        await registry.insert_user("alice", some_id(2))


async def test_of_many_claims_exactly_one_wins(registry: Registry) -> None:
    """Fifty creators for one user."""
    taken = await winners(registry.insert_user("alice", some_id(number)) for number in range(50))

    assert taken == 1


async def test_of_many_replacements_of_a_claim_exactly_one_wins(registry: Registry) -> None:
    """Fifty creators who found the same dangling claim."""
    await registry.insert_user("alice", some_id(0))
    claim = await registry.read_user("alice")
    assert claim

    taken = await winners(registry.update_user(claim, some_id(number)) for number in range(1, 51))

    assert taken == 1


async def test_replaced_claim_names_the_new_identity(registry: Registry) -> None:
    """A dangling claim is replaced."""
    await registry.insert_user("alice", some_id(1))
    claim = await registry.read_user("alice")
    assert claim

    await registry.update_user(claim, some_id(2))

    after = await registry.read_user("alice")
    assert after
    assert after.identity_id == some_id(2)


async def test_replacement_of_a_claim_that_is_gone_is_refused(registry: Registry) -> None:
    """An update never brings a claim back."""
    await registry.insert_user("alice", some_id(1))
    claim = await registry.read_user("alice")
    assert claim
    await registry.remove_user(claim)

    with pytest.raises(RowChanged):
        await registry.update_user(claim, some_id(2))

    assert await registry.read_user("alice") is None


async def test_removed_claim_is_gone(registry: Registry) -> None:
    """The user can claim anew."""
    await registry.insert_user("alice", some_id(1))
    claim = await registry.read_user("alice")
    assert claim

    await registry.remove_user(claim)

    assert await registry.read_user("alice") is None


async def test_removal_of_a_claim_that_has_changed_is_refused(registry: Registry) -> None:
    """The next identity's claim is not the old identity's to take away."""
    await registry.insert_user("alice", some_id(1))
    claim = await registry.read_user("alice")
    assert claim
    await registry.update_user(claim, some_id(2))

    with pytest.raises(RowChanged):
        await registry.remove_user(claim)

    after = await registry.read_user("alice")
    assert after
    assert after.identity_id == some_id(2)


async def test_removal_of_a_claim_that_is_gone_is_silent(registry: Registry) -> None:
    """The table service does not tell, so nobody may build on it."""
    await registry.insert_user("alice", some_id(1))
    claim = await registry.read_user("alice")
    assert claim
    await registry.remove_user(claim)

    await registry.remove_user(claim)

    assert await registry.read_user("alice") is None


async def test_user_rows_are_not_on_the_agenda_and_not_listed(registry: Registry) -> None:
    """Three kinds of rows share the partitions, and none is taken for another."""
    for number in range(20):
        await registry.insert_user(f"user {number}", some_id(number))

    assert (await entries(registry), await listed(registry, 10)) == ([], [[]])


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_active_identities_are_listed_once_each(registry: Registry, size: int) -> None:
    """Page by page to the end: every active one exactly once, and no other."""
    rows = [creating(number).active() for number in range(40)]
    others = [creating(number).deleted(NOW, RETENTION) for number in range(40, 60)]
    await insert_all(registry, rows + others)

    pages = await listed(registry, size)

    assert sorted(row.id for page in pages for row in page) == sorted(row.id for row in rows)


async def test_active_identities_of_one_partition_are_listed_once_each(registry: Registry) -> None:
    """More than a page in one partition."""
    rows = [creating().active().but(id=name) for name in itertools.islice(ids_in("15"), 130)]
    await insert_all(registry, rows)

    pages = await listed(registry, 100)

    assert sorted(row.id for page in pages for row in page) == sorted(row.id for row in rows)


async def test_page_holds_no_more_than_asked_for(registry: Registry) -> None:
    """However many identities there are."""
    await insert_all(registry, (creating(number).active() for number in range(30)))

    pages = await listed(registry, 4)

    assert max(map(len, pages)) == 4


async def test_listed_row_is_the_row(registry: Registry) -> None:
    """A list tells of an identity what a read tells."""
    row = await active_row(registry)

    page = await registry.active(None, 100)

    assert page.rows == [row]


async def test_empty_registry_lists_nothing(registry: Registry) -> None:
    """One empty page, and no more."""
    assert await listed(registry, 100) == [[]]


async def test_listing_survives_removals_between_pages(registry: Registry) -> None:
    """What stays is listed, whatever happens to the row at which a page ended."""
    await insert_all(registry, (creating(number).active() for number in range(40)))
    seen: list[str] = []
    page = await registry.active(None, 5)

    while True:
        for row in page.rows:
            seen.append(row.id)
            await registry.remove(row)
        if page.continuation is None:
            break
        page = await registry.active(page.continuation, 5)

    assert sorted(seen) == sorted(map(some_id, range(40)))


@pytest.mark.parametrize("continuation", GARBAGE.values(), ids=GARBAGE)
async def test_invented_continuation_is_refused(registry: Registry, continuation: str) -> None:
    """Nobody but an earlier page makes continuations."""
    await active_row(registry)

    with pytest.raises(InvalidQuery):
        await registry.active(continuation, 10)


async def test_table_appears_by_itself_when_read(table_registry: TableRegistry) -> None:
    """The very first call of an app may be a read."""
    assert await table_registry.read(some_id(1)) is None


async def test_table_appears_by_itself_for_a_hundred_first_calls(
    table_registry: TableRegistry,
) -> None:
    """Reads and writes at once, all before there is a table."""
    inserts = (table_registry.insert(creating(number)) for number in range(50))
    reads = (table_registry.read(some_id(number)) for number in range(50, 100))

    await asyncio.gather(*inserts, *reads)

    assert len(await entries(table_registry)) == 50


async def test_table_appears_once_for_many_workers(table: TableClient) -> None:
    """Each worker believes that it is the first."""
    workers = [TableRegistry(table) for _ in range(20)]

    await asyncio.gather(*(worker.insert(creating(n)) for n, worker in enumerate(workers)))

    assert len(await entries(workers[0])) == 20


async def test_table_that_vanished_is_missed_once_only(
    table: TableClient, table_registry: TableRegistry
) -> None:
    """Somebody deletes the table under a running worker: one call fails, the next makes it anew."""
    await active_row(table_registry)
    await table.delete_table()

    with pytest.raises(RegistryUnavailable):
        await table_registry.read(some_id(1))

    assert await table_registry.read(some_id(1)) is None


async def test_write_to_a_table_that_vanished_is_not_taken_for_a_conflict(
    table: TableClient, table_registry: TableRegistry
) -> None:
    """A missing table is 404 like a missing row, and yet says nothing about the row."""
    row = await active_row(table_registry)
    await table.delete_table()

    with pytest.raises(RegistryUnavailable):
        await table_registry.update(row, row.deleted(NOW, RETENTION))


async def test_stopped_table_service_is_unavailable_in_time(tmp_path: Path) -> None:
    """Stopped under a worker whose connections were open: every kind of call ends soon."""
    with contextlib.ExitStack() as running:
        account = running.enter_context(storage_account(tmp_path))
        async with account.table("registry") as client:
            registry = TableRegistry(client)
            row = await active_row(registry)
            running.close()

            for call in (
                registry.read(row.id),
                registry.insert(creating(2)),
                registry.update(row, row.deleted(NOW, RETENTION)),
                registry.remove(row),
                registry.insert_user("alice", row.id),
                registry.read_user("alice"),
                registry.active(None, 10),
                entries(registry),
            ):
                with pytest.raises(RegistryUnavailable):
                    await asyncio.wait_for(call, 9)


class Rude:
    """A table service that hangs up instead of answering.

    Attributes:
        requests: The methods of the requests, in order, but for the one that makes the table.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Read the request to its end, then hang up."""
        if request.path.endswith("/Tables"):
            return web.json_response({"TableName": "registry"}, status=201)
        self.requests.append(request.method)
        await request.read()
        assert request.transport
        request.transport.abort()
        return web.Response()

    @contextlib.asynccontextmanager
    async def registry(self) -> AsyncIterator[TableRegistry]:
        """A registry that speaks to it."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        async with TestServer(application) as server, table_at(server.port or 0) as table:
            yield TableRegistry(table)


def table_at(port: int) -> TableClient:
    """The table in an account on loopback, without TLS."""
    account = (
        f"DefaultEndpointsProtocol=http;AccountName=local;AccountKey={ACCOUNT_KEY};"
        f"TableEndpoint=http://127.0.0.1:{port}/local"
    )
    return TableClient.from_connection_string(account, "registry", **CONNECTION)


async def test_batch_without_an_answer_is_sent_once() -> None:
    """Its outcome must be known: a second try could not tell its own effect from another's."""
    service = Rude()

    async with service.registry() as registry:
        with pytest.raises(RegistryUnavailable):
            await registry.insert(creating())

    assert service.requests == ["POST"]


async def test_claim_without_an_answer_is_sent_once() -> None:
    """The same for a write that is no batch."""
    service = Rude()

    async with service.registry() as registry:
        with pytest.raises(RegistryUnavailable):
            await registry.insert_user("alice", some_id(1))

    assert service.requests == ["POST"]


async def test_replacement_of_a_claim_without_an_answer_is_sent_once() -> None:
    """Sent again, it would be refused for its own effect, and be taken for another's."""
    service = Rude()
    claim = UserRow(user_id="alice", identity_id=some_id(1), etag="version")

    async with service.registry() as registry:
        with pytest.raises(RegistryUnavailable):
            await registry.update_user(claim, some_id(2))

    assert len(service.requests) == 1


async def test_read_without_an_answer_is_sent_again() -> None:
    """A read can be repeated without harm."""
    service = Rude()

    async with service.registry() as registry:
        with pytest.raises(RegistryUnavailable):
            await registry.read(some_id(1))

    assert len(service.requests) > 1


@contextlib.asynccontextmanager
async def silent_registry() -> AsyncIterator[TableRegistry]:
    """A registry whose table service takes connections, and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        async with table_at(listener.getsockname()[1]) as table:
            yield TableRegistry(table)


async def seconds_of_silence(calls: Callable[[Registry], list[Awaitable[object]]]) -> float:
    """How long the slowest of the calls takes to say that the registry is unavailable."""
    async with silent_registry() as registry:
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcomes = await asyncio.gather(*calls(registry), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {RegistryUnavailable}
        return loop.time() - started


def test_silent_table_service_is_unavailable_in_time(hasty: asyncio.Runner) -> None:
    """Calls of every kind end within ten seconds."""

    def calls(registry: Registry) -> list[Awaitable[object]]:
        return [
            registry.read(some_id(1)),
            registry.insert(creating()),
            registry.insert_user("alice", some_id(1)),
            registry.active(None, 10),
            entries(registry),
        ]

    assert hasty.run(seconds_of_silence(calls)) < 10


def test_many_first_writes_to_a_silent_table_service_end_in_time(hasty: asyncio.Runner) -> None:
    """Fifty writes that find no table yet: none waits out the failures of the others."""

    def calls(registry: Registry) -> list[Awaitable[object]]:
        return [registry.insert(creating(number)) for number in range(50)]

    assert hasty.run(seconds_of_silence(calls)) < 10
