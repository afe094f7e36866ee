"""Our tables, in our words: the rows of `rows.py` in one table of Azure Table Storage.

16 partitions by the first hex digit of SHA-256 of the name (of the identity's id; of the user id).
An identity's row and its agenda row share a partition, and change in one entity group transaction.
"""

import asyncio
import base64
import contextlib
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline import PipelineRequest
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from identity_service.entities import (
    PARTITIONS,
    Change,
    agenda_change,
    agenda_row,
    identity_entity,
    identity_key,
    identity_row,
    partition,
    user_entity,
    user_key,
    user_row,
)
from identity_service.errors import InvalidQuery, RegistryUnavailable
from identity_service.events import Events
from identity_service.ports import RowChanged
from identity_service.rows import AgendaRow, IdentityRow, Page, UserRow, timestamp

T = TypeVar("T")

events = Events(__name__)

STORAGE_SCOPE = "https://storage.azure.com/.default"
TABLE = "registry"


def _untraced(request: PipelineRequest[Any]) -> None:
    """Leave the HTTP request out of traces: its address may hold the hash of a user id.

    The span of the operation around it stays, which tells all that a trace needs.
    """
    request.context.options["tracing_options"] = {"enabled": False}


# Seconds. A read is tried twice at most; a write once, for its outcome must be known.
CONNECT = 2.0
ANSWER = 4.0
_CONNECTION: dict[str, Any] = {
    "connection_timeout": CONNECT,
    "read_timeout": ANSWER,
    "retry_total": 0,
    "use_env_settings": False,
    "raw_request_hook": _untraced,
}
_READ: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0}

_RANGE = "PartitionKey eq @partition and RowKey gt @first and RowKey lt @last"
_Partition = Annotated[int, msgspec.Meta(ge=0, lt=PARTITIONS)]

# What a refused write says: the row is there already, is another version, or is not there.
_REFUSED = {404, 409, 412}
BAD_REQUEST = 400
_NO_RIGHT = {401, 403}
_REMEDY = (
    "give this app's identity the role Storage Table Data Contributor"
    " (0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3) on the storage account"
)
_STREAM_PAGE = 100


class TableRegistry:
    """Implements `ports.Registry` with Microsoft's SDK."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._appearing: asyncio.Future[None] | None = None
        self._is_there = False

    @classmethod
    def connect(
        cls,
        table_service: str,
        credential: AsyncTokenCredential,
        proxies: dict[str, str] | None = None,
    ) -> "TableRegistry":
        """The registry in the storage account whose tables are at `table_service`."""
        options: dict[str, Any] = {**_CONNECTION, "proxies": proxies}
        return cls(TableClient(table_service, TABLE, credential=credential, **options))

    @classmethod
    def from_connection_string(
        cls, connection_string: str, proxies: dict[str, str] | None = None
    ) -> "TableRegistry":
        """The registry in the storage account of the connection string."""
        options: dict[str, Any] = {**_CONNECTION, "proxies": proxies}
        return cls(TableClient.from_connection_string(connection_string, TABLE, **options))

    async def read(self, identity_id: str) -> IdentityRow | None:
        """See `ports.Registry`."""
        entity = await self._entity(partition(identity_id), identity_key(identity_id))
        return identity_row(entity) if entity else None

    async def insert(self, row: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""
        return await self._write(
            row, ("create", identity_entity(row)), *agenda_change(row, "create")
        )

    async def update(self, old: IdentityRow, new: IdentityRow) -> IdentityRow:
        """See `ports.Registry`."""
        change = (
            "update",
            identity_entity(new),
            {"mode": UpdateMode.REPLACE, **_if_match(old.etag)},
        )
        if new.due == old.due:
            return await self._write(new, change)
        return await self._write(
            new, change, *agenda_change(old, "delete"), *agenda_change(new, "create")
        )

    async def remove(self, row: IdentityRow) -> None:
        """See `ports.Registry`."""
        change = ("delete", identity_entity(row), _if_match(row.etag))
        await self._write(row, change, *agenda_change(row, "delete"))

    async def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        entity = await self._entity(partition(user_id), user_key(user_id))
        return user_row(user_id, entity) if entity else None

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""
        entity = user_entity(user_id, identity_id)
        await self._send(lambda: self._table.create_entity(entity))

    async def update_user(self, row: UserRow, identity_id: str) -> None:
        """See `ports.Registry`."""
        entity = user_entity(row.user_id, identity_id)
        await self._send(
            lambda: self._table.submit_transaction(
                [("update", entity, {"mode": UpdateMode.REPLACE, **_if_match(row.etag)})]
            )
        )

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`."""
        entity = user_entity(row.user_id, row.identity_id)
        await self._send(lambda: self._table.delete_entity(entity, **_if_match(row.etag)))

    async def agenda(
        self, *, after: AgendaRow | None = None, until: datetime | None = None
    ) -> AsyncIterator[AgendaRow]:
        """See `ports.Registry`. Sixteen sorted streams, merged."""
        first = f"t|{after}" if after else "t|"
        last = f"t|{timestamp(until)}~" if until else "t}"
        streams = [self._stream(number, first, last) for number in range(PARTITIONS)]
        heads = await asyncio.gather(*(anext(stream, None) for stream in streams))
        heap = [(head, number) for number, head in enumerate(heads) if head]
        heapq.heapify(heap)
        while heap:
            head, number = heap[0]
            yield head
            following = await anext(streams[number], None)
            if following:
                heapq.heapreplace(heap, (following, number))
            else:
                heapq.heappop(heap)

    async def active(self, continuation: str | None, size: int) -> Page:
        """See `ports.Registry`. Partition by partition, so many queries at most as there are."""
        number, resume = _position(continuation)
        rows: list[IdentityRow] = []
        for _ in range(PARTITIONS):
            found, resume = await self._actives(number, resume, size - len(rows))
            rows += found
            if resume is None:
                number += 1
            if number == PARTITIONS or len(rows) >= size:
                break
        return Page(rows, None if number == PARTITIONS else _continuation(number, resume))

    async def _actives(
        self, number: int, resume: object, size: int
    ) -> tuple[list[IdentityRow], object]:
        pages = self._table.query_entities(
            f"{_RANGE} and state eq 'active'",
            parameters={"partition": f"{number:02d}", "first": "i|", "last": "i}"},
            results_per_page=size,
            **_READ,
        ).by_page(continuation_token=resume)  # type: ignore[arg-type]  # it is a dict

        async def page() -> list[IdentityRow]:
            return [identity_row(entity) async for entity in await anext(pages)]

        try:
            return await self._ask(page), pages.continuation_token  # type: ignore[attr-defined]  # of the SDK's own iterator
        except _BadRequest as error:
            raise InvalidQuery.continuation() from error

    async def _stream(self, number: int, first: str, last: str) -> AsyncIterator[AgendaRow]:
        """The agenda of one partition, a page at a time."""
        pages = self._table.query_entities(
            _RANGE,
            parameters={"partition": f"{number:02d}", "first": first, "last": last},
            select=["RowKey"],
            results_per_page=_STREAM_PAGE,
            **_READ,
        ).by_page()

        async def page() -> list[str] | None:
            async for entities in pages:
                return [entity["RowKey"] async for entity in entities]
            return None

        while (keys := await self._ask(page)) is not None:
            for key in keys:
                yield agenda_row(key)

    async def _entity(self, partition_key: str, row_key: str) -> Any | None:
        async def get() -> Any | None:
            try:
                return await self._table.get_entity(partition_key, row_key, **_READ)
            except ResourceNotFoundError as error:
                if _table_is_missing(error):
                    raise
                return None

        return await self._ask(get)

    async def _write(self, row: IdentityRow, *changes: Change) -> IdentityRow:
        """Send the batch: all of it happens, or nothing."""
        results = await self._send(lambda: self._table.submit_transaction(changes))
        return row.but(etag=results[0].get("etag", ""))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Read something. A read may be given up at any time."""
        try:
            async with asyncio.timeout(CONNECT + ANSWER):
                return await self._answered(call)
        except TimeoutError as error:
            raise RegistryUnavailable("The registry did not answer in time.") from error

    async def _send(self, call: Callable[[], Awaitable[T]]) -> T:
        """Write something. Once sent, a write is waited for until it is known or surely unknown."""
        return await self._answered(call)

    async def _answered(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._appear()
            return await call()
        except AzureError as error:
            raise self._translated(error) from error

    async def _appear(self) -> None:
        """Create the table, unless this worker knows that it is there. All who wait share a try."""
        if self._is_there:
            return
        if self._appearing is None or self._appearing.done():
            self._appearing = asyncio.ensure_future(self._create_table())
        await asyncio.shield(self._appearing)

    async def _create_table(self) -> None:
        with contextlib.suppress(ResourceExistsError):
            await self._table.create_table()
        self._is_there = True

    def _translated(self, error: AzureError) -> Exception:
        if isinstance(error, HttpResponseError):
            if _table_is_missing(error):
                self._is_there = False
            elif error.status_code in _REFUSED:
                return RowChanged(f"{error.status_code}")
            elif error.status_code == BAD_REQUEST:
                return _BadRequest("The registry does not understand the request.")
            elif error.status_code in _NO_RIGHT:
                events.error("registry_refused_us", status=error.status_code, remedy=_REMEDY)
        events.error("registry_unavailable", reason=f"{type(error).__name__}: {error}"[:500])
        return RegistryUnavailable("The registry did not answer, or refused this service.")


class _BadRequest(RegistryUnavailable):
    """The table service found fault with a request of ours."""


def _if_match(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _table_is_missing(error: HttpResponseError) -> bool:
    return getattr(error, "error_code", None) == "TableNotFound"


def _continuation(number: int, resume: object) -> str:
    return base64.urlsafe_b64encode(json.dumps([number, resume]).encode()).decode().rstrip("=")


def _position(continuation: str | None) -> tuple[int, object]:
    """Partition and the table service's own position in it, as `_continuation` put them down."""
    if continuation is None:
        return 0, None
    try:
        text = base64.urlsafe_b64decode(continuation + "=" * (-len(continuation) % 4))
        number, resume = msgspec.json.decode(text, type=tuple[_Partition, dict[str, str] | None])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidQuery.continuation() from error
    return number, resume
