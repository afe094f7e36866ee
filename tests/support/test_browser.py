"""Facts about the browser that the browser tests rely on."""

import pytest

from tests.support.browser import chromium


def test_a_missing_browser_is_reported_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The browser tests fail with one line where Chromium is not installed: they never skip."""
    monkeypatch.setenv("CHROMIUM", "chromium-that-is-missing")

    with pytest.raises(FileNotFoundError, match=r"^.* is missing: apt-get install -y chromium"):
        chromium()
