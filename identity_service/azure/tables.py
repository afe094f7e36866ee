"""The ports `Registry` and `AccessRegistry` on one table of Azure Table Storage.

A row and its due entry share a partition and change in one entity group transaction.
"""

import asyncio
import base64
import contextlib
import heapq
import json
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
)
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
from azure.core import MatchConditions
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
)
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.data.tables import UpdateMode
from azure.data.tables.aio import TableClient

from identity_service.azure.failures import Failure, describe, invalid_body
from identity_service.azure.row_reader import RowReader, TypedColumns
from identity_service.azure.table_codec import (
    ACCESS,
    ACCESS_DUE,
    PARTITIONS,
    RESOURCE_KEY,
    SWEEP_KEYS,
    Change,
    access_due_change,
    access_key,
    decode_access,
    decode_access_due,
    decode_due_entry,
    decode_identity,
    decode_resource,
    decode_sweep,
    decode_user,
    due_entry_change,
    encode_access,
    encode_identity,
    encode_resource,
    encode_user,
    identity_key,
    partition,
    user_key,
)
from identity_service.azure.transport import (
    StreamingTransport,
    Transport,
    not_sent_after,
    only_if_awaited,
)
from identity_service.errors import InvalidQuery, RegistryUnavailable, ServiceError
from identity_service.identity import (
    DueEntry,
    DueKind,
    Identity,
    Page,
    State,
    SweepRecord,
    UserRow,
    timestamp,
)
from identity_service.log import EventLog, current_invocation
from identity_service.ports import Conflict
from identity_service.scrubbing import excerpt
from identity_service.teams_access import Access, AccessDue, AccessState

T = TypeVar("T")
R = TypeVar("R", bound="_Row")
# Reads a row from its columns and its ETag.
_Decode = Callable[[Mapping[str, Any], str], T]

events = EventLog(__name__)

TABLE = "registry"


def _untraced(request: PipelineRequest[Any]) -> None:
    """Keep the HTTP request out of traces: its URL may have the hash of a user id.

    The span of the operation around it stays in the trace.
    """
    request.context.options["tracing_options"] = {"enabled": False}


def _require_type(response: PipelineResponse[Any, Any]) -> None:
    """Refuse the page of a proxy or of another service. The SDK would read XML as an empty list.

    Raises:
        ValueError: no table service has sent it.
    """
    status, content = response.http_response.status_code, response.http_response.content_type
    if status < HTTPStatus.BAD_REQUEST and content and not content.startswith(_CONTENT_TYPES):
        raise ValueError(f"a response of the type {content}")


# Seconds. A read has two attempts at most. A write has one, because its result must be known; it is
# waited for beyond the caller's deadline.
CONNECT = 2.0
RESPONSE = 4.0
WRITE = 20.0
CONNECTION: dict[str, Any] = {
    "retry_total": 0,
    "permit_redirects": False,
    "raw_request_hook": _untraced,
    "raw_response_hook": _require_type,
}
_READ: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0}

_RANGE = "PartitionKey eq @partition and RowKey gt @first and RowKey lt @last"
_Partition = Annotated[int, msgspec.Meta(ge=0, lt=PARTITIONS)]
# The table service's own position. It goes into a URL: a longer one is refused before the table
# service sees it, as if the registry had failed. Either part may be missing.
_Key = Annotated[str, msgspec.Meta(max_length=512, pattern=r"^[!-~]*\Z")]
_Resume = dict[Literal["PartitionKey", "RowKey"], _Key | None]

# Of a success: JSON, or the parts of a batch.
_CONTENT_TYPES = ("application/json", "multipart/mixed")

# The table service's own error codes. Statuses do not tell these cases apart: a wrong key is 400 in
# Azurite, and any server responds with 404.
_TABLE_EXISTS = "TableAlreadyExists"
_TABLE_NOT_FOUND = "TableNotFound"
_ROW_NOT_FOUND = {"ResourceNotFound", "EntityNotFound"}
_CONFLICT = {
    *_ROW_NOT_FOUND,
    "ConditionNotMet",
    "EntityAlreadyExists",
    "UpdateConditionNotSatisfied",
}
_INVALID_QUERY = {
    "InvalidInput",
    "InvalidQueryParameterValue",
    "OutOfRangeInput",
    "OutOfRangeQueryParameterValue",
}
_REFUSED = {
    "AccountIsDisabled",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
}
_REMEDY = (
    "give this app's identity the role Storage Table Data Contributor"
    " (0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3) on the storage account, or correct the key in the"
    " connection string, or let the firewall of the storage account accept this app"
)
# Without a code, 403 is the page of a firewall or of another service.
_NOT_AUTHENTICATED, _FORBIDDEN = 401, 403
# Source: https://learn.microsoft.com/rest/api/storageservices/table-service-error-codes
_THROTTLES = "ServerBusy"
_STREAM_PAGE = 100
_LARGEST_PAGE = 1000


def _network(proxy: str) -> dict[str, Any]:
    proxies = {"https": proxy} if proxy else {}
    return {"transport": StreamingTransport(CONNECT, RESPONSE), "proxies": proxies}


class _Row(Protocol):
    def with_etag(self, etag: str) -> Self: ...


class Table:
    """One table: its rows are written in batches, and read one by one, in pages or in order.

    The result of a write is known, or it is `RegistryUnavailable`.

    Args:
        table: The table.
        reader: Reads single rows of it. Without one, the SDK does.
    """

    def __init__(self, table: TableClient, reader: RowReader | None = None) -> None:
        self._table = table
        self._reader = reader
        self._host = urlsplit(table.url).netloc
        self._creating: asyncio.Future[None] | None = None
        self._exists = False

    @classmethod
    def connect(
        cls,
        table_service: str,
        credential: AsyncTokenCredential,
        proxy: str = "",
    ) -> Self:
        """The table in the storage account whose tables are at the URL `table_service`."""
        options = {**CONNECTION, **_network(proxy)}
        return cls(
            TableClient(table_service, TABLE, credential=credential, **options),
            RowReader(table_service, TABLE, credential, Transport(CONNECT, RESPONSE, proxy)),
        )

    @classmethod
    def sharing(cls, other: "Table") -> Self:
        """The same table, with the same connections."""
        return cls(other._table, other._reader)

    @classmethod
    def from_connection_string(cls, connection_string: str, proxy: str = "") -> Self:
        """The table in the storage account of the connection string."""
        options = {**CONNECTION, **_network(proxy)}
        return cls(TableClient.from_connection_string(connection_string, TABLE, **options))

    async def close(self) -> None:
        """Close the connections."""
        await self._table.close()
        if self._reader:
            await self._reader.close()

    async def _list(
        self,
        range_: tuple[str, str],
        conditions: Iterable[str],
        continuation: str | None,
        size: int,
        decode: _Decode[T],
    ) -> Page[T]:
        """Up to `size` rows between two keys. Reads one partition after the other."""
        condition = " and ".join([_RANGE, *conditions])
        number, resume = _position(continuation)
        rows: list[T] = []
        for _ in range(PARTITIONS):
            parameters = _parameters(number, *range_)
            left = size - len(rows)
            found, resume = await self._rows_in(parameters, condition, resume, left, decode)
            rows += found
            if resume is None:
                number += 1
            if number == PARTITIONS or len(rows) >= size:
                break
        return Page(rows, None if number == PARTITIONS else _continuation(number, resume))

    async def _rows_in(
        self,
        parameters: dict[str, str],
        condition: str,
        resume: object,
        size: int,
        decode: _Decode[T],
    ) -> tuple[list[T], object]:
        pages = self._table.query_entities(
            condition, parameters=parameters, results_per_page=size, **_READ
        ).by_page(continuation_token=resume)  # type: ignore[arg-type]  # it is a dict

        async def page() -> list[T]:
            try:
                found = [entity async for entity in await anext(pages)]
                return [decode(entity, str(entity.metadata["etag"])) for entity in found]
            except HttpResponseError as error:
                if resume and _code(error) in _INVALID_QUERY:
                    raise InvalidQuery.continuation() from error
                raise

        return await self._ask(page), pages.continuation_token  # type: ignore[attr-defined]  # of the SDK's own iterator

    async def _merged(
        self, ranges: Iterable[tuple[str, str]], decode: Callable[[str], T]
    ) -> AsyncIterator[T]:
        """The due entries between two keys, in order: merges the streams of all partitions."""
        readers = [
            self._due_pages(number, first, last, decode)
            for first, last in ranges
            for number in range(PARTITIONS)
        ]

        async def first_pages() -> list[list[T] | None]:
            return await asyncio.gather(*(read() for read in readers))

        # One call, so that an outage is logged once and not once for each partition.
        pages = await self._ask(first_pages)
        streams = [self._stream(*each) for each in zip(pages, readers, strict=True)]
        heads = [await anext(stream, None) for stream in streams]
        heap: list[tuple[Any, int]] = [(head, number) for number, head in enumerate(heads) if head]
        heapq.heapify(heap)
        while heap:
            head, number = heap[0]
            yield head
            following = await anext(streams[number], None)
            if following:
                heapq.heapreplace(heap, (following, number))
            else:
                heapq.heappop(heap)

    def _due_pages(
        self,
        number: int,
        first: str,
        last: str,
        decode: Callable[[str], T],
        size: int = _STREAM_PAGE,
    ) -> Callable[[], Awaitable[list[T] | None]]:
        """Reads the next page of due entries of one partition. The last one is None."""
        pages = self._table.query_entities(
            _RANGE,
            parameters=_parameters(number, first, last),
            select=["RowKey"],
            results_per_page=size,
            **_READ,
        ).by_page()

        async def page() -> list[T] | None:
            async for entities in pages:
                return [decode(entity["RowKey"]) async for entity in entities]
            return None

        return page

    async def _stream(
        self, page: list[T] | None, read: Callable[[], Awaitable[list[T] | None]]
    ) -> AsyncIterator[T]:
        """The due entries of one partition, read page by page."""
        while page is not None:
            for entry in page:
                yield entry
            page = await self._ask(read)

    async def _entity(self, partition_key: str, row_key: str, decode: _Decode[T]) -> T | None:
        async def get() -> T | None:
            try:
                return decode(*await self._row(partition_key, row_key))
            except HttpResponseError as error:
                if _code(error) in _ROW_NOT_FOUND:
                    return None
                raise

        return await self._ask(get)

    async def _row(self, partition_key: str, row_key: str) -> tuple[Mapping[str, Any], str]:
        columns, etag = await self._read_row(partition_key, row_key)
        if not isinstance(etag, str) or columns.get("RowKey") != row_key:
            raise ValueError("the response is not this row")
        return columns, etag

    async def _read_row(self, partition_key: str, row_key: str) -> tuple[Mapping[str, Any], object]:
        if self._reader:
            with contextlib.suppress(TypedColumns):
                return await self._reader.read(partition_key, row_key)
        entity = await self._table.get_entity(partition_key, row_key, **_READ)
        return entity, entity.metadata["etag"]

    async def _write(self, row: R, *changes: Change, if_awaited: bool = False) -> R:
        """Write a row. Returns it with its new ETag."""
        results = await self._send_batch(*changes, if_awaited=if_awaited)
        return row.with_etag(results[0].get("etag", ""))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Read. A read can be abandoned at any time."""
        return await self._limited(CONNECT + RESPONSE, call)

    async def _send_batch(self, *changes: Change, if_awaited: bool = False) -> list[Any]:
        """Send one batch: all changes are made, or none.

        A single change is a batch too, because for other requests the SDK drops the error code or
        accepts any 404.

        Raises:
            CallerGone: with `if_awaited`: it was not sent.
            Conflict: another write was faster. Its text is the service's error code.
        """

        async def submit() -> list[Any]:
            try:
                with only_if_awaited() if if_awaited else contextlib.nullcontext():
                    results = await self._table.submit_transaction(changes, read_timeout=WRITE)
            except HttpResponseError as error:
                if _code(error) in _CONFLICT:
                    raise Conflict(_code(error)) from error
                raise
            if len(results) != len(changes):
                raise ValueError(f"{len(results)} results for {len(changes)} changes")
            return list(results)

        return await self._limited(WRITE, submit)

    async def _ensure_table(self) -> None:
        """Create the table, unless this worker knows that it exists. Parallel calls share this."""
        if self._exists:
            return
        if self._creating is None or self._creating.done():
            self._creating = asyncio.ensure_future(self._create_table())
            self._creating.add_done_callback(_retrieved)
        await asyncio.shield(self._creating)

    async def _create_table(self) -> None:
        try:
            await self._table.create_table()
        except HttpResponseError as error:
            if _code(error) != _TABLE_EXISTS:
                raise
        self._exists = True

    async def _limited(self, seconds: float, call: Callable[[], Awaitable[T]]) -> T:
        """Limit and measure a call, whatever the SDK waits for, and translate its errors.

        If the registry is unavailable, the cause is logged.
        """
        try:
            async with asyncio.timeout(seconds):
                with current_invocation().table_call():
                    await self._ensure_table()
                    return await call()
        except TimeoutError as error:
            failure = Failure("timeout", f"no response within {seconds:.0f} s")
            raise self._unavailable(failure) from error
        except AzureError as error:
            raise self._translate(error) from error
        except (Conflict, ServiceError):
            raise
        except Exception as error:  # the SDK raises anything for an invalid response
            raise self._unavailable(invalid_body(error)) from error

    def _translate(self, error: AzureError) -> RegistryUnavailable:
        code, status = _code(error), getattr(error, "status_code", None)
        if isinstance(error, ClientAuthenticationError) and status is None:
            # The credential has logged the cause.
            return RegistryUnavailable(
                "This service could not get its own credential.", kind="credential"
            )
        if code in _REFUSED or status == _NOT_AUTHENTICATED or (code and status == _FORBIDDEN):
            events.error(
                "registry_refused_us",
                host=self._host,
                status=status,
                code=code,
                remedy=_REMEDY,
            )
            return RegistryUnavailable("The registry refused this service.", kind="status")
        if code == _TABLE_NOT_FOUND:
            self._exists = False
        unavailable = self._unavailable(describe(error, self._host, code))
        unavailable.throttles = code == _THROTTLES
        return unavailable

    def _unavailable(self, failure: Failure) -> RegistryUnavailable:
        events.error(
            "registry_unavailable",
            host=self._host,
            kind=failure.kind,
            reason=excerpt(failure.reason),
        )
        return RegistryUnavailable("The registry did not respond.", kind=failure.kind)


class TableRegistry(Table):
    """Implements `ports.Registry`."""

    async def read(self, identity_id: str) -> Identity | None:
        """See `ports.Registry`."""
        key = partition(identity_id), identity_key(identity_id)
        return await self._entity(*key, decode_identity)

    async def insert(self, identity: Identity) -> Identity:
        """See `ports.Registry`."""
        return await self._write(
            identity,
            ("create", encode_identity(identity)),
            *due_entry_change(identity, "create"),
        )

    async def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """See `ports.Registry`."""
        change = (
            "update",
            encode_identity(new),
            {"mode": UpdateMode.REPLACE, **_if_match(old.etag)},
        )
        if (new.due, new.due_kind) == (old.due, old.due_kind):
            return await self._write(new, change, if_awaited=if_awaited)
        return await self._write(
            new,
            change,
            *due_entry_change(old, "delete"),
            *due_entry_change(new, "create"),
            if_awaited=if_awaited,
        )

    async def remove(self, identity: Identity) -> None:
        """See `ports.Registry`."""
        try:
            await self._remove(identity)
        except Conflict as conflict:
            if str(conflict) not in _ROW_NOT_FOUND or not identity.due:
                raise
            # A release that does not know the kinds may have erased the kind from the row.
            entry = DueEntry(identity.due, identity.id, DueKind.PURGE)
            await self._remove(identity.found_at(entry) or identity)

    async def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        key = partition(user_id), user_key(user_id)
        return await self._entity(*key, lambda *row: decode_user(user_id, *row))

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""
        await self._send_batch(("create", encode_user(user_id, identity_id)))

    async def replace_user(self, row: UserRow, identity_id: str) -> None:
        """See `ports.Registry`."""
        entity = encode_user(row.user_id, identity_id)
        options = {"mode": UpdateMode.MERGE, **_if_match(row.etag)}  # keeps unknown columns
        await self._send_batch(("update", entity, options))

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`."""
        entity = encode_user(row.user_id, row.identity_id)
        try:
            await self._send_batch(("delete", entity, _if_match(row.etag)))
        except Conflict as conflict:
            if str(conflict) not in _ROW_NOT_FOUND:  # a row that is gone is what the caller wants
                raise

    async def read_resource(self) -> str | None:
        """See `ports.Registry`."""
        return await self._entity(*RESOURCE_KEY, decode_resource)

    async def record_resource(self, resource: str) -> None:
        """See `ports.Registry`."""
        await self._send_batch(("create", encode_resource(resource)))

    async def due_entries(
        self,
        kinds: Collection[DueKind] = tuple(DueKind),
        *,
        after: DueEntry | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DueEntry]:
        """See `ports.Registry`. Merges the kinds."""
        first = after.position if after else ""
        last = f"{timestamp(until)}~" if until else "~"
        ranges = [(f"{kind}|{first}", f"{kind}|{last}") for kind in kinds]
        async for entry in self._merged(ranges, decode_due_entry):
            yield entry

    async def count_due(self, kind: DueKind, *, until: datetime, at_most: int) -> int:
        """See `ports.Registry`. Reads one partition after the other."""
        count = 0
        for number in range(PARTITIONS):
            last = f"{kind}|{timestamp(until)}~"
            read = self._due_pages(number, f"{kind}|", last, decode_due_entry, _LARGEST_PAGE)
            while count < at_most and (page := await self._ask(read)) is not None:
                count += len(page)
        return min(count, at_most)

    async def list_identities(
        self,
        states: Collection[State],
        continuation: str | None,
        size: int,
        *,
        min_attempts: int = 0,
    ) -> Page[Identity]:
        """See `ports.Registry`."""
        conditions = []
        if set(states) != set(State):
            conditions.append(f"({_in_states(states)})")
        if min_attempts:
            conditions.append(f"attempts ge {min_attempts}")
        return await self._list(("i|", "i}"), conditions, continuation, size, decode_identity)

    async def read_sweep(self) -> SweepRecord:
        """See `ports.Registry`."""
        key = SWEEP_KEYS["PartitionKey"], SWEEP_KEYS["RowKey"]
        return await self._entity(*key, decode_sweep) or SweepRecord()

    async def record_sweep_start(self, now: datetime) -> None:
        """See `ports.Registry`."""
        await self._record_sweep({"lastStartedOn": timestamp(now)})

    async def record_sweep_end(self, now: datetime) -> None:
        """See `ports.Registry`."""
        await self._record_sweep({"lastCompletedOn": timestamp(now)})

    async def _record_sweep(self, columns: dict[str, Any]) -> None:
        """Write these columns and keep the others, whoever has written them."""
        await self._send_batch(("upsert", SWEEP_KEYS | columns, {"mode": UpdateMode.MERGE}))

    async def _remove(self, identity: Identity) -> None:
        change = ("delete", encode_identity(identity), _if_match(identity.etag))
        await self._write(identity, change, *due_entry_change(identity, "delete"))


class TableAccessRegistry(Table):
    """Implements `ports.AccessRegistry`, in the same table."""

    async def read(self, tenant_id: str, object_id: str) -> Access | None:
        """See `ports.AccessRegistry`."""
        return await self._entity(*access_key(tenant_id, object_id), decode_access)

    async def insert(self, access: Access, *, not_after: datetime) -> Access:
        """See `ports.AccessRegistry`."""
        with not_sent_after(not_after):
            change = ("create", encode_access(access))
            return await self._write(access, change, *access_due_change(access, "create"))

    async def update(self, old: Access, new: Access) -> Access:
        """See `ports.AccessRegistry`."""
        options = {"mode": UpdateMode.REPLACE, **_if_match(old.etag)}
        change = ("update", encode_access(new), options)
        if new.due == old.due:
            return await self._write(new, change)
        entries = (*access_due_change(old, "delete"), *access_due_change(new, "create"))
        return await self._write(new, change, *entries)

    async def remove(self, access: Access) -> None:
        """See `ports.AccessRegistry`."""
        change = ("delete", encode_access(access), _if_match(access.etag))
        await self._write(access, change, *access_due_change(access, "delete"))

    async def due(
        self, until: datetime, after: AccessDue | None = None
    ) -> AsyncIterator[AccessDue]:
        """See `ports.AccessRegistry`."""
        first = after.position if after else ""
        entries = (f"{ACCESS_DUE}{first}", f"{ACCESS_DUE}{timestamp(until)}~")
        async for entry in self._merged([entries], decode_access_due):
            yield entry

    async def list(
        self,
        tenant_id: str | None,
        states: Collection[AccessState],
        continuation: str | None,
        size: int,
    ) -> Page[Access]:
        """See `ports.AccessRegistry`."""
        prefix = f"{ACCESS}{tenant_id}|" if tenant_id else ACCESS
        rows = (prefix, f"{prefix[:-1]}}}")  # } follows |
        conditions = [] if set(states) == set(AccessState) else [f"({_in_states(states)})"]
        return await self._list(rows, conditions, continuation, size, decode_access)


def _retrieved(creation: asyncio.Future[None]) -> None:
    """Keep asyncio from logging an error for which no call waits any more."""
    if not creation.cancelled():
        creation.exception()


def _in_states(states: Collection[State] | Collection[AccessState]) -> str:
    """The condition for rows in one of the states. A row that is not readable has any other one."""
    terms = [f"state eq '{state}'" for state in states if state != "unknown"]
    terms += [
        " and ".join(f"state ne '{other}'" for other in type(state))
        for state in states
        if state == "unknown"
    ]
    return " or ".join(f"({term})" for term in terms)


def _parameters(number: int, first: str, last: str) -> dict[str, str]:
    return {"partition": f"{number:02d}", "first": first, "last": last}


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
        number, resume = msgspec.json.decode(text, type=tuple[_Partition, _Resume | None])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidQuery.continuation() from error
    return number, resume
