"""What must be true of a package, checked on its unpacked files as Azure would get them.

The docstring of a check is the advice that is printed when it fails.
"""

import json
import re
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.package import DEPENDENCIES, ROOT
from tools.package.target import Target, site_packages

PROBE = Path(__file__).parent / "probe.py"
# Bytes of the zip file. Azure accepts far more; a jump means that something was added by mistake.
LIMIT = 40 * 2**20

BELONGS = {
    "function_app.py",
    "host.json",
    "identity_service",
    "openapi.json",
    "requirements.txt",
    "requirements-telemetry.txt",  # an operator may add it to requirements.txt
}
_SECRET = re.compile(
    rb"eyJ[\w-]{20}|(AccountKey|accesskey|Signature|sig)=[\w+/%]{20}|-----BEGIN \w*\s?PRIVATE KEY"
)
_KEY_FILES = {".pem", ".key", ".pfx"}
_ELF, _X86_64 = b"\x7fELF", (62).to_bytes(2, "little")


@dataclass(frozen=True)
class Package:
    """An unpacked package and its target.

    Attributes:
        size: Bytes of the zip file.
        functions: The names of the functions that the app must have.
        worker: The folder of Microsoft's worker library; None if it does not support this Python.
    """

    folder: Path
    size: int
    target: Target
    functions: set[str]
    worker: Path | None = None

    @property
    def app_files(self) -> Iterator[Path]:
        """The files that are not dependencies, relative to the folder."""
        for path in sorted(self.folder.rglob("*")):
            relative = path.relative_to(self.folder)
            if path.is_file() and relative.parts[0] != DEPENDENCIES.parts[0]:
                yield relative


Check = Callable[[Package], Iterator[str]]


def only_what_belongs(package: Package) -> Iterator[str]:
    """Add it to .funcignore, or to BELONGS in tools/package/checks.py."""
    allowed = {*BELONGS, "__pycache__", DEPENDENCIES.parts[0]}
    for path in package.folder.iterdir():
        if path.name not in allowed:
            yield path.name
    for name in BELONGS - {path.name for path in package.folder.iterdir()}:
        yield f"{name} is missing"


def no_secret(package: Package) -> Iterator[str]:
    """Remove the secret and renew it: the file that contains it is published."""
    for path in package.app_files:
        is_secret = path.name.startswith((".env", "local.settings")) or path.suffix in _KEY_FILES
        if is_secret or _SECRET.search((package.folder / path).read_bytes()):
            yield str(path)


def no_test(package: Package) -> Iterator[str]:
    """Add the folder's name to those that tools/package/build.py leaves out."""
    for path in package.folder.rglob("*"):
        if path.is_dir() and path.name in {"tests", "test"}:
            yield str(path.relative_to(package.folder))
    yield from (str(path) for path in package.app_files if path.name.startswith("test_"))


def size(package: Package) -> Iterator[str]:
    """Find in the report what has grown; if that is intended, raise LIMIT in checks.py."""
    if package.size > LIMIT:
        yield f"{package.size} bytes"


def bytecode(package: Package) -> Iterator[str]:
    """Build with the same Python that the package is for."""
    yield from _probe(package, "stale_bytecode")


def linux(package: Package) -> Iterator[str]:
    """Install wheels for Azure's platform."""
    tag = package.target.evaluate("import sys; print(sys.implementation.cache_tag)").strip()
    for path in package.folder.rglob("*.so"):
        header = path.read_bytes()[:20]
        fits = tag in path.name or ".abi3." in path.name or ".cpython" not in path.name
        if header[:4] != _ELF or header[18:20] != _X86_64 or not fits:
            yield str(path.relative_to(package.folder))


def indexes_alone(package: Package) -> Iterator[str]:
    """Look at the error of the import; every imported package must be in requirements.txt."""
    found = _probe(package, "index")
    if set(found["functions"]) != package.functions:
        yield f"functions: {found['functions']}"
    folders = (str(package.folder), str(package.target.interpreter.resolve().parents[1]))
    for name, file in found["modules"].items():
        if file and not file.startswith((*folders, str(PROBE), "<")):
            yield f"{name} comes from {file}"
        if name.startswith(("opentelemetry", "azure.monitor")):
            yield f"{name} is imported although telemetry is off"


def indexes_in_the_worker(package: Package) -> Iterator[str]:
    """Look at the worker library's error: it finds either all functions or none."""
    found = _probe(package, "index_in_worker", libraries=package.worker)
    if found["status"] != "Success" or set(found["functions"]) != package.functions:
        yield f"{found['status']} {found['error']} {found['functions']}"


ALWAYS: list[Check] = [
    only_what_belongs,
    no_secret,
    no_test,
    size,
    bytecode,
    linux,
    indexes_alone,
]


def checks(package: Package) -> list[Check]:
    """Return the checks that apply to this package."""
    return [*ALWAYS, indexes_in_the_worker] if package.worker else ALWAYS


def app_functions() -> set[str]:
    """Return the names of the functions that the app in this repository registers."""
    app = runpy.run_path(str(ROOT / "function_app.py"))["app"]
    return {function.get_function_name() for function in app.get_functions()}


def package_sizes(package: Package) -> dict[str, int]:
    """Return the unpacked bytes of each top-level dependency, largest first."""
    sizes = {
        path.name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        for path in site_packages(package.folder).iterdir()
        if path.is_dir()
    }
    return dict(sorted(sizes.items(), key=lambda pair: -pair[1]))


def _probe(package: Package, name: str, libraries: Path | None = None) -> Any:
    """Run a probe in the package's Python and return what it found."""
    return json.loads(package.target.run(PROBE, name, str(package.folder), libraries=libraries))
