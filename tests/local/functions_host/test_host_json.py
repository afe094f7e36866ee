"""Facts about host.json."""

from pathlib import Path

import pytest

from local.functions_host.host_json import HostJson, read_host_json
from local.functions_host.indexing import AppError


@pytest.mark.parametrize("text", [None, '{"version": "2.0"}', '\ufeff{"version": "2.0"}'])
def test_without_settings_the_defaults_hold(tmp_path: Path, text: str | None) -> None:
    """The prefix is api, an invocation may take 30 minutes, and nothing else is limited."""
    if text is not None:
        (tmp_path / "host.json").write_text(text, encoding="utf-8")

    assert read_host_json(tmp_path) == HostJson("api", timeout=1800)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ('"functionTimeout": "-1"', HostJson()),
        ('"functionTimeout": "1.01:02:03.5"', HostJson(timeout=90_123.5)),
        ('"extensions": {"http": {"routePrefix": "/v1/x/"}}', HostJson("v1/x", timeout=1800)),
        ('"extensions": {"http": {"routePrefix": ""}}', HostJson("", timeout=1800)),
        (
            '"extensions": {"http": {"maxConcurrentRequests": 2, "maxOutstandingRequests": 5}}',
            HostJson("api", 2, 5, timeout=1800),
        ),
        (
            '"extensions": {"http": {"customHeaders": {"X-A": "b"}}}',
            HostJson(custom_headers={"X-A": "b"}, timeout=1800),
        ),
        ('"extensions": {"http": {"maxConcurrentRequests": -1}}', HostJson(timeout=1800)),
    ],
)
def test_settings_are_read(tmp_path: Path, settings: str, expected: HostJson) -> None:
    """-1 means no limit."""
    (tmp_path / "host.json").write_text(f'{{"version": "2.0", {settings}}}')

    assert read_host_json(tmp_path) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"version": "1.0"}',
        '{"version": "2.0", "functionTimeout": "five"}',
        '{"version": "2.0", "extensions": {"http": {"maxConcurrentRequests": "many"}}}',
        '{"version": "2.0", "extensions": {"http": {"customHeaders": []}}}',
    ],
)
def test_an_invalid_host_json_is_rejected(tmp_path: Path, text: str) -> None:
    """Azure rejects it too."""
    (tmp_path / "host.json").write_text(text)

    with pytest.raises(AppError, match=r"^host\.json "):
        read_host_json(tmp_path)
