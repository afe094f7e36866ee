"""Whatever stands in a setting, a user id or a continuation: it is read, or refused in words."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service import ncrontab
from identity_service.entities import identity_entity, partition, user_key
from identity_service.errors import InvalidQuery, NotConfigured
from identity_service.model import CleanupPolicy
from identity_service.operations import list_deleted_identities
from identity_service.operations.list_deleted_identities import ListDeletedIdentities
from identity_service.registry import TableRegistry
from identity_service.rows import AgendaRow, IdentityRow, State
from identity_service.settings import Settings
from tests.memory_registry import MemoryRegistry

GOOD = {
    "COMMUNICATION_SERVICES_ENDPOINT": "https://contoso.communication.azure.com",
    "AzureWebJobsStorage__accountName": "contoso",
    "CLEANUP_SCHEDULE": "0 */5 * * * *",
}
MOMENTS = st.integers(0, 4_000_000_000_000_000).map(
    lambda microseconds: datetime.fromtimestamp(microseconds / 1e6, UTC)
)
NUMBERS = st.integers(0, 59).map(str)
FIELDS = st.lists(st.one_of(st.just("*"), NUMBERS, st.text(max_size=6)), max_size=8)
PARTS = st.lists(
    st.tuples(
        st.sampled_from(["endpoint", "accesskey", "AccountName", "AccountKey", "TableEndpoint"]),
        st.one_of(st.text(max_size=30), st.sampled_from(["https://x.example", "a2V5", "a"])),
    ),
    max_size=5,
)


@given(FIELDS.map(" ".join))
def test_any_schedule(text: str) -> None:
    """Any text is a schedule or is none; what has not six fields is none."""
    taken = ncrontab.is_valid(text)

    assert not taken or len(text.split()) == 6


@given(st.tuples(NUMBERS, NUMBERS, st.integers(0, 23).map(str)))
def test_any_time_of_day(time: tuple[str, str, str]) -> None:
    """Every second of a day can be a schedule."""
    assert ncrontab.is_valid(f"{' '.join(time)} * * *")


@given(
    st.sampled_from(["COMMUNICATION_SERVICES_CONNECTION_STRING", "AzureWebJobsStorage"]),
    PARTS.map(lambda parts: ";".join("=".join(part) for part in parts)),
)
def test_any_connection_string(name: str, text: str) -> None:
    """Any text is taken as a connection string, or refused without being repeated."""
    environ = {key: value for key, value in GOOD.items() if not key.startswith("COMM")}
    try:
        Settings.from_env({**(environ if name.startswith("COMM") else GOOD), name: text})
    except NotConfigured as fault:
        refused = fault.detail
    else:
        refused = ""

    assert len(text) < 12 or text not in refused


@given(st.text(min_size=1, max_size=256))
def test_any_user_id(user_id: str) -> None:
    """A user id of anything makes a key that the table takes, in one of the sixteen partitions."""
    key = user_key(user_id)

    assert key.removeprefix("u|").isalnum()
    assert 0 <= int(partition(user_id)) < 16


@given(MOMENTS, st.text(min_size=1, max_size=80))
def test_any_agenda_row(due: datetime, identity_id: str) -> None:
    """A place on the agenda is read back from its continuation as it was written."""
    row = AgendaRow(due, identity_id)

    assert AgendaRow.parse(str(row)) == row


@given(MOMENTS, MOMENTS)
def test_agenda_rows_sort_as_their_dues(one: datetime, other: datetime) -> None:
    """The order of the keys is the order of the dues."""
    rows = AgendaRow(one, "a"), AgendaRow(other, "a")

    assert (str(rows[0]) < str(rows[1])) == (one < other)


@given(st.text(max_size=60))
async def test_any_continuation_of_the_deleted(text: str) -> None:
    """Any text continues the list of deleted identities, or is refused as no continuation."""
    query = ListDeletedIdentities(continuation=text)
    try:
        page = await list_deleted_identities(query, MemoryRegistry(), CleanupPolicy())
    except InvalidQuery as fault:
        found, field = [], fault.field
    else:
        found, field = page.value, "continuation"

    assert (found, field) == ([], "continuation")


@given(st.text(max_size=60))
async def test_any_continuation_of_the_active(text: str) -> None:
    """Any text that no page gave is refused before the table is asked."""
    registry = TableRegistry.from_connection_string("AccountName=a;AccountKey=a2V5")

    with pytest.raises(InvalidQuery):
        await registry.active(f"!{text}", 10)


@given(MOMENTS, st.text(max_size=256))
def test_any_row_is_stored_whole(moment: datetime, user_id: str) -> None:
    """What a row says stands in its entity, under keys that the table takes."""
    row = IdentityRow(id="8:acs:x", state=State.ACTIVE, user_id=user_id, created_on=moment)

    entity = identity_entity(row)

    assert entity["userId"] == user_id
    assert not set(entity["RowKey"]) & set("/\\#?")
