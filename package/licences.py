"""`python -m package.licences`: writes docs/licences.md from what requirements.txt names."""

import re
import sys
import tempfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

from bench.markdown import table
from package import ROOT
from package.target import Target

PAGE = ROOT / "docs" / "licences.md"
REQUIREMENTS = ROOT / "requirements.txt"
# Both branches of the markers in requirements.txt.
VERSIONS = ("3.11", "3.13")
# Licences as SPDX has them, for packages that tell theirs in words.
WORDS = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_INTRODUCTION = """\
# Licences

Of everything in [the package](package.md), as each says itself. `make pins` makes this page. This
project is under the [MIT licence](../LICENSE); none of these asks more of who uses it than to keep
their notices, which are in the package.

"""


def pinned(requirements: str) -> set[tuple[str, str]]:
    """The names and versions in a requirements file."""
    return set(re.findall(r"^([\w.-]+)==([^ ;\\]+)", requirements, re.MULTILINE))


def page(rows: dict[tuple[str, str], str]) -> str:
    """docs/licences.md: one row for each name and version, with its licence."""
    cells = [(name, version, rows[name, version]) for name, version in sorted(rows)]
    return f"{_INTRODUCTION}{table(('package', 'version', 'licence'), cells)}\n"


def licence(metadata: Message) -> str:
    """What a package says of its licence, in SPDX where that can be told."""
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    prefix = "License :: OSI Approved :: "
    classified = [
        str(value).removeprefix(prefix)
        for value in metadata.get_all("Classifier", [])
        if str(value).startswith(prefix)
    ]
    said = [*classified, str(metadata.get("License", "")).strip()]
    return next((WORDS.get(words, words) for words in said if words), "unknown")


def _installed(version: str, folder: Path) -> dict[tuple[str, str], str]:
    here = Target(version, Path(sys.executable))
    here.install(folder, "--python-version", version, "--requirement", str(REQUIREMENTS))
    found = {}
    for file in folder.glob("*.dist-info/METADATA"):
        metadata = Parser().parsestr(file.read_text("utf-8"), headersonly=True)
        name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
        found[name, str(metadata["Version"])] = licence(metadata)
    return found


def main() -> None:
    """Write the page anew."""
    rows: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for version in VERSIONS:
            rows |= _installed(version, Path(scratch, version))
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
