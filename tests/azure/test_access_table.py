"""The rows about Teams Phone access. The facts hold in memory and on Azure Tables (Azurite)."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from azure.data.tables.aio import TableClient

from identity_service.azure.registries import TableAccessRegistry, TableRegistry
from identity_service.azure.table_codec import PARTITIONS, encode_access, partition
from identity_service.errors import InvalidQuery, RegistryUnavailable
from identity_service.identity import LEASE, Identity, State
from identity_service.ports import AccessRegistry, Conflict
from identity_service.services import SystemClock
from identity_service.teams_access import Access, AccessDue, AccessState, Assignment
from tests.support.memory import MemoryAccessRegistry

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SOON = NOW + LEASE
NEVER = datetime.max.replace(tzinfo=UTC)
TENANT = "99999999-8888-7777-6666-555555555555"
OTHER_TENANT = "99999999-8888-7777-6666-666666666666"
ASSIGNMENT = Assignment("user", ("22222222-3333-4444-5555-666666666666", "another"))
ANY_STATE = tuple(AccessState)


@pytest.fixture(params=["memory", "table"])
def registry(request: pytest.FixtureRequest) -> AccessRegistry:
    """Without a row, in memory and on a table."""
    if request.param == "memory":
        return MemoryAccessRegistry(SystemClock())
    return TableAccessRegistry(request.getfixturevalue("table"))


def object_id(number: int) -> str:
    """The object id of a user."""
    return f"{number:08x}-1111-2222-3333-444444444444"


def assigning(number: int = 1, tenant_id: str = TENANT, now: datetime = NOW) -> Access:
    """An access that is being given, and so is due."""
    absent = Access.absent(tenant_id, object_id(number))
    return absent.assign(ASSIGNMENT, NOW + timedelta(days=1), now)


def settled(number: int = 1) -> Access:
    """An access of which nothing is due."""
    return Access.absent(TENANT, object_id(number)).take_over(ASSIGNMENT, None, NOW)


async def inserted(registry: AccessRegistry, *rows: Access) -> list[Access]:
    """The rows, inserted at the same time."""
    return await asyncio.gather(*(registry.insert(row, not_after=NEVER) for row in rows))


async def read(registry: AccessRegistry, number: int = 1) -> Access | None:
    """The row of a user."""
    return await registry.read(TENANT, object_id(number))


async def due(registry: AccessRegistry, until: datetime = NEVER) -> list[AccessDue]:
    """The due entries up to this time."""
    return [entry async for entry in registry.due(until)]


async def listed(
    registry: AccessRegistry,
    tenant_id: str | None = None,
    states: Iterable[AccessState] = ANY_STATE,
    size: int = 1000,
) -> list[list[Access]]:
    """All pages."""
    found, continuation = [], None
    while True:
        page = await registry.list(tenant_id, tuple(states), continuation, size)
        found.append(page.items)
        if page.continuation is None:
            return found
        continuation = page.continuation


def keys(pages: list[list[Access]]) -> list[tuple[str, str]]:
    """Whose rows these are, in a fixed order."""
    return sorted((row.tenant_id, row.object_id) for page in pages for row in page)


async def test_no_rows(registry: AccessRegistry) -> None:
    """An unused registry has nothing."""
    assert await read(registry) is None
    assert await due(registry) == []
    assert await listed(registry) == [[]]


@pytest.mark.parametrize(
    "row",
    [
        assigning(),
        settled(),
        msgspec.structs.replace(assigning(), removed_before=True),
        assigning().postpone(NOW + timedelta(hours=1), "acs_unavailable"),
        Access.absent(TENANT, object_id(1)).remove(NOW),
        Access.absent(TENANT, object_id(1)).remove(NOW).finish_removal(),
        Access.absent(TENANT, object_id(1)).take_over(Assignment("resourceAccount", ()), None, NOW),
        msgspec.structs.replace(settled(), unknown_columns=(("newer", 1),)),
    ],
    ids=lambda row: f"{row.state} {row.principal_type} {row.attempts} {row.unknown_columns}",
)
async def test_row_can_be_read(registry: AccessRegistry, row: Access) -> None:
    """It is read as it was written, with the version that the write has returned."""
    [written] = await inserted(registry, row)

    assert written.etag
    assert written == row.with_etag(written.etag)
    assert await read(registry) == written


async def test_existing_row_is_not_inserted(registry: AccessRegistry) -> None:
    """Of two inserts the first one counts."""
    [written] = await inserted(registry, assigning())
    with pytest.raises(Conflict):
        await inserted(registry, settled())

    assert await read(registry) == written


async def test_late_insert_is_not_sent(registry: AccessRegistry) -> None:
    """After its time, nothing is written."""
    await read(registry)  # creates the table
    with pytest.raises(RegistryUnavailable):
        await registry.insert(assigning(), not_after=datetime.now(UTC) - timedelta(seconds=1))

    assert await read(registry) is None


async def test_update_replaces_the_row(registry: AccessRegistry) -> None:
    """What the new row does not have is gone, and the version is another one."""
    [written] = await inserted(registry, assigning().postpone(SOON, "acs_unavailable"))
    updated = await registry.update(written, settled())

    assert updated.etag != written.etag
    assert await read(registry) == settled().with_etag(updated.etag)


async def test_removed_row_is_gone(registry: AccessRegistry) -> None:
    """So is its due entry."""
    [written] = await inserted(registry, assigning())
    await registry.remove(written)

    assert await read(registry) is None
    assert await due(registry) == []


@pytest.mark.parametrize("write", ["update", "remove"])
async def test_write_to_a_changed_row_is_refused(registry: AccessRegistry, write: str) -> None:
    """It would undo what another caller has written."""
    [written] = await inserted(registry, assigning())
    current = await registry.update(written, written.finish_assignment())
    with pytest.raises(Conflict):
        await getattr(registry, write)(*[written, written.remove(NOW)][: 1 + (write == "update")])

    assert await read(registry) == current


@pytest.mark.parametrize("write", ["update", "remove"])
async def test_write_to_a_missing_row_is_refused(registry: AccessRegistry, write: str) -> None:
    """A row that is gone does not come back."""
    [written] = await inserted(registry, assigning())
    await registry.remove(written)
    with pytest.raises(Conflict):
        await getattr(registry, write)(*[written, written.remove(NOW)][: 1 + (write == "update")])

    assert await read(registry) is None


@pytest.mark.parametrize("before", [None, NOW, SOON])
@pytest.mark.parametrize("after", [None, NOW, SOON])
async def test_due_entry_changes_with_its_row(
    registry: AccessRegistry, before: datetime | None, after: datetime | None
) -> None:
    """There is one entry if and only if the row has a due time, and it is the row's."""
    [row] = await inserted(registry, msgspec.structs.replace(settled(), due=before))
    at_first = await due(registry)
    await registry.update(row, msgspec.structs.replace(row, due=after))

    assert at_first == [AccessDue(each, TENANT, row.object_id) for each in [before] if each]
    assert await due(registry) == [
        AccessDue(each, TENANT, row.object_id) for each in [after] if each
    ]


async def test_write_is_refused_if_the_due_entry_is_missing(registry: AccessRegistry) -> None:
    """The row does not change if its old entry cannot be removed."""
    [row] = await inserted(registry, assigning())
    wrong = msgspec.structs.replace(row, due=NOW)
    with pytest.raises(Conflict):
        await registry.update(wrong, wrong.confirm())

    assert (await read(registry), len(await due(registry))) == (row, 1)


async def test_due_entries_are_in_order(registry: AccessRegistry) -> None:
    """Entries of all partitions come in the order of their times, then of their keys."""
    rows = [assigning(n, now=NOW + timedelta(minutes=n * 7 % 10)) for n in range(128)]
    await inserted(registry, *rows)
    expected = sorted(AccessDue(row.due or NOW, TENANT, row.object_id) for row in rows)

    assert len({partition(f"{TENANT}/{row.object_id}") for row in rows}) == PARTITIONS
    assert await due(registry) == expected


async def test_until_includes_its_moment(registry: AccessRegistry) -> None:
    """The limit is exact to the microsecond."""
    moment = timedelta(microseconds=1)
    await inserted(registry, *(assigning(n, now=NOW + (n - 1) * moment) for n in range(3)))

    assert [entry.due for entry in await due(registry, SOON)] == [SOON - moment, SOON]


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_rows_are_listed_once(registry: AccessRegistry, size: int) -> None:
    """The pages have every row once; none is too long."""
    await inserted(registry, *map(assigning, range(40)))
    found = await listed(registry, size=size)

    assert keys(found) == [(TENANT, object_id(number)) for number in range(40)]
    assert max(map(len, found)) <= size


async def test_list_of_one_tenant(registry: AccessRegistry) -> None:
    """Rows of other tenants are left out."""
    await inserted(registry, assigning(1), assigning(2, OTHER_TENANT), assigning(3))

    assert keys(await listed(registry, TENANT)) == [(TENANT, object_id(n)) for n in (1, 3)]


async def test_list_of_one_state(registry: AccessRegistry) -> None:
    """Rows in other states are left out."""
    await inserted(registry, assigning(1), settled(2), assigning(3))
    found = await listed(registry, states=[AccessState.ASSIGNED])

    assert keys(found) == [(TENANT, object_id(2))]


@pytest.mark.parametrize("continuation", ["", "x", "W10", "WzE2LG51bGxd"])
async def test_invalid_continuation_is_refused(registry: AccessRegistry, continuation: str) -> None:
    """Only a continuation of an earlier page is valid."""
    with pytest.raises(InvalidQuery) as caught:
        await registry.list(None, ANY_STATE, continuation, 10)

    assert caught.value.field == "continuation"


async def test_identities_are_in_no_list(table: TableClient) -> None:
    """In one table, identities and accesses are in no list of the other, and not due there."""
    registry, accesses = TableRegistry(table), TableAccessRegistry(table)
    identity = await registry.insert(Identity.create("8:acs:1", None, NOW))
    [access] = await inserted(accesses, assigning())
    page = await registry.list_identities(tuple(State), None, 10)

    assert page.items == [identity]
    assert [entry.identity_id async for entry in registry.due_entries()] == [identity.id]
    assert await listed(accesses) == [[access]]
    assert await due(accesses) == [access.due_entry]


@pytest.mark.parametrize(
    "columns",
    [{"state": "frozen"}, {"principalType": "robot"}, {"changedOn": "yesterday"}],
    ids=lambda columns: next(iter(columns)),
)
async def test_row_that_is_not_readable(
    table: TableClient, columns: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """A row that a newer release has written is in the state `unknown`, also in a list."""
    registry = TableAccessRegistry(table)
    await read(registry)  # creates the table
    await table.create_entity({**encode_access(settled()), **columns})
    [[row]] = await listed(registry, states=[AccessState.UNKNOWN, AccessState.ASSIGNED])

    assert (row.state, row.object_id) == (AccessState.UNKNOWN, object_id(1))
    assert "row_not_readable" in caplog.text
