"""Fixtures for every test."""

import asyncio
import gc
from collections.abc import Iterator

import hypothesis
import pytest

from identity_service.log import unheard
from tests.support.virtual_time import VirtualLoop
from tests.support.world import World

pytest_plugins = ["tests.support.fixtures"]

# A slow machine must not fail a test.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_collection_finish() -> None:
    """Leave the thousands of tests out of garbage collections: each would take half a second."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_replayed_lines() -> None:
    """Forget the log lines that another test has left for the next invocation."""
    unheard.clear()


@pytest.fixture
def virtual_time() -> Iterator[asyncio.Runner]:
    """Runs a coroutine in virtual time: deadlines pass at once."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner


@pytest.fixture
def world() -> World:
    """An empty ACS resource and an empty registry, in memory."""
    return World()
