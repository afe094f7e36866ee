"""The `Registry` port on one table of Azure Table Storage.

An identity row and its due entry share a partition and change in one entity group transaction.
"""

import asyncio
import base64
import contextlib
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline import PipelineRequest
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from identity_service.azure.failures import Failure, describe
from identity_service.azure.table_codec import (
    PARTITIONS,
    Change,
    decode_due_entry,
    decode_identity,
    decode_user,
    due_entry_change,
    encode_identity,
    encode_user,
    identity_key,
    partition,
    user_key,
)
from identity_service.errors import InvalidQuery, RegistryUnavailable
from identity_service.identity import DueEntry, Identity, Page, UserRow, timestamp
from identity_service.log import EventLog
from identity_service.ports import Conflict

T = TypeVar("T")

events = EventLog(__name__)

STORAGE_SCOPE = "https://storage.azure.com/.default"
TABLE = "registry"


def _untraced(request: PipelineRequest[Any]) -> None:
    """Keep the HTTP request out of traces: its URL may have the hash of a user id.

    The span of the operation around it stays in the trace.
    """
    request.context.options["tracing_options"] = {"enabled": False}


# Seconds. A read has two attempts at most. A write has one, because its result must be known.
CONNECT = 2.0
RESPONSE = 4.0
_CONNECTION: dict[str, Any] = {
    "connection_timeout": CONNECT,
    "read_timeout": RESPONSE,
    "retry_total": 0,
    "use_env_settings": False,
    "raw_request_hook": _untraced,
}
_READ: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0}

_RANGE = "PartitionKey eq @partition and RowKey gt @first and RowKey lt @last"
_Partition = Annotated[int, msgspec.Meta(ge=0, lt=PARTITIONS)]

# The table service's codes for a request that it does not accept as valid.
_INVALID_REQUEST = {
    "InvalidInput",
    "InvalidQueryParameterValue",
    "OutOfRangeInput",
    "OutOfRangeQueryParameterValue",
}
_REMEDY = (
    "give this app's identity the role Storage Table Data Contributor"
    " (0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3) on the storage account, or correct the key in the"
    " connection string"
)
_TABLE_NOT_FOUND = "TableNotFound"
_STREAM_PAGE = 100


class TableRegistry:
    """Implements `ports.Registry`."""

    def __init__(self, table: TableClient) -> None:
        self._table = table
        self._creating: asyncio.Future[None] | None = None
        self._exists = False

    @classmethod
    def connect(
        cls,
        table_service: str,
        credential: AsyncTokenCredential,
        proxies: dict[str, str] | None = None,
    ) -> "TableRegistry":
        """The registry in the storage account whose tables are at the URL `table_service`."""
        options: dict[str, Any] = {**_CONNECTION, "proxies": proxies}
        return cls(TableClient(table_service, TABLE, credential=credential, **options))

    @classmethod
    def from_connection_string(
        cls, connection_string: str, proxies: dict[str, str] | None = None
    ) -> "TableRegistry":
        """The registry in the storage account of the connection string."""
        options: dict[str, Any] = {**_CONNECTION, "proxies": proxies}
        return cls(TableClient.from_connection_string(connection_string, TABLE, **options))

    async def read(self, identity_id: str) -> Identity | None:
        """See `ports.Registry`."""
        entity = await self._entity(partition(identity_id), identity_key(identity_id))
        return decode_identity(entity) if entity else None

    async def insert(self, identity: Identity) -> Identity:
        """See `ports.Registry`."""
        return await self._write(
            identity,
            ("create", encode_identity(identity)),
            *due_entry_change(identity, "create"),
        )

    async def update(self, old: Identity, new: Identity) -> Identity:
        """See `ports.Registry`."""
        change = (
            "update",
            encode_identity(new),
            {"mode": UpdateMode.REPLACE, **_if_match(old.etag)},
        )
        if new.due == old.due:
            return await self._write(new, change)
        return await self._write(
            new, change, *due_entry_change(old, "delete"), *due_entry_change(new, "create")
        )

    async def remove(self, identity: Identity) -> None:
        """See `ports.Registry`."""
        change = ("delete", encode_identity(identity), _if_match(identity.etag))
        await self._write(identity, change, *due_entry_change(identity, "delete"))

    async def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        entity = await self._entity(partition(user_id), user_key(user_id))
        return decode_user(user_id, entity) if entity else None

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""
        entity = encode_user(user_id, identity_id)
        await self._send(lambda: self._table.create_entity(entity))

    async def replace_user(self, row: UserRow, identity_id: str) -> None:
        """See `ports.Registry`."""
        entity = encode_user(row.user_id, identity_id)
        await self._send(
            lambda: self._table.submit_transaction(
                [("update", entity, {"mode": UpdateMode.REPLACE, **_if_match(row.etag)})]
            )
        )

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`."""
        entity = encode_user(row.user_id, row.identity_id)
        await self._send(lambda: self._table.delete_entity(entity, **_if_match(row.etag)))

    async def due_entries(
        self, *, after: DueEntry | None = None, until: datetime | None = None
    ) -> AsyncIterator[DueEntry]:
        """See `ports.Registry`. Merges the sorted streams of all partitions."""
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

    async def list_active(self, continuation: str | None, size: int) -> Page[Identity]:
        """See `ports.Registry`. Reads one partition after the other."""
        number, resume = _position(continuation)
        identities: list[Identity] = []
        for _ in range(PARTITIONS):
            found, resume = await self._active_in(number, resume, size - len(identities))
            identities += found
            if resume is None:
                number += 1
            if number == PARTITIONS or len(identities) >= size:
                break
        return Page(identities, None if number == PARTITIONS else _continuation(number, resume))

    async def close(self) -> None:
        """Close the connections."""
        await self._table.close()

    async def _active_in(
        self, number: int, resume: object, size: int
    ) -> tuple[list[Identity], object]:
        pages = self._table.query_entities(
            f"{_RANGE} and state eq 'active'",
            parameters={"partition": f"{number:02d}", "first": "i|", "last": "i}"},
            results_per_page=size,
            **_READ,
        ).by_page(continuation_token=resume)  # type: ignore[arg-type]  # it is a dict

        async def page() -> list[Identity]:
            return [decode_identity(entity) async for entity in await anext(pages)]

        try:
            return await self._ask(page), pages.continuation_token  # type: ignore[attr-defined]  # of the SDK's own iterator
        except _InvalidRequest as error:
            if resume is None:  # the caller sent nothing that could be invalid
                raise
            raise InvalidQuery.continuation() from error

    async def _stream(self, number: int, first: str, last: str) -> AsyncIterator[DueEntry]:
        """The due entries of one partition, read page by page."""
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
                yield decode_due_entry(key)

    async def _entity(self, partition_key: str, row_key: str) -> Any | None:
        async def get() -> Any | None:
            try:
                return await self._table.get_entity(partition_key, row_key, **_READ)
            except ResourceNotFoundError as error:
                if _code(error) == _TABLE_NOT_FOUND:
                    raise
                return None

        return await self._ask(get)

    async def _write(self, identity: Identity, *changes: Change) -> Identity:
        """Send one batch: all changes are made, or none."""
        results = await self._send(lambda: self._table.submit_transaction(changes))
        return identity.with_etag(results[0].get("etag", ""))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Read. A read can be abandoned at any time."""
        try:
            async with asyncio.timeout(CONNECT + RESPONSE):
                return await self._translated(call)
        except TimeoutError as error:
            reason = f"no response within {CONNECT + RESPONSE:.0f} s"
            raise self._unavailable(Failure("timeout", reason)) from error

    async def _send(self, call: Callable[[], Awaitable[T]]) -> T:
        """Write. A write that was sent is waited for until its result is known or lost."""
        return await self._translated(call)

    async def _translated(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run the call, with errors in our own words."""
        try:
            await self._ensure_table()
            return await call()
        except AzureError as error:
            raise self._translate(error) from error

    async def _ensure_table(self) -> None:
        """Create the table, unless this worker knows that it exists. Parallel calls share this."""
        if self._exists:
            return
        if self._creating is None or self._creating.done():
            self._creating = asyncio.ensure_future(self._create_table())
        await asyncio.shield(self._creating)

    async def _create_table(self) -> None:
        with contextlib.suppress(ResourceExistsError):
            await self._table.create_table()
        self._exists = True

    def _translate(self, error: AzureError) -> Exception:
        """The error for the operation. If the registry is unavailable, the cause is logged."""
        failure, code = describe(error), _code(error)
        match error:
            case ClientAuthenticationError(status_code=None):  # the credential has logged the cause
                return RegistryUnavailable("This service could not get its own credential.")
            case HttpResponseError() if code == _TABLE_NOT_FOUND:
                self._exists = False
            case ClientAuthenticationError() | HttpResponseError(status_code=401 | 403):
                events.error(
                    "registry_refused_us", status=error.status_code, code=code, remedy=_REMEDY
                )
                return RegistryUnavailable("The registry refused this service.")
            case HttpResponseError(status_code=404 | 409 | 412):
                return Conflict(f"{error.status_code}")
        kind = _InvalidRequest if code in _INVALID_REQUEST else RegistryUnavailable
        return self._unavailable(failure._replace(reason=f"{failure.reason} {code}".strip()), kind)

    def _unavailable(
        self, failure: Failure, kind: type[RegistryUnavailable] = RegistryUnavailable
    ) -> RegistryUnavailable:
        host = urlsplit(self._table.url).netloc
        events.error("registry_unavailable", host=host, kind=failure.kind, reason=failure.reason)
        error = kind("The registry did not respond.")
        error.kind = failure.kind
        return error


class _InvalidRequest(RegistryUnavailable):
    """The table service does not accept a request as valid."""


def _if_match(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _code(error: AzureError) -> str:
    """The table service's own error code. Empty if the response has none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _continuation(number: int, resume: object) -> str:
    return base64.urlsafe_b64encode(json.dumps([number, resume]).encode()).decode().rstrip("=")


def _position(continuation: str | None) -> tuple[int, object]:
    """The partition, and the table service's own position in it, from `_continuation`."""
    if continuation is None:
        return 0, None
    try:
        text = base64.urlsafe_b64decode(continuation + "=" * (-len(continuation) % 4))
        number, resume = msgspec.json.decode(text, type=tuple[_Partition, dict[str, str] | None])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidQuery.continuation() from error
    return number, resume
