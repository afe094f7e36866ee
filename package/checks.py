"""What has to be true of a package, looked at as Azure would get it: unpacked."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from package import DEPENDENCIES
from package.target import Target, site_packages

INDEX_APP = Path(__file__).parent / "index_app.py"
STALE_BYTECODE = Path(__file__).parent / "stale_bytecode.py"
INDEX_IN_WORKER = Path(__file__).parent / "index_in_worker.py"
# Bytes of the zip file. Azure takes far more; a jump means that something came in by mistake.
LIMIT = 40 * 2**20

BELONGS = {"function_app.py", "host.json", "identity_service", "openapi.json", "requirements.txt"}
_SECRET = re.compile(
    rb"eyJ[\w-]{20}|(AccountKey|accesskey|Signature|sig)=[\w+/%]{20}|-----BEGIN \w*\s?PRIVATE KEY"
)
_KEY_FILES = {".pem", ".key", ".pfx"}
_ELF, _X86_64 = b"\x7fELF", (62).to_bytes(2, "little")


@dataclass(frozen=True)
class Package:
    """An unpacked package, and what it is for.

    Attributes:
        size: Bytes of the zip file.
        functions: The names of the app's functions, as its source tells them.
        worker: Where Microsoft's worker library is; None where there is none for this Python.
    """

    folder: Path
    size: int
    target: Target
    functions: set[str]
    worker: Path | None = None

    @property
    def ours(self) -> Iterator[Path]:
        """The files that are not dependencies."""
        for path in sorted(self.folder.rglob("*")):
            relative = path.relative_to(self.folder)
            if path.is_file() and relative.parts[0] != DEPENDENCIES.parts[0]:
                yield relative


Check = Callable[[Package], Iterator[str]]


def only_what_belongs(package: Package) -> Iterator[str]:
    """Add it to .funcignore, or to BELONGS in package/checks.py."""
    allowed = {*BELONGS, "__pycache__", DEPENDENCIES.parts[0]}
    for path in package.folder.iterdir():
        if path.name not in allowed:
            yield path.name
    for name in BELONGS - {path.name for path in package.folder.iterdir()}:
        yield f"{name} is missing"


def no_secret(package: Package) -> Iterator[str]:
    """Take it out, and renew it: it was in a file that is published."""
    for path in package.ours:
        is_secret = path.name.startswith((".env", "local.settings")) or path.suffix in _KEY_FILES
        if is_secret or _SECRET.search((package.folder / path).read_bytes()):
            yield str(path)


def no_test(package: Package) -> Iterator[str]:
    """Add its folder's name to what package/building.py leaves out."""
    for path in package.folder.rglob("*"):
        if path.is_dir() and path.name in {"tests", "test"}:
            yield str(path.relative_to(package.folder))
    yield from (str(path) for path in package.ours if path.name.startswith("test_"))


def size(package: Package) -> Iterator[str]:
    """See by the report what has grown; raise LIMIT in package/checks.py if it is wanted."""
    if package.size > LIMIT:
        yield f"{package.size} bytes"


def bytecode(package: Package) -> Iterator[str]:
    """Build with the very Python that the package is for."""
    yield from json.loads(package.target.run(STALE_BYTECODE, str(package.folder)))


def linux(package: Package) -> Iterator[str]:
    """Ask for wheels of Azure's platform."""
    tag = package.target.tell("import sys; print(sys.implementation.cache_tag)").strip()
    for path in package.folder.rglob("*.so"):
        header = path.read_bytes()[:20]
        fits = tag in path.name or ".abi3." in path.name or ".cpython" not in path.name
        if header[:4] != _ELF or header[18:20] != _X86_64 or not fits:
            yield str(path.relative_to(package.folder))


def indexes_alone(package: Package) -> Iterator[str]:
    """See what it says when it is imported; every import must be in requirements.txt."""
    found = json.loads(package.target.run(INDEX_APP, str(package.folder)))
    if set(found["functions"]) != package.functions:
        yield f"functions: {found['functions']}"
    folders = (str(package.folder), str(package.target.interpreter.resolve().parents[1]))
    for name, file in found["modules"].items():
        if file and not file.startswith((*folders, str(INDEX_APP), "<")):
            yield f"{name} comes from {file}"
        if name.startswith(("opentelemetry", "azure.monitor")):
            yield f"{name} is imported before anybody asks for it"


def indexes_in_the_worker(package: Package) -> Iterator[str]:
    """See what the worker library says: it serves all functions or none."""
    folder, worker = str(package.folder), package.worker
    found = json.loads(package.target.run(INDEX_IN_WORKER, folder, libraries=worker))
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
    """Those that can be made of this package."""
    return [*ALWAYS, indexes_in_the_worker] if package.worker else ALWAYS


def functions_of(entry: str) -> set[str]:
    """The names of the functions in an entry file: each follows its decorator."""
    return set(re.findall(r"^@app\..+\n(?:async )?def (\w+)", entry, re.MULTILINE))


def packages(package: Package) -> dict[str, int]:
    """The bytes that each top-level name among the dependencies takes, unpacked; largest first."""
    sizes = {
        path.name: sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        for path in site_packages(package.folder).iterdir()
        if path.is_dir()
    }
    return dict(sorted(sizes.items(), key=lambda pair: -pair[1]))
