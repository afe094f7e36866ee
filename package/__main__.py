"""`python -m package`: build the package, check it, and report what it costs to start."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from bench.markdown import table
from package import ROOT
from package.building import pack, stage, unpack
from package.checks import Package, checks, functions_of, packages
from package.cold_start import bare_app, seconds, without_bytecode
from package.target import CannotBuild, Target

# The library in which Azure runs apps on 3.13 and newer.
WORKER = "azure-functions-runtime==1.3.0"
_MIB = 2**20


def main() -> int:
    """Run the command line; 1 when a check fails."""
    options = _parser().parse_args()
    try:
        target = Target.find(options.python or None)
        with tempfile.TemporaryDirectory() as scratch:
            return _make(Path(scratch), target)
    except CannotBuild as reason:
        print(reason, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m package", description=__doc__)
    parser.add_argument(
        "--python", help="for this Python: a version or a path (default: the newest that is here)"
    )
    return parser


def _make(scratch: Path, target: Target) -> int:
    zip_file = ROOT / "dist" / f"acs-identity-service-python{target.version}.zip"
    zip_file.parent.mkdir(exist_ok=True)
    stage(_new(scratch / "stage"), target)
    pack(scratch / "stage", zip_file)
    package = _opened(scratch, zip_file, target)
    print(f"{zip_file.relative_to(ROOT)}, for Python {target.version} on Linux\n")
    if not _checked(package):
        return 1
    print(f"\n{_report(package, scratch)}")
    return 0


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _opened(scratch: Path, zip_file: Path, target: Target) -> Package:
    unpack(zip_file, scratch / "app")
    worker = scratch / "worker" if target.has_worker else None
    if worker:
        target.install(worker, WORKER)
    functions = functions_of((ROOT / "function_app.py").read_text())
    return Package(scratch / "app", zip_file.stat().st_size, target, functions, worker)


def _checked(package: Package) -> bool:
    """Make every check, and say of each how it went."""
    passed = True
    for check in checks(package):
        faults = list(check(package))
        print(f"{'FAILED' if faults else 'ok':7}{check.__name__.replace('_', ' ')}")
        if faults:
            passed = False
            print(*(f"       {line}" for line in [*faults[:10], check.__doc__]), sep="\n")
    if not package.worker:
        print(f"       not checked: the worker library is not for {package.target.version}")
    return passed


def _report(package: Package, scratch: Path) -> str:
    files = [path for path in package.folder.rglob("*") if path.is_file()]
    unpacked = sum(path.stat().st_size for path in files)
    largest = [f"{name} {size / _MIB:.1f}" for name, size in packages(package).items()][:6]
    bare, slow = scratch / "bare", scratch / "slow"
    bare_app(bare, package.target, ROOT / "requirements.txt")
    without_bytecode(package.folder, slow)
    times = seconds({"bare": bare, "ours": package.folder, "slow": slow}, package.target)
    shutil.rmtree(slow)
    rows = [
        ("files", f"{len(files)}"),
        ("size, MiB", f"{package.size / _MIB:.1f} zipped, {unpacked / _MIB:.1f} unpacked"),
        ("largest, MiB unpacked", ", ".join(largest)),
        ("cold start, ms", f"{times['ours'] * 1000:.0f}"),
        ("of a bare function app", f"{times['bare'] * 1000:.0f}"),
        ("ratio", f"{times['ours'] / times['bare']:.1f}"),
        ("without bytecode", f"{times['slow'] * 1000:.0f}"),
    ]
    return table(("package", ""), rows)


if __name__ == "__main__":
    sys.exit(main())
