"""What every test may ask for."""

import asyncio
import selectors
from collections.abc import Iterator

import hypothesis
import pytest

from identity_service.events import unheard

pytest_plugins = ["tests.support.fixtures"]

# A slow machine is not a failing test.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def _silence() -> None:
    """No test says again what another one said too late."""
    unheard.clear()


class _Hasty(selectors.DefaultSelector):
    """Sees what has happened already, and counts the seconds that it would have waited for more."""

    skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; it waits for real only when nothing at all is planned."""
        if timeout is None:
            return super().select(None)
        ready = super().select(0)
        if not ready:
            self.skipped += max(timeout, 0)
        return ready


class HastyLoop(asyncio.SelectorEventLoop):
    """An event loop whose every wait is over at once: its clock jumps to the next thing to do."""

    def __init__(self) -> None:
        self._hasty = _Hasty()
        super().__init__(self._hasty)

    def time(self) -> float:
        """The loop's clock: seconds passed, and seconds skipped."""
        return super().time() + self._hasty.skipped


@pytest.fixture
def hasty() -> Iterator[asyncio.Runner]:
    """Runs a coroutine in an event loop that skips every wait: deadlines pass in no time."""
    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        yield runner
