"""The environment of every exploration."""

from collections.abc import Iterator

import pytest

from tests.exploration.search import search_environment


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    with search_environment():
        yield
