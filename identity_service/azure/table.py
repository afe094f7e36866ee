"""One table of Azure Table Storage: batches, pages, ordered reads, single rows, and its errors.

The SDK's calls and exceptions end here. `registries.py` says which rows the table has.
"""

import asyncio
import base64
import contextlib
import heapq
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
)
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.data.tables.aio import TableClient

from identity_service.azure.credential import Credential
from identity_service.azure.failures import Failure, describe, invalid_body
from identity_service.azure.row_reader import RowReader, TypedColumns
from identity_service.azure.table_codec import PARTITIONS, Change
from identity_service.azure.transport import StreamingTransport, Transport, only_if_awaited
from identity_service.errors import InvalidQuery, RegistryUnavailable, ServiceError
from identity_service.identity import Page
from identity_service.log import EventLog, current_invocation
from identity_service.ports import Conflict
from identity_service.scrubbing import excerpt

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
ROW_NOT_FOUND = {"ResourceNotFound", "EntityNotFound"}
_CONFLICT = {
    *ROW_NOT_FOUND,
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
        credential: Credential,
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
        first = range_[0]
        number, resume = _position(first, continuation)
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
        return Page(rows, None if number == PARTITIONS else _continuation(first, number, resume))

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

        return await self._limited(page), pages.continuation_token  # type: ignore[attr-defined]  # of the SDK's own iterator

    async def _in_order(
        self, ranges: Iterable[tuple[str, str]], decode: Callable[[str], T]
    ) -> AsyncIterator[T]:
        """What the keys in the ranges stand for, in order: merges the streams of all partitions."""
        readers = [
            self._key_pages(number, first, last, decode)
            for first, last in ranges
            for number in range(PARTITIONS)
        ]

        async def first_pages() -> list[list[T] | None]:
            return await asyncio.gather(*(read() for read in readers))

        # One call, so that an outage is logged once and not once for each partition.
        pages = await self._limited(first_pages)
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

    async def _count(self, first: str, last: str, at_most: int) -> int:
        """How many rows are between two keys, `at_most` at most. One partition after the other."""
        count = 0
        for number in range(PARTITIONS):
            read = self._key_pages(number, first, last, str, _LARGEST_PAGE)
            while count < at_most and (page := await self._limited(read)) is not None:
                count += len(page)
        return min(count, at_most)

    def _key_pages(
        self,
        number: int,
        first: str,
        last: str,
        decode: Callable[[str], T],
        size: int = _STREAM_PAGE,
    ) -> Callable[[], Awaitable[list[T] | None]]:
        """Reads the next page of keys of one partition. After the last one, it is None."""
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
        """What is in one partition, read page by page."""
        while page is not None:
            for each in page:
                yield each
            page = await self._limited(read)

    async def _read(self, partition_key: str, row_key: str, decode: _Decode[T]) -> T | None:
        """One row. None if there is none."""

        async def get() -> T | None:
            try:
                columns, etag = await self._columns(partition_key, row_key)
            except HttpResponseError as error:
                if _code(error) in ROW_NOT_FOUND:
                    return None
                raise
            if not isinstance(etag, str) or columns.get("RowKey") != row_key:
                raise ValueError("the response is not this row")
            return decode(columns, etag)

        return await self._limited(get)

    async def _columns(self, partition_key: str, row_key: str) -> tuple[Mapping[str, Any], object]:
        if self._reader:
            with contextlib.suppress(TypedColumns):
                return await self._reader.read(partition_key, row_key)
        entity = await self._table.get_entity(partition_key, row_key, **_READ)
        return entity, entity.metadata["etag"]

    async def _write(self, row: R, *changes: Change, if_awaited: bool = False) -> R:
        """Write a row. Returns it with its new ETag."""
        results = await self._send_batch(*changes, if_awaited=if_awaited)
        return row.with_etag(results[0].get("etag", ""))

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

        return await self._limited(submit, WRITE)

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

    async def _limited(
        self, call: Callable[[], Awaitable[T]], seconds: float = CONNECT + RESPONSE
    ) -> T:
        """Limit and measure a call, whatever the SDK waits for, and translate its errors.

        The default is the limit of a read, which can be abandoned at any time. If the registry is
        unavailable, the cause is logged.
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


def _retrieved(creation: asyncio.Future[None]) -> None:
    """Keep asyncio from logging an error for which no call waits any more."""
    if not creation.cancelled():
        creation.exception()


def _parameters(number: int, first: str, last: str) -> dict[str, str]:
    return {"partition": f"{number:02d}", "first": first, "last": last}


def _code(error: AzureError) -> str:
    """The table service's own error code. Empty if the response has none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _continuation(first: str, number: int, resume: object) -> str:
    text = json.dumps([number, resume, first])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(first: str, continuation: str | None) -> tuple[int, object]:
    """The partition, and the table service's own position in it, from `_continuation`.

    A continuation of a list that starts at another key is refused: nothing would follow it.
    """
    if continuation is None:
        return 0, None
    try:
        text = base64.urlsafe_b64decode(continuation + "=" * (-len(continuation) % 4))
        number, resume, of = msgspec.json.decode(text, type=tuple[_Partition, _Resume | None, str])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidQuery.continuation() from error
    if of != first:
        raise InvalidQuery.continuation()
    return number, resume
