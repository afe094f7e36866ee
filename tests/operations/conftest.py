"""The tests of the operations run in virtual time."""

import asyncio
from collections.abc import Callable, Mapping

from tests.support.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of every test here."""
    return {"virtual": VirtualLoop}
