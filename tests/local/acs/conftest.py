"""The emulator that the tests share. Each test starts with an empty one."""

import time
from collections.abc import Iterator

import pytest

from tests.local.acs.support import EmulatorClient, serve


class Clock:
    """The real time plus an offset in seconds."""

    offset = 0.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset


@pytest.fixture(scope="session")
def clock() -> Clock:
    """The clock of the shared emulator."""
    return Clock()


@pytest.fixture(scope="session")
def shared_emulator(
    tmp_path_factory: pytest.TempPathFactory, clock: Clock
) -> Iterator[EmulatorClient]:
    """An emulator that runs for the whole session."""
    with serve(tmp_path_factory.mktemp("acs"), clock) as client:
        yield client


@pytest.fixture
def acs(shared_emulator: EmulatorClient, clock: Clock) -> EmulatorClient:
    """The emulator without identities, faults, quotas or counts, at the real time."""
    clock.offset = 0
    shared_emulator.control("POST", "/reset")
    return shared_emulator
