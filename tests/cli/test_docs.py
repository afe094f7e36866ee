"""docs/acsid.md names every command and every exit code."""

import re

import pytest
from acsid.failures import Exit
from acsid.main import app as command_line
from typer.testing import CliRunner

from tests.cli.test_commands import COMMANDS
from tests.support.stack import ROOT

PAGE = (ROOT / "docs" / "acsid.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_documented(name: str) -> None:
    """The page names each command."""
    assert f"`{name}" in PAGE


def test_every_exit_code_is_documented() -> None:
    """The table has exactly the exit codes of the program, and so has its help."""
    table = PAGE.split("| exit code |")[1].split("\n\n")[0]
    shown = CliRunner().invoke(command_line, ["--help"]).output.replace("\n ", "")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}

    assert codes == set(Exit)
    for code in Exit:
        assert re.search(rf"[ :,]{int(code)} ", shown)
