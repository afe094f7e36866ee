"""Which of the project's files are published: all but what .funcignore names."""

import os
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec

# azd reads it as git reads a .gitignore. Core Tools take each line for the beginning of a path from
# the root on: a test holds that both publish the same.
# Source: Azure/azure-functions-core-tools, GitIgnoreParser.cs
FUNCIGNORE = ".funcignore"


def ignored(root: Path) -> GitIgnoreSpec:
    """What .funcignore names."""
    return GitIgnoreSpec.from_lines((root / FUNCIGNORE).read_text().splitlines())


def published(root: Path) -> list[Path]:
    """The files below `root` that are published, relative to it, in order."""
    return sorted(_walk(root, ignored(root)))


def _walk(root: Path, ignore: GitIgnoreSpec) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        # A folder that is ignored is ignored with all that is in it.
        folders[:] = [name for name in folders if not ignore.match_file(f"{here / name}/")]
        yield from (here / name for name in files if not ignore.match_file(str(here / name)))
