"""An app that a test controls, and the command line that calls it."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from acsid.main import app
from typer.testing import CliRunner

from tests.cli.service import KEY, Service, running_service

Run = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a command has printed, and its exit code."""

    code: int
    output: str
    errors: str

    def json(self) -> Any:
        """Decodes the output."""
        return json.loads(self.output)

    def lines(self) -> list[Any]:
        """Decodes each line of the output."""
        return [json.loads(line) for line in self.output.splitlines()]

    def error(self) -> Any:
        """Decodes the one failure that a command with --json has printed."""
        return json.loads(self.errors)["error"]


def command(*arguments: object) -> list[str]:
    """Returns the command as a process."""
    return [sys.executable, "-m", "acsid.main", *map(str, arguments)]


@pytest.fixture
def service() -> Iterator[Service]:
    """An empty app."""
    with running_service() as started:
        yield started


@pytest.fixture
def variables(service: Service, tmp_path: Path) -> dict[str, str]:
    """The environment of an operator of that app."""
    return {"ACSID_URL": service.url, "ACSID_KEY": KEY, "HOME": str(tmp_path)}


@pytest.fixture
def acsid(variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command against that app, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("ACSID_", "XDG_")):
            monkeypatch.delenv(name)

    def run(
        *arguments: object, env: Mapping[str, str] | None = None, answer: str | None = None
    ) -> Outcome:
        chosen = variables if env is None else {"HOME": str(tmp_path), **env}
        ended = CliRunner(env=chosen).invoke(app, [*map(str, arguments)], input=answer)
        if ended.exception and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        assert KEY not in ended.output
        return Outcome(ended.exit_code, ended.stdout, ended.stderr)

    return run
