"""From the project to a zip file. The same files always give the same bytes."""

import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

from tools.package import DEPENDENCIES, ROOT
from tools.package.target import Target

# azd reads this file as git reads a .gitignore. Core Tools match each line against the beginning of
# a path from the root. A test checks that both publish the same files.
# Source: Azure/azure-functions-core-tools, GitIgnoreParser.cs
FUNCIGNORE = ".funcignore"
# The earliest date that a zip file can store.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o100644 << 16
# Command-line programs and the packages' own tests are not needed at run time.
_UNNEEDED = ("bin", "tests", "test")


def published(root: Path) -> list[Path]:
    """Return the files below `root` that .funcignore does not exclude: relative, sorted."""
    lines = (root / FUNCIGNORE).read_text().splitlines()
    return sorted(_walk(root, GitIgnoreSpec.from_lines(lines)))


def _walk(root: Path, ignore: GitIgnoreSpec) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        # An ignored folder is ignored with all its content.
        folders[:] = [name for name in folders if not ignore.match_file(f"{here / name}/")]
        yield from (here / name for name in files if not ignore.match_file(str(here / name)))


def stage(folder: Path, target: Target) -> None:
    """Fill an empty folder with the app, its dependencies and bytecode."""
    for path in published(ROOT):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    packages = folder / DEPENDENCIES
    target.install(packages, "--requirement", str(ROOT / "requirements.txt"))
    for name in _UNNEEDED:
        for unneeded in [path for path in packages.rglob(name) if path.is_dir()]:
            shutil.rmtree(unneeded)
    (packages / ".lock").unlink(missing_ok=True)
    target.compile(folder)


def pack(folder: Path, package: Path) -> None:
    """Write a zip file of the folder."""
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), _ZIP_EPOCH)
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, _READABLE
                archive.writestr(entry, path.read_bytes())


def unpack(package: Path, folder: Path) -> None:
    """Extract a package, as Azure does before it runs the app."""
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
