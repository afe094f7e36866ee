"""A time that stands still while anything can be done, and jumps when everybody waits."""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

from identity_service.ports import Clock

START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class _Skipping(selectors.DefaultSelector):
    """Adds up the seconds it is asked to wait, instead of waiting."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now."""
        if timeout is None:
            raise RuntimeError("everybody waits, and for nothing that will ever happen")
        ready = super().select(0)
        if not ready:
            self.skipped += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time: the same calls always happen in the same order."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """The seconds skipped so far."""
        return self._skipping.skipped


class VirtualClock(Clock):
    """The port `Clock` in virtual time. It can be put forward."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """The current time."""
        seconds = round(asyncio.get_running_loop().time(), 6)
        return START + self._ahead + timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def forward(self, time: timedelta) -> None:
        """Put it forward."""
        self._ahead += time
