"""What every exploration is surrounded by."""

from collections.abc import Iterator

import pytest

from tests.exploration.quiet import undisturbed


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    with undisturbed():
        yield
