"""What the survival tests and the benchmarks add to the product: a clock, a count, bulk writes."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from azure.data.tables.aio import TableClient

from identity_service.azure.credential import Credential
from identity_service.azure.registries import TableRegistry
from identity_service.azure.row_reader import RowReader
from identity_service.azure.table import CONNECT, CONNECTION, RESPONSE
from identity_service.azure.table_codec import (
    Change,
    due_changes,
    encode_identity,
    encode_user,
    partition,
)
from identity_service.azure.transport import StreamingTransport, Transport
from identity_service.identity import Identity
from identity_service.services import SystemClock

S = TypeVar("S", bound=Callable[..., Awaitable[Any]])

# The table service accepts up to 100 entities in a transaction.
_BATCH = 100


class ShiftedClock(SystemClock):
    """The machine's clock, this far ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        """The shifted time."""
        return super().now() + self._ahead


class CountedRegistry:
    """The product's registry on a table, connected as in the app; counts its requests.

    Attributes:
        requests: The requests so far.
    """

    def __init__(self, tables: str, name: str, credential: Credential) -> None:
        self.requests = 0
        streaming, transport = StreamingTransport(CONNECT, RESPONSE), Transport(CONNECT, RESPONSE)
        streaming.send = self._counted(streaming.send)
        transport.exchange = self._counted(transport.exchange)  # type: ignore[method-assign]
        options = CONNECTION | {"transport": streaming}
        self.table = TableClient(tables, name, credential=credential, **options)
        self.registry = TableRegistry(self.table, RowReader(tables, name, credential, transport))

    def _counted(self, send: S) -> S:
        async def counted(*arguments: Any, **options: Any) -> Any:
            self.requests += 1
            return await send(*arguments, **options)

        return cast("S", counted)


def batches(rows: Iterable[Identity]) -> Iterator[list[Change]]:
    """Transactions that write identity rows with their due entries and user rows."""
    partitions: defaultdict[str, list[Change]] = defaultdict(list)
    for row in rows:
        partitions[partition(row.id)] += [
            ("create", encode_identity(row)),
            *due_changes(None, row),
        ]
        if row.user_id:
            user_row = encode_user(row.user_id, row.id)
            partitions[partition(row.user_id)].append(("create", user_row))
    for changes in partitions.values():
        for start in range(0, len(changes), _BATCH):
            yield changes[start : start + _BATCH]
