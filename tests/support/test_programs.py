"""Facts about tests that need a program: they run in CI, and say elsewhere how to install it."""

import pytest

from tests.support.programs import required
from tools.setup.programs import program

# A skip that is not expected would skip the test itself.
OUTCOMES = (pytest.skip.Exception, pytest.fail.Exception)


def _missing() -> str:
    return program("program-that-is-missing")


def test_a_test_is_skipped_if_its_program_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason, which pytest's summary prints, says how to install it."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(OUTCOMES) as outcome:
        required(_missing)

    assert outcome.type is pytest.skip.Exception
    assert str(outcome.value).endswith("is missing: apt-get install program-that-is-missing")


def test_a_test_fails_in_ci_if_its_program_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI cannot pass without it."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(OUTCOMES) as outcome:
        required(_missing)

    assert outcome.type is pytest.fail.Exception


def test_the_path_of_a_program_is_found() -> None:
    """It is absolute."""
    assert required(lambda: program("sh")).startswith("/")
