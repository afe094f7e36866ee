"""docs/acsid.md: every example runs as it is printed, and prints what the page says."""

import os
import re
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from acsid.failures import Exit
from acsid.main import app as command_line
from typer.testing import CliRunner

from tests.cli.test_commands import COMMANDS
from tests.support.programs import required
from tests.support.stack import ROOT, App
from tools.setup.programs import program

PAGE = (ROOT / "docs" / "acsid.md").read_text("utf-8")
_BLOCK = re.compile(r"(?:^(?: {4}.*)?\n)+", re.MULTILINE)
_COMMAND = re.compile(r"(acsid|id=\$\(acsid|jq) ")
# Commands that a test of the local app cannot run: it has other settings, and no Azure CLI.
_NOT_RUN = ("az ", "export ")


def examples() -> list[tuple[str, str]]:
    """Returns each block of commands, and the output that the page shows for it, if any.

    The output follows its commands after an empty line. Files, settings and JSON are no output.
    """
    found: list[tuple[str, str]] = []
    for block in _BLOCK.findall(PAGE):
        for part in textwrap.dedent(block).strip("\n").split("\n\n"):
            if _COMMAND.match(part):
                found.append((part, ""))
            elif part and found and not part.startswith(("[", "{", *_NOT_RUN)):
                found[-1] = (found[-1][0], part)
    return found


def pattern(output: str) -> re.Pattern[str]:
    """Returns what the output must match. An ellipsis stands for anything."""
    lines = (re.escape(line).replace("…", ".*") for line in output.splitlines())
    return re.compile("\n".join(lines), re.DOTALL)


def test_every_example_runs(app: App, tmp_path: Path) -> None:
    """All commands of the page succeed, one after the other, with the output of the page."""
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ACSID_URL": app.url,
        "ACSID_KEY": app.function_key,
    }
    bash, _ = (required(partial(program, name)) for name in ("bash", "jq"))
    script = "set -euo pipefail\nexec 2>&1\n"
    for command, _ in examples():
        script += f"{command}\necho ======\n"
    ended = subprocess.run(  # noqa: S603 -- the commands of our own page
        [bash, "-c", script],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout
    printed = ended.stdout.split("======\n")[:-1]
    assert len(printed) == len(examples()) > 8
    for (command, output), text in zip(examples(), printed, strict=True):
        assert not output or pattern(output).match(text), (command, text)


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
