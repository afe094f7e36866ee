"""Dependencies are pinned, hashed, licensed, and watched over; and so is the automation itself."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.package.licences import PAGE, pinned

ROOT = Path(__file__).parent.parent
REQUIREMENTS = [ROOT / "requirements.txt", ROOT / "requirements-dev.txt"]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
DEPENDABOT = (ROOT / ".github" / "dependabot.yml").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
# Each lets us ship it in a product of any kind; certifi's MPL is about certifi's own files.
ALLOWED = {
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
}

each_file = pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)


@each_file
def test_every_pin_has_hashes(path: Path) -> None:
    """Nobody can put something else in a package's place."""
    entries = re.split(r"\n(?=[\w.-]+==)", path.read_text())

    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert len(entries) == len(pinned(path.read_text()))


@each_file
def test_no_registry_is_named(path: Path) -> None:
    """Where packages come from is the business of whoever installs them."""
    assert re.findall(r"https?://|--(?:extra-)?index-url", path.read_text()) == []


def test_what_is_deployed_is_what_is_developed_with() -> None:
    """The same versions in both files."""
    deployed, developed = (pinned(path.read_text()) for path in REQUIREMENTS)

    assert deployed <= developed


def licences() -> dict[tuple[str, str], str]:
    """What docs/licences.md says of each name and version."""
    rows = re.findall(r"^\| (\S+) +\| (\d\S*) +\| (.+?) +\|$", PAGE.read_text(), re.MULTILINE)
    return {(name, version): licence for name, version, licence in rows}


def test_every_licence_is_listed() -> None:
    """Of all that is deployed, and of nothing else. `make pins` makes the page anew."""
    deployed = pinned((ROOT / "requirements.txt").read_text())

    assert set(licences()) == deployed


def test_every_licence_is_allowed() -> None:
    """Where there is a choice, one of them is."""
    refused = {
        name: licence
        for (name, _), licence in licences().items()
        if not any(set(choice.split(" AND ")) <= ALLOWED for choice in licence.split(" OR "))
    }

    assert refused == {}


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-workflows", ".github/workflows/ci.yml"),
        ("vendor.github-actions", ".github/actions/set-up/action.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
    ],
)
def test_automation_is_well_formed(schema: str, file: str) -> None:
    """By the schemas that GitHub's users share."""
    call = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / file)]
    checked = subprocess.run(call, capture_output=True, text=True, check=False)  # noqa: S603 -- our own call

    assert checked.returncode == 0, checked.stdout


def test_every_target_that_is_called_is_there() -> None:
    """CI does what a person does, by the same words."""
    action = (ROOT / ".github" / "actions" / "set-up" / "action.yml").read_text()
    called = set(re.findall(r"run: make (\w+)", WORKFLOW + action))

    assert called == {"setup", "check", "test", "package", "audit"}
    assert called <= set(re.findall(r"^(\w+):.*##", MAKEFILE, re.MULTILINE))


def test_every_python_is_tested() -> None:
    """From the oldest that pyproject.toml allows to the newest that is deployed."""
    oldest = re.findall(r'requires-python = ">=(\S+)"', (ROOT / "pyproject.toml").read_text())
    [deployed] = re.findall(
        r"@allowed\(\[('3[^\]]+)\]\)", (ROOT / "infra" / "main.bicep").read_text()
    )
    matrices = re.findall(r"python: (\[.*\])", WORKFLOW)

    assert [json.loads(matrix) for matrix in matrices] == [
        deployed.replace("'", "").split(", ")
    ] * 2
    assert json.loads(matrices[0])[:1] == oldest


def test_every_action_is_pinned() -> None:
    """By its commit: a tag can be moved."""
    files = [*(ROOT / ".github").rglob("ci.yml"), *(ROOT / ".github").rglob("action.yml")]
    uses = re.findall(r"uses: (\S+)(.*)", "\n".join(path.read_text() for path in files))
    foreign = [(name, rest) for name, rest in uses if not name.startswith("./")]

    assert foreign
    for name, rest in foreign:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", rest)


def test_every_lock_file_is_watched() -> None:
    """Dependabot looks into every folder that has one."""
    listed = subprocess.run(
        ["git", "ls-files", "*package-lock.json"],  # noqa: S607 -- wherever it is installed
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    folders = {f"/{Path(name).parent}" for name in listed.stdout.split()}
    [watched] = re.findall(r"package-ecosystem: npm\n    directories: \[(.+)\]", DEPENDABOT)

    assert set(watched.split(", ")) == folders
