"""Reads a row of a table with one plain request: each token costs one such read.

The tables SDK needs more than twice the CPU for it.
"""

import time
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.transport import AsyncHttpResponse
from azure.core.rest import HttpRequest
from azure.core.tracing.decorator_async import distributed_trace_async

from identity_service.azure.credential import Credential
from identity_service.azure.transport import Received, Response, Transport

STORAGE_SCOPE = "https://storage.azure.com/.default"

# What the tables SDK sends too. The service annotates only types that JSON does not show.
_HEADERS = {
    "Accept": "application/json;odata=minimalmetadata",
    "DataServiceVersion": "3.0",
    "x-ms-version": "2019-02-02",
}
_TYPE = "@odata.type"
_METADATA = "odata."
# The service sets it. It is not a column of our rows.
_TIMESTAMP = "Timestamp"
_decoder = msgspec.json.Decoder(dict[str, Any])


class TypedColumns(Exception):
    """A column has a type that JSON does not show. The tables SDK knows these types."""


class RefusedRead(HttpResponseError):
    """The service did not send the row.

    Attributes:
        error_code: The service's own code. Empty if the response has none.
    """

    def __init__(self, response: AsyncHttpResponse | None = None) -> None:
        super().__init__(response=response)
        self.error_code = _error_code(response) if response else ""


class RowReader:
    """Reads rows of one table.

    Args:
        table_service: The URL of the account's tables.
        table: The name of the table.
        credential: The app's credential.
        transport: Sends the requests.
    """

    def __init__(
        self, table_service: str, table: str, credential: Credential, transport: Transport
    ) -> None:
        self._address = f"{table_service}/{table}"
        self._credential = credential
        self._transport = transport

    # In traces it has the SDK's name. No policy records the request: its URL may have the hash of a
    # user id.
    @distributed_trace_async(name_of_span="TableClient.get_entity")
    async def read(self, partition_key: str, row_key: str) -> tuple[Mapping[str, Any], object]:
        """The row's columns, its keys included, and its ETag. None has been checked.

        Raises:
            AzureError: there was no response, or it has no row: `RefusedRead`.
            TypedColumns: only the tables SDK can read its columns.
            msgspec.DecodeError: the response is no JSON object.
        """
        address = f"{self._address}(PartitionKey='{partition_key}',RowKey='{quote(row_key)}')"
        response, body = await self._get(address)
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # once more, as `RetryOnce`
            response, body = await self._get(address)
        if response.status != HTTPStatus.OK:
            raise RefusedRead(Response(HttpRequest("GET", address), response, body))
        columns = _decoder.decode(body)
        if any(name.endswith(_TYPE) for name in columns):
            raise TypedColumns(row_key)
        own = (name for name in columns if not name.startswith(_METADATA) and name != _TIMESTAMP)
        return {name: columns[name] for name in own}, columns.get("odata.etag")

    async def _get(self, address: str) -> Received:
        authorization = await self._credential.bearer(STORAGE_SCOPE)
        varying = {"x-ms-date": _date(int(time.time())), "Authorization": authorization}
        return await self._transport.exchange("GET", address, _HEADERS | varying)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """The time for a header. It is formatted once per second."""
    return formatdate(second, usegmt=True)


def _error_code(response: AsyncHttpResponse) -> str:
    try:
        code = _decoder.decode(response.body())["odata.error"]["code"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        code = response.headers.get("x-ms-error-code", "")  # no JSON of a table service
    return code if isinstance(code, str) else ""
