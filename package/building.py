"""From the project to a zip file: the same files make the same bytes."""

import shutil
import zipfile
from pathlib import Path

from package import DEPENDENCIES, ROOT
from package.files import published
from package.target import Target

# The earliest that a zip file can tell.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16
# Programs for a command line, and packages' tests of themselves: nothing at run time asks for them.
_NEEDLESS = ("bin", "tests", "test")


def stage(folder: Path, target: Target) -> None:
    """Put into an empty folder what Azure gets: the app, its dependencies, and bytecode."""
    for path in published(ROOT):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    packages = folder / DEPENDENCIES
    target.install(packages, "--requirement", str(ROOT / "requirements.txt"))
    for name in _NEEDLESS:
        for needless in [path for path in packages.rglob(name) if path.is_dir()]:
            shutil.rmtree(needless)
    (packages / ".lock").unlink(missing_ok=True)
    target.compile(folder)


def pack(folder: Path, package: Path) -> None:
    """Make a zip file of the folder."""
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), _LONG_AGO)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, _READABLE
                archive.writestr(entry, path.read_bytes())


def unpack(package: Path, folder: Path) -> None:
    """Take a package apart, as Azure does before it runs the app."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
