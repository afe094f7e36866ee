"""For which Python the package is built."""

from pathlib import Path

import pytest

from package.target import CannotBuild, Target


def test_a_python_that_is_missing_is_named() -> None:
    """The one that was asked for."""
    with pytest.raises(CannotBuild, match=r"^Python 3\.99 is missing: install it"):
        Target.find("3.99")


def test_where_azure_runs_none_of_those_here_all_that_it_does_run_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine that has none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", "")

    with pytest.raises(CannotBuild, match=r"^Python 3\.13 or 3\.12 or 3\.11 is missing"):
        Target.find()
