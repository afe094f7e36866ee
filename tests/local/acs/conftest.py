"""One emulator serves all tests of a worker; each test finds it new."""

from collections.abc import Iterator

import pytest

from tests.local.acs.served import Served, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An emulator over TLS, in a thread of its own."""
    with serve(tmp_path_factory.mktemp("acs")) as served:
        yield served


@pytest.fixture
def acs(served: Served) -> Served:
    """The emulator without identities, faults, quotas or counts, and at the right time."""
    served.clock.ahead = 0
    served.control("POST", "/reset")
    return served
