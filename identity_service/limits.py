"""Limits of one instance: calls per user, slow calls per operation, and verifications by ACS."""

import asyncio
import math
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from identity_service.errors import AcsTooSlow, Overloaded, ServiceError, Throttled, TooManyCalls
from identity_service.log import EventLog, current_invocation

T = TypeVar("T")

events = EventLog(__name__)

# Users whose budget is remembered. When there are more, the one that called longest ago is
# forgotten, which gives that user a new budget.
USERS = 10_000
# Seconds until the caller gets a response, even if the operation is still running. We promise ten:
# a call may have waited in the host until slow ones were given up, and the worker may be busy.
DEADLINE = 8.0
# A call is slow if ACS or the table has let it wait for this many seconds: far longer than they
# take while they are healthy, and longer than an ACS that is a second late. A busy worker of our
# own makes no call slow.
SLOW = 1.5
# Seconds between two calls that find out whether an operation still hangs.
TRIAL = 1.0
# The slow calls that an operation may always have, and the calls of all operations up to which it
# may have more: a quarter and a half of the requests that the platform sends an instance at once
# (perInstanceConcurrency, see infra/app.bicep).
SLOW_CALLS = 8
HALF_FULL = 16
# Operations that wait for other limits, and not for ACS or the table. They never have more than
# `SLOW_CALLS` calls, however fast those are.
WAITING = frozenset({"import_identities", "import_teams_access"})
# The calls of all operations at once. The platform sends far fewer.
CALLS = 128
# Seconds. A registration waits no longer than this for its verification.
LONGEST_WAIT = 4.0


class UserBudgets:
    """Limits how often each signed-in user may call.

    A user may use the calls of one minute at once. After that, calls become available one by one.
    """

    def __init__(self, time: Callable[[], float] = time.monotonic) -> None:
        self._time = time
        # For each user, the one that called longest ago first: when the budget will be full again.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def spend(self, user_id: str, calls_per_minute: int) -> None:
        """Count one call of the user.

        Raises:
            TooManyCalls: the user has no call left.
        """
        now = self._time()
        cost = 60 / calls_per_minute
        full_at = max(self._full_at.pop(user_id, now), now)
        # Rounded, because sums of fractions are not exact.
        wait = round(full_at + cost - now - 60, 6)
        self._full_at[user_id] = full_at if wait > 0 else full_at + cost
        if len(self._full_at) > USERS:
            self._full_at.popitem(last=False)
        if wait > 0:
            raise TooManyCalls(
                f"A user may send {calls_per_minute} requests per minute.",
                retry_after=math.ceil(wait),
            )


class Traffic:
    """Answers every caller in time, and keeps an operation that hangs from blocking the others.

    The platform sends an instance a few requests at once, whatever they are for. If one operation
    hangs and its callers repeat it, it would soon have all of them. So at most `SLOW_CALLS` calls
    of an operation may be slow while the instance is more than half full. Then

    - a new call of this operation is refused at once, except one each second to see whether the
      cause is over;
    - a call that becomes slow is answered with an error.

    An operation in `WAITING` never has more calls than that.

    An operation is never cancelled between two steps: it goes on after its caller got an error.
    """

    def __init__(self) -> None:
        self._calls = 0
        # For each operation: what ends the wait of a slow call's caller.
        self._slow: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._next_trial: defaultdict[str, float] = defaultdict(float)
        # The event loop keeps only weak references to tasks.
        self._running: defaultdict[str, set[asyncio.Future[Any]]] = defaultdict(set)

    async def run(self, operation: str, start: Callable[[], Awaitable[T]]) -> T:
        """Start a call of the operation, and wait for its result until the deadline.

        Raises:
            Overloaded: the call was not started.
            AcsTooSlow: the call goes on, but its caller waits no longer.
        """
        started = asyncio.get_running_loop().time()
        self._admit(operation, started)
        deadline = current_invocation().deadline = started + DEADLINE
        self._calls += 1
        try:
            task = asyncio.ensure_future(start())
            self._running[operation].add(task)
            task.add_done_callback(self._running[operation].discard)
            await self._wait(operation, task, deadline)
            return task.result()
        finally:
            self._calls -= 1

    def _admit(self, operation: str, now: float) -> None:
        if operation in WAITING and len(self._running[operation]) >= SLOW_CALLS:
            raise Overloaded("Too many calls of this operation are running.", retry_after=1)
        if self._calls < CALLS and not self._hangs(operation):
            return
        if self._calls < CALLS and now >= self._next_trial[operation]:
            self._next_trial[operation] = now + TRIAL
            return
        raise Overloaded("Too many calls of this operation are waiting.", retry_after=1)

    async def _wait(self, operation: str, task: asyncio.Future[Any], deadline: float) -> None:
        loop, invocation = asyncio.get_running_loop(), current_invocation()
        while not task.done() and invocation.waited < SLOW and loop.time() < deadline:
            left = min(SLOW - invocation.waited, deadline - loop.time())
            # The rounding of times must not make this a busy loop.
            await asyncio.wait({task}, timeout=max(left, 0.01))
        if task.done():
            if not task.exception():
                self._give_up_slow_calls(operation)
            return
        if not self._hangs(operation):
            given_up = loop.create_future()
            self._slow[operation].add(given_up)
            await asyncio.wait(
                {task, given_up},
                timeout=max(0, deadline - loop.time()),
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._slow[operation].discard(given_up)
        if not task.done():
            task.add_done_callback(_finished_late)
            raise AcsTooSlow("The response took too long. The operation may still complete.")

    def _hangs(self, operation: str) -> bool:
        """Whether the operation has as many slow calls as it may have."""
        return len(self._slow[operation]) >= SLOW_CALLS and self._calls > HALF_FULL

    def _give_up_slow_calls(self, operation: str) -> None:
        """If new calls are fast again, the old ones must not keep them out any longer."""
        if self._hangs(operation):
            for given_up in self._slow.pop(operation):
                given_up.set_result(None)


def _finished_late(task: asyncio.Future[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    unexpected = error if error and not isinstance(error, ServiceError) else None
    name = type(error).__name__ if error else "none"
    events.warning("operation_finished_late", unexpected, outcome=name)


class Verifications:
    """Limits how often ACS is asked whether an identity exists.

    Each question uses the quota for access tokens. They are evenly spaced, so that an import leaves
    the rest of the quota to the users.
    """

    def __init__(self, per_30s: int) -> None:
        self._interval = 30 / per_30s
        self._next = 0.0

    async def acquire(self, longest_wait: float = LONGEST_WAIT) -> None:
        """Wait until ACS may be asked.

        Raises:
            Throttled: that would take longer than `longest_wait` seconds.
        """
        now = asyncio.get_running_loop().time()
        mine = max(self._next, now)
        if mine - now > longest_wait:
            raise Throttled(
                "Other registrations use the quota for verifications.",
                retry_after=math.ceil(mine - now),
            )
        self._next = mine + self._interval
        await asyncio.sleep(mine - now)
