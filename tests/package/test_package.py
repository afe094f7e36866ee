"""The package itself, built as `make package` does."""

from pathlib import Path

import pytest

from package import ROOT
from package.building import pack, stage, unpack
from package.checks import ALWAYS, Check, Package, functions_of
from package.target import Target
from tests.test_triggers import HTTP, OTHERS


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """For the newest Python that is here, without Microsoft's worker library."""
    folder = tmp_path_factory.mktemp("package")
    target = Target.find()
    (folder / "stage").mkdir()
    stage(folder / "stage", target)
    pack(folder / "stage", folder / "package.zip")
    unpack(folder / "package.zip", folder / "app")
    functions = functions_of((ROOT / "function_app.py").read_text())
    return Package(folder / "app", (folder / "package.zip").stat().st_size, target, functions)


@pytest.mark.parametrize("check", ALWAYS)
def test_check(check: Check, package: Package) -> None:
    """It passes every check."""
    assert list(check(package)) == []


def test_every_function_is_known(package: Package) -> None:
    """Those that the checks expect are those that there are."""
    assert package.functions == {*HTTP, *OTHERS}


def test_same_files_make_the_same_bytes(package: Package, tmp_path: Path) -> None:
    """So that a package can be told by its hash."""
    for name in ("one.zip", "two.zip"):
        pack(package.folder, tmp_path / name)

    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
