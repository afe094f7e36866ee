"""Facts about the browser that these tests need."""

import pytest

from tests.browser.chromium import chromium


def test_where_it_is_missing_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests fail then: nobody should believe that they ran."""
    monkeypatch.setenv("CHROMIUM", "chromium-that-is-nowhere")

    with pytest.raises(FileNotFoundError, match=r"^.* is missing: apt-get install -y chromium"):
        chromium()
