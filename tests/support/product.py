"""What the survival tests and the benchmarks add to the product: a clock, a count, bulk writes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from identity_service.azure.table_codec import (
    Change,
    due_entry_change,
    encode_identity,
    encode_user,
    partition,
)
from identity_service.azure.transport import StreamingTransport
from identity_service.identity import Identity
from identity_service.services import SystemClock

# The table service accepts up to 100 entities in a transaction.
_BATCH = 100


class ShiftedClock(SystemClock):
    """The machine's clock, this far ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        """The shifted time."""
        return super().now() + self._ahead


class CountingTransport(StreamingTransport):
    """The product's transport; counts the requests it sends."""

    sent = 0

    async def send(self, *arguments: Any, **options: Any) -> Any:
        """Send a request."""
        self.sent += 1
        return await super().send(*arguments, **options)


def batches(rows: Iterable[Identity]) -> Iterator[list[Change]]:
    """Transactions that write identity rows with their due entries and user rows."""
    partitions: defaultdict[str, list[Change]] = defaultdict(list)
    for row in rows:
        partitions[partition(row.id)] += [
            ("create", encode_identity(row)),
            *due_entry_change(row, "create"),
        ]
        if row.user_id:
            user_row = encode_user(row.user_id, row.id)
            partitions[partition(row.user_id)].append(("create", user_row))
    for changes in partitions.values():
        for start in range(0, len(changes), _BATCH):
            yield changes[start : start + _BATCH]
