"""Programs that a test needs and that pip and npm cannot install."""

import os
from collections.abc import Callable

import pytest


def required(find: Callable[[], str]) -> str:
    """Returns the path of a program. Where it is missing, the test is skipped; in CI it fails."""
    try:
        return find()
    except FileNotFoundError as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
