"""Facts about host.json."""

from pathlib import Path

import pytest

from local.functions_host.errors import AppError
from local.functions_host.host_json import route_prefix


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ('{"version": "2.0"}', "api"),
        ('\ufeff{"version": "2.0"}', "api"),
        ('{"version": "2.0", "extensions": {"http": {"routePrefix": "/v1/x/"}}}', "v1/x"),
        ('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}', ""),
    ],
)
def test_the_route_prefix_is_api_unless_it_says_otherwise(
    tmp_path: Path, text: str, prefix: str
) -> None:
    """A byte order mark does no harm."""
    (tmp_path / "host.json").write_text(text, encoding="utf-8")

    assert route_prefix(tmp_path) == prefix


def test_it_may_be_missing(tmp_path: Path) -> None:
    """The host runs with an empty one."""
    assert route_prefix(tmp_path) == "api"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": "1.0"}'])
def test_one_that_azure_refuses_is_refused(tmp_path: Path, text: str) -> None:
    """By its name."""
    (tmp_path / "host.json").write_text(text)

    with pytest.raises(AppError, match=r"^host\.json "):
        route_prefix(tmp_path)
