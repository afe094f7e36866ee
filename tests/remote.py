"""What the services in memory have in common: calls that take effect at one point, or go wrong."""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from identity_service.errors import ServiceError
from identity_service.ports import RowChanged

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What happens to one call.

    Attributes:
        meeting: What others do just before the call takes effect.
        refused: What the call raises instead of taking effect.
        lost: What the call raises although it took effect: its answer never came.
    """

    meeting: Callable[[], Awaitable[object]] | None = None
    refused: Exception | None = None
    lost: Exception | None = None


class Remote:
    """A service in memory. Each method awaits `perform` once, where its effect happens at once.

    What is planned for calls of one name befalls them in the order in which it was planned.

    Attributes:
        calls: The names of the methods called, in order.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._plans: defaultdict[str, deque[Plan]] = defaultdict(deque)

    def passes(self, call: str, times: int = 1) -> None:
        """Let the next calls through, so that what is planned afterwards befalls later ones."""
        self._plan(call, Plan(), times)

    def fails(self, call: str, error: Exception, times: int = 1) -> None:
        """Let the next calls fail before they take effect."""
        self._plan(call, Plan(refused=error), times)

    def loses(self, call: str, error: Exception, times: int = 1) -> None:
        """Let the next calls take effect, and fail all the same."""
        self._plan(call, Plan(lost=error), times)

    def meets(self, call: str, meeting: Callable[[], Awaitable[object]], times: int = 1) -> None:
        """Let others go first, just before the next calls take effect."""
        self._plan(call, Plan(meeting=meeting), times)

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """Let others have a turn, then let the call take effect, as it is planned."""
        self.calls.append(call)
        plan = self._plans[call].popleft() if self._plans[call] else Plan()
        await asyncio.sleep(0)
        if plan.meeting:
            await plan.meeting()
        if plan.refused:
            raise plan.refused
        if plan.lost:
            with contextlib.suppress(RowChanged, ServiceError):
                effect()
            raise plan.lost
        return effect()

    def _plan(self, call: str, plan: Plan, times: int) -> None:
        self._plans[call].extend([plan] * times)
