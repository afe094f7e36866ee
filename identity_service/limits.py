"""Limits of one instance: calls per user, operations at once, and verifications by ACS."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from identity_service.errors import Overloaded, Throttled, TooManyCalls

# Users whose budget is remembered. When there are more, the one that called longest ago is
# forgotten, which gives that user a new budget.
USERS = 10_000
# Operations that run at once in one worker. Each may hold a socket to ACS and one to the tables.
# The platform sends an instance far fewer requests at once.
OPERATIONS = 512
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


class Slots:
    """Limits how many operations run at once."""

    def __init__(self) -> None:
        self._used = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Use one slot until the end of the block.

        Raises:
            Overloaded: all slots are used.
        """
        if self._used >= OPERATIONS:
            raise Overloaded("Too many requests are running at once.", retry_after=1)
        self._used += 1
        try:
            yield
        finally:
            self._used -= 1


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
