"""What is published is what belongs, and every line of .funcignore is there for something."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from package import ROOT
from package.checks import BELONGS
from package.files import FUNCIGNORE, published

# What lies about in a folder that people work in, and is in no clone.
LITTER = [
    ".azure/dev/.env",
    ".env",
    ".git/config",
    ".local/keys.json",
    ".venv/bin/python",
    ".vscode/settings.json",
    "__pycache__/function_app.cpython-311.pyc",
    "dist/acs-identity-service-python3.13.zip",
    "identity_service/__pycache__/web.cpython-311.pyc",
    "local.settings.json",
    "local/node_modules/azurite/package.json",
]
LINES = (ROOT / FUNCIGNORE).read_text().split()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which somebody has worked; the files are empty."""
    folder = tmp_path_factory.mktemp("workplace")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 -- wherever it is installed
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in [*listed.stdout.splitlines(), *LITTER]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shutil.copyfile(ROOT / FUNCIGNORE, folder / FUNCIGNORE)
    return folder


def test_only_what_belongs_is_published(workplace: Path) -> None:
    """The app, and nothing that lies about."""
    files = published(workplace)

    assert {path.parts[0] for path in files} == BELONGS
    assert [path for path in files if path.suffix not in {".py", ".json", ".txt"}] == []


def test_core_tools_publish_the_same(workplace: Path) -> None:
    """They take a line for the beginning of a path from the root on; bytecode comes along."""
    beginnings = (re.escape(line).replace(r"\*", ".*") for line in LINES)
    ignored = re.compile("|".join(beginnings))
    files = [path.relative_to(workplace) for path in workplace.rglob("*") if path.is_file()]

    kept = {path for path in files if not ignored.match(str(path))}

    assert {path for path in kept if path.suffix != ".pyc"} == set(published(workplace))


@pytest.mark.parametrize("line", LINES)
def test_every_line_ignores_something(workplace: Path, line: str) -> None:
    """A line that matches nothing is a mistake, or a thing of the past."""
    spec = GitIgnoreSpec.from_lines([line])
    files = [path.relative_to(workplace) for path in workplace.rglob("*") if path.is_file()]

    assert any(spec.match_file(str(path)) for path in files)


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_needed(workplace: Path, line: str) -> None:
    """Without it something more would be published."""
    rest = GitIgnoreSpec.from_lines(other for other in LINES if other != line)
    files = [path.relative_to(workplace) for path in workplace.rglob("*") if path.is_file()]
    more = [path for path in files if not rest.match_file(str(path))]

    assert len(more) > len(published(workplace))
