"""An app that a test controls, and the command line that calls it."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from acsid.main import app as command_line
from typer.testing import CliRunner

from tests.cli.service import KEY, Service, running_service
from tests.runbooks.operator import TABLES
from tests.support.azurite import running_tables
from tests.support.stack import App, Azure, running_app

Run = Callable[..., "Outcome"]
SECRETS = ("ACSID_KEY", "ACSID_TOKEN", "ACSID_MASTER_KEY")


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


@pytest.fixture(scope="module")
def app(azure: Azure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app with a registry of its own: exports and files cover everything in it."""
    account, folder = tmp_path_factory.mktemp("account"), tmp_path_factory.mktemp("app")
    with (
        running_tables(account, azure.certificates) as tables,
        running_app(azure, folder, {TABLES: tables.address}) as started,
    ):
        yield started


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
def run_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], Run]:
    """Runs commands in a folder of their own, with these variables only."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(("ACSID_", "XDG_")):
            monkeypatch.delenv(name)

    def begin(variables: Mapping[str, str]) -> Run:
        def run(
            *arguments: object, env: Mapping[str, str] | None = None, answer: str | None = None
        ) -> Outcome:
            chosen = variables if env is None else {"HOME": str(tmp_path), **env}
            ended = CliRunner(env=chosen).invoke(command_line, [*map(str, arguments)], input=answer)
            if ended.exception and not isinstance(ended.exception, SystemExit):
                raise ended.exception
            assert not any(variables.get(name, "\0") in ended.output for name in SECRETS)
            return Outcome(ended.exit_code, ended.stdout, ended.stderr)

        return run

    return begin


@pytest.fixture
def acsid(variables: dict[str, str], run_in: Callable[[Mapping[str, str]], Run]) -> Run:
    """Runs a command against the app that the test controls."""
    return run_in(variables)
