"""A world of its own for every test."""

import pytest

from tests.operations_me.world import StillClock, TinyAcs, TinyRegistry


@pytest.fixture
def acs() -> TinyAcs:
    """ACS, which has done nothing yet."""
    return TinyAcs()


@pytest.fixture
def registry() -> TinyRegistry:
    """A registry, which knows nobody yet."""
    return TinyRegistry()


@pytest.fixture
def clock() -> StillClock:
    """A clock that stands still."""
    return StillClock()
