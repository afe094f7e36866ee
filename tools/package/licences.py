"""`python -m tools.package.licences`: generates docs/licences.md from the deployed versions."""

import re
import sys
import tempfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

from tools.markdown import table
from tools.package import ROOT
from tools.package.target import Target

PAGE = ROOT / "docs" / "licences.md"
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "requirements-telemetry.txt")
# One version for each branch of the markers in requirements.txt.
VERSIONS = ("3.11", "3.13")
# SPDX names for licences that packages describe in words.
SPDX = {
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

The licences of all packages in [the deployment package](package.md), and of those that
[OpenTelemetry](deploy.md#opentelemetry) adds to it, according to their metadata.
`make pins` generates this page. This project has the [MIT licence](../LICENSE). The licences below
only require that their notices are kept, and the deployment package contains the notices.

"""


def pinned(requirements: str) -> set[tuple[str, str]]:
    """Return the names and versions in a requirements file."""
    return set(re.findall(r"^([\w.-]+)==([^ ;\\]+)", requirements, re.MULTILINE))


def page(rows: dict[tuple[str, str], str]) -> str:
    """Return docs/licences.md: one row for each name and version, with its licence."""
    cells = [(name, version, rows[name, version]) for name, version in sorted(rows)]
    return f"{_INTRODUCTION}{table(('package', 'version', 'licence'), cells)}\n"


def licence(metadata: Message) -> str:
    """Return the licence in a package's metadata, as an SPDX name if it is known."""
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    prefix = "License :: OSI Approved :: "
    classified = [
        str(value).removeprefix(prefix)
        for value in metadata.get_all("Classifier", [])
        if str(value).startswith(prefix)
    ]
    named = [*classified, str(metadata.get("License", "")).strip()]
    return next((SPDX.get(words, words) for words in named if words), "unknown")


def _installed(version: str, folder: Path) -> dict[tuple[str, str], str]:
    target = Target(version, Path(sys.executable))
    files = (option for path in REQUIREMENTS for option in ("--requirement", str(path)))
    target.install(folder, "--python-version", version, *files)
    found = {}
    for file in folder.glob("*.dist-info/METADATA"):
        metadata = Parser().parsestr(file.read_text("utf-8"), headersonly=True)
        name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
        found[name, str(metadata["Version"])] = licence(metadata)
    return found


def main() -> None:
    """Write the page."""
    rows: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for version in VERSIONS:
            rows |= _installed(version, Path(scratch, version))
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main()
