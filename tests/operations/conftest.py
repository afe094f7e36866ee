"""The tests of the operations run in virtual time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from identity_service.sweep import purge_deleted_identities
from tests.support.virtual_time import VirtualLoop
from tools.openapi.document import operations


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of every test here."""
    return {"virtual": VirtualLoop}


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option to show that the tests notice an operation that does nothing."""
    parser.addoption("--constant-operation", help="Let this operation return None at once.")


def pytest_configure(config: pytest.Config) -> None:
    """Replace the code of the operation, wherever it was imported."""
    if name := config.getoption("--constant-operation"):
        operation = {**operations(), "purge_deleted_identities": purge_deleted_identities}[name]
        operation.__code__ = _constant.__code__


async def _constant(*_: object, **__: object) -> None:
    pass
