"""What every test of an operation may ask for."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.operations.virtual_time import VirtualLoop
from tests.operations.world import World


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of every test here."""
    return {"virtual": VirtualLoop}


@pytest.fixture
def world() -> World:
    """Everything the operations are given, with nothing in it yet."""
    return World()
