"""Building the package: its files, its Python, and that it passes all checks."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from pathspec import GitIgnoreSpec

from tests.support.settings import MINIMAL
from tools.openapi.document import operations
from tools.package import ROOT
from tools.package.__main__ import ratio, verdict
from tools.package.build import FUNCIGNORE, pack, published, stage, unpack
from tools.package.checks import ALWAYS, BELONGS, PROBE, Check, Package, app_functions
from tools.package.target import DEFAULT, CannotBuild, Target, search_path

# Files that exist in a folder in which someone works, but in no clone.
UNTRACKED = [
    ".azure/dev/.env",
    ".env",
    ".git/config",
    ".local/keys.json",
    ".venv/bin/python",
    ".vscode/settings.json",
    "__pycache__/function_app.cpython-311.pyc",
    "cli/__main__.py",
    "dist/acs-identity-service-python3.13.zip",
    "identity_service/__pycache__/errors.cpython-311.pyc",
    "local.settings.json",
    "local/node_modules/azurite/package.json",
]
LINES = (ROOT / FUNCIGNORE).read_text().split()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which someone has worked; all files but .funcignore are empty."""
    folder = tmp_path_factory.mktemp("project")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607 -- git may be installed anywhere
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in [*listed.stdout.splitlines(), *UNTRACKED]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shutil.copyfile(ROOT / FUNCIGNORE, folder / FUNCIGNORE)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package for the newest installed Python, built as `make package` does."""
    folder = tmp_path_factory.mktemp("package")
    target = Target.find()
    (folder / "stage").mkdir()
    stage(folder / "stage", target)
    pack(folder / "stage", folder / "package.zip")
    unpack(folder / "package.zip", folder / "app")
    size = (folder / "package.zip").stat().st_size
    return Package(folder / "app", size, target, app_functions())


def files_in(folder: Path) -> list[Path]:
    """All files below the folder, relative to it."""
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def test_only_the_app_is_published(project: Path) -> None:
    """The published files are those of the app: Python, JSON and what pip installs."""
    files = published(project)

    assert {path.parts[0] for path in files} == BELONGS
    assert [path for path in files if path.suffix not in {".py", ".json", ".txt"}] == []


def test_core_tools_publish_the_same(project: Path) -> None:
    """Core Tools, which match lines as prefixes, publish the same files, and bytecode."""
    prefixes = (re.escape(line).replace(r"\*", ".*") for line in LINES)
    ignored = re.compile("|".join(prefixes))

    kept = {path for path in files_in(project) if not ignored.match(str(path))}

    assert {path for path in kept if path.suffix != ".pyc"} == set(published(project))


@pytest.mark.parametrize("line", LINES)
def test_every_line_is_needed(project: Path, line: str) -> None:
    """Without any one line of .funcignore, more files would be published."""
    rest = GitIgnoreSpec.from_lines(other for other in LINES if other != line)
    kept = [path for path in files_in(project) if not rest.match_file(str(path))]

    assert len(kept) > len(published(project))


@pytest.mark.parametrize("check", ALWAYS)
def test_check(check: Check, package: Package) -> None:
    """The package passes every check."""
    assert list(check(package)) == []


def test_every_function_is_expected(package: Package) -> None:
    """The checks expect exactly the functions that the app has."""
    assert package.functions == {*operations(), "purge_deleted_identities", "warmup"}


def test_same_files_make_the_same_bytes(package: Package, tmp_path: Path) -> None:
    """Packing the same files twice gives identical zip files."""
    for name in ("one.zip", "two.zip"):
        pack(package.folder, tmp_path / name)

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_cold_start_is_measured(package: Package) -> None:
    """The time to the index has the import in it, and the clients come after the import."""
    call = ("cold_start", str(package.folder), str(time.monotonic()))
    measured = json.loads(package.target.run(PROBE, *call, environ=MINIMAL))

    assert measured["index"] > measured["import"] > 0
    assert measured["clients"] > measured["import"]


def starts(*seconds: float) -> list[dict[str, float]]:
    """Cold starts whose import took this long."""
    return [{"import": each} for each in seconds]


def test_a_ratio_compares_within_rounds() -> None:
    """A round in which the machine was busy for both counts as any other."""
    noisy = {"app": starts(1.0, 8.0, 1.1), "bare": starts(1.0, 8.0, 1.0)}

    assert ratio(noisy, "import", "bare") == 1.0


@pytest.mark.parametrize(("value", "expected"), [(1.05, "met"), (1.06, "missed")])
def test_the_target_is_met_or_missed(value: float, expected: str) -> None:
    """The report says which."""
    assert verdict(value) == f"{value:.2f}, target at most 1.05: {expected}"


def test_pythons_of_pyenv_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shims do not start versions that are not selected: the folders of all versions do."""
    for name in ("3.11.7", "3.13.0"):
        (tmp_path / ".pyenv" / "versions" / name / "bin").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path / '.pyenv' / 'shims'}:/usr/bin")

    assert [folder.removeprefix(str(tmp_path)) for folder in search_path()] == [
        "/.pyenv/versions/3.11.7/bin",
        "/.pyenv/versions/3.13.0/bin",
        "/usr/bin",
    ]


def is_installed(version: str) -> bool:
    """Whether this Python can be found."""
    try:
        return Target.find(version).version == version
    except CannotBuild:
        return False


def test_default_pythons() -> None:
    """There is one for each version of azure-functions, if it is installed; else the newest."""
    installed = [version for version in DEFAULT if is_installed(version)]

    found = [target.version for target in Target.defaults()]

    assert found == (installed or [Target.find().version])


def test_missing_python_is_named() -> None:
    """The error names the requested Python if it is not installed."""
    with pytest.raises(CannotBuild, match=r"^Python 3\.99 is missing: install it"):
        Target.find("3.99")


def test_all_supported_pythons_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If no Python that Azure runs is installed, the error names all of them."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", "")

    with pytest.raises(CannotBuild, match=r"^Python 3\.13 or 3\.12 or 3\.11 is missing"):
        Target.find()
