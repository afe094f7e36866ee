"""Time that passes only when every task waits. Deadlines and delays then take no real time."""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

from identity_service.ports import Clock

START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class _SkippingSelector(selectors.DefaultSelector):
    """Adds up the seconds that it is asked to wait, instead of waiting.

    If no task has a timeout, it waits for real: only something outside this process can continue.
    """

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.skipped += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: the same calls always happen in the same order."""

    def __init__(self) -> None:
        self._selector_of_ours = _SkippingSelector()
        super().__init__(self._selector_of_ours)

    def time(self) -> float:
        """The seconds skipped so far."""
        return self._selector_of_ours.skipped


class VirtualClock(Clock):
    """The port `Clock` in virtual time. Tests can advance it."""

    def __init__(self) -> None:
        self._advanced = timedelta()

    def now(self) -> datetime:
        """The current time."""
        seconds = round(asyncio.get_running_loop().time(), 6)
        return START + self._advanced + timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def advance(self, time: timedelta) -> None:
        """Let time pass."""
        self._advanced += time
