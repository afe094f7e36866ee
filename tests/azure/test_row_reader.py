"""The row reader sends what the tables SDK sends, and reads what it reads."""

import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables.aio import TableClient

from identity_service.azure.registries import TableRegistry
from identity_service.azure.row_reader import RefusedRead, RowReader, TypedColumns
from identity_service.azure.table_codec import identity_key, partition, user_key
from identity_service.identity import Actor, Identity, State
from local.servers import Authority
from tests.support.azurite import StorageAccount

IDENTITY = "8:acs:00000000-1111-2222-3333-444444444444_00000001-1111-2222-3333-444444444444"
KEYS = {"PartitionKey": partition(IDENTITY), "RowKey": identity_key(IDENTITY)}
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)

# Columns whose types JSON shows.
PLAIN: dict[str, Mapping[str, Any]] = {
    "none": {},
    "text": {"state": "active", "userId": "👩‍👩‍👧‍👦 '\"\\ß\x7f"},
    "text like a date": {"createdOn": "2030-01-01T12:00:00Z"},
    "text like a number": {"userId": "0017"},
    "empty text": {"userId": ""},
    "true and false": {"revoked": True, "adopted": False},
    "numbers": {"attempts": 2**31 - 1, "least": -(2**31), "half": 0.5, "whole": 1.0},
    "a column of another program": {"odd": "odata.type"},
}
# Columns that the service annotates with their types.
TYPED: dict[str, Mapping[str, Any]] = {
    "large number": {"new": EntityProperty(2**40, EdmType.INT64)},
    "date": {"new": datetime(2030, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)},
    "GUID": {"new": uuid.UUID(int=7)},
    "bytes": {"new": b"\x00\xff"},
}


@pytest.fixture
async def table(table: TableClient) -> TableClient:
    """The table of this test, which exists."""
    await table.create_table()
    return table


@pytest.fixture
async def reader(account: StorageAccount, table: TableClient) -> AsyncIterator[RowReader]:
    """A reader of this table."""
    reader = account.reader(table.table_name)
    yield reader
    await reader.close()


@pytest.mark.parametrize("columns", PLAIN.values(), ids=PLAIN)
async def test_row_is_as_the_sdk_reads_it(
    table: TableClient, reader: RowReader, columns: Mapping[str, Any]
) -> None:
    """The same columns with values of the same types, and the same ETag."""
    await table.create_entity({**KEYS, **columns})
    entity = await table.get_entity(*KEYS.values())
    row, etag = await reader.read(*KEYS.values())

    assert {name: (type(value), value) for name, value in row.items()} == {
        name: (type(value), value) for name, value in entity.items()
    }
    assert etag == entity.metadata["etag"]


@pytest.mark.parametrize("columns", TYPED.values(), ids=TYPED)
async def test_typed_column_is_left_to_the_sdk(
    table: TableClient, reader: RowReader, columns: Mapping[str, Any]
) -> None:
    """A newer release may write such a column. The registry returns it as the SDK does."""
    await table.create_entity({**KEYS, "state": "active", **columns})
    entity = await table.get_entity(*KEYS.values())
    with pytest.raises(TypedColumns):
        await reader.read(*KEYS.values())

    identity = await TableRegistry(table, reader).read(IDENTITY)
    assert identity
    assert identity.unknown_columns == (("new", entity["new"]),)


async def test_rows_of_this_release_are_plain(table: TableClient, reader: RowReader) -> None:
    """Every column of an identity row is: no read of one takes two requests."""
    deleted = Identity(id=IDENTITY, state=State.ACTIVE, user_id="alice", created_on=NOW)
    deleted = deleted.suspend(NOW).delete(NOW, timedelta(days=7), Actor.USER)
    written = msgspec.structs.replace(
        deleted, known_on=NOW, revoked=True, adopted=True, attempts=1, last_error="x"
    )
    await TableRegistry(table).insert(written)
    row, _ = await reader.read(*KEYS.values())

    assert {field.encode_name for field in msgspec.structs.fields(Identity)} - row.keys() == {
        *("id", "etag", "unknownColumns", "dueKind")  # the kind of work that is not finished
    }


@pytest.mark.parametrize("key", [f"i|{IDENTITY}", user_key("alice"), "r|resource"])
async def test_missing_row_has_the_code_of_the_service(
    table: TableClient, reader: RowReader, key: str
) -> None:
    """The code tells a missing row from a missing table."""
    with pytest.raises(RefusedRead) as missing_row:
        await reader.read("07", key)
    await table.delete_table()
    with pytest.raises(RefusedRead) as missing_table:
        await reader.read("07", key)

    assert (missing_row.value.status_code, missing_row.value.error_code) == (
        404,
        "ResourceNotFound",
    )
    assert missing_table.value.error_code == "TableNotFound"


class Recorder:
    """A table service that has every row, and records the requests."""

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []

    async def respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send the row."""
        self.requests.append(request)
        return web.json_response({**KEYS, "odata.etag": "W/1", "state": "active"})


# What the SDK sends in addition: an id that nobody reads, its own name, and a second date.
ONLY_SDK = {"x-ms-client-request-id", "User-Agent", "Date"}
# What depends on the moment or on the connection.
VARIES = {"x-ms-date", "Authorization", "User-Agent", "Host"}


async def test_request_is_the_request_of_the_sdk(
    recorded: tuple[Recorder, StorageAccount],
) -> None:
    """The same resource, and the same headers but for some that change nothing."""
    recorder, account = recorded
    async with account.table("registry") as client:
        await client.get_entity(*KEYS.values())
    reader = account.reader("registry")
    await reader.read(*KEYS.values())
    await reader.close()

    by_sdk, own = recorder.requests
    assert (own.method, unquote(own.raw_path)) == (by_sdk.method, unquote(by_sdk.raw_path))
    assert own.headers.keys() >= by_sdk.headers.keys() - ONLY_SDK
    assert {name: own.headers[name] for name in own.headers.keys() - VARIES} == {
        name: by_sdk.headers.get(name) for name in own.headers.keys() - VARIES
    }
    assert own.headers["Authorization"] == by_sdk.headers["Authorization"]
    sent, sent_by_sdk = (parsedate_to_datetime(each.headers["x-ms-date"]) for each in (own, by_sdk))
    assert abs(sent - sent_by_sdk) < timedelta(minutes=1)


@pytest.fixture
async def recorded(tmp_path: Path) -> AsyncIterator[tuple[Recorder, StorageAccount]]:
    """The recorder, and an account whose tables it serves."""
    authority, bundle, recorder = Authority(), tmp_path / "bundle.pem", Recorder()
    authority.write_bundle(bundle)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", recorder.respond)
    server = TestServer(application)
    await server.start_server(ssl=authority.server_context())
    async with server:
        yield recorder, StorageAccount(f"https://localhost:{server.port}/local", bundle)
