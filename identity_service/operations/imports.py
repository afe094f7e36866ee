"""What the imports share: one request with many records, each with a result of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from identity_service.errors import AcsTooSlow, InternalError, ServiceError, Throttled
from identity_service.limits import DEADLINE, Verifications
from identity_service.log import EventLog, current_invocation

events = EventLog(__name__)

# Seconds before the caller's deadline from which on an import starts no new record, and when it
# responds with the results that it has.
START_NONE = 2.0
RESPOND = 0.5
# How many records of one import are worked on at the same time.
CONCURRENCY = 8

R = TypeVar("R")
S = TypeVar("S")

# Waits until ACS may be asked about a record.
Admit = Callable[[], Awaitable[None]]

_importing: set[asyncio.Task[Any]] = set()


class Import(Generic[R, S]):
    """One import. Records about the same thing are worked on in their order.

    Args:
        verifications: The limit of questions to ACS.
        act: Does the work for one record and returns what the result says. It awaits its second
            argument before it asks ACS.
        about: What a record is about.
        result: Makes the result of a record from what `act` returned or raised.
    """

    def __init__(
        self,
        verifications: Verifications,
        act: Callable[[R, Admit], Awaitable[str]],
        about: Callable[[R], Iterable[Hashable]],
        result: Callable[[R, str | ServiceError], S],
    ) -> None:
        self._verifications = verifications
        self._act = act
        self._about = about
        self._result = result
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._loop = asyncio.get_running_loop()
        self._deadline = current_invocation().deadline or self._loop.time() + DEADLINE

    async def run(self, records: list[R]) -> list[S]:
        """The results in the order of the records."""
        last: dict[Hashable, asyncio.Task[S]] = {}
        tasks = []
        for record in records:
            about = list(self._about(record))
            earlier = {last[key] for key in about if key in last}
            task = asyncio.create_task(self._one(record, earlier))
            _importing.add(task)  # it goes on after the response
            task.add_done_callback(_importing.discard)
            last.update(dict.fromkeys(about, task))
            tasks.append(task)
        await asyncio.wait(tasks, timeout=self._deadline - RESPOND - self._loop.time())
        late = AcsTooSlow("The import of this record may still complete. Repeat it.")
        return [
            task.result() if task.done() else self._result(record, late)
            for task, record in zip(tasks, records, strict=True)
        ]

    async def _one(self, record: R, earlier: set[asyncio.Task[S]]) -> S:
        try:
            async with asyncio.timeout_at(self._deadline - START_NONE):
                if earlier:
                    await asyncio.wait(earlier)
                await self._slots.acquire()
        except TimeoutError:
            return self._result(record, "not_attempted")
        try:
            outcome: str | ServiceError = await self._act(record, self._admit)
        except _TimeIsUp:
            outcome = "not_attempted"
        except ServiceError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001 -- a bug in one record must not end the import
            events.error("internal_error", error)
            outcome = InternalError("See the log.")
        finally:
            self._slots.release()
        return self._result(record, outcome)

    async def _admit(self) -> None:
        left = self._deadline - START_NONE - self._loop.time()
        try:
            await self._verifications.acquire(left)
        except Throttled as error:
            raise _TimeIsUp from error


class _TimeIsUp(Exception):
    """The time is up before ACS may be asked. Repeating the record finishes it."""
