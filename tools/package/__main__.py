"""`python -m tools.package`: builds the package, checks it, and reports its size and cold start."""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tools.markdown import table
from tools.package import ROOT
from tools.package.build import pack, stage, unpack
from tools.package.checks import PROBE, Package, checks, functions_of, package_sizes
from tools.package.target import CannotBuild, Target, site_packages

# The library in which Azure runs apps on Python 3.13 and newer.
WORKER = "azure-functions-runtime==1.3.0"
_MIB = 2**20
_COLD_STARTS = 11
_BARE_APP = '''"""The smallest function app."""

import azure.functions as func

app = func.FunctionApp()


@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    """Return a greeting."""
    return func.HttpResponse("hello")
'''


def main() -> int:
    """Run the command line; return 1 if a check fails."""
    options = _parser().parse_args()
    try:
        target = Target.find(options.python or None)
        with tempfile.TemporaryDirectory() as scratch:
            return _make(Path(scratch), target)
    except CannotBuild as reason:
        print(reason, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.package", description=__doc__)
    parser.add_argument(
        "--python",
        help="version or path of the Python to build for (default: the newest installed)",
    )
    return parser


def _make(scratch: Path, target: Target) -> int:
    zip_file = ROOT / "dist" / f"acs-identity-service-python{target.version}.zip"
    zip_file.parent.mkdir(exist_ok=True)
    (scratch / "stage").mkdir()
    stage(scratch / "stage", target)
    pack(scratch / "stage", zip_file)
    package = _unpacked(scratch, zip_file, target)
    print(f"{zip_file.relative_to(ROOT)}, for Python {target.version} on Linux\n")
    if not _passes(package):
        return 1
    print(f"\n{_report(package, scratch)}")
    return 0


def _unpacked(scratch: Path, zip_file: Path, target: Target) -> Package:
    unpack(zip_file, scratch / "app")
    worker = scratch / "worker" if target.has_worker else None
    if worker:
        target.install(worker, WORKER)
    functions = functions_of((ROOT / "function_app.py").read_text())
    return Package(scratch / "app", zip_file.stat().st_size, target, functions, worker)


def _passes(package: Package) -> bool:
    """Run every check and print its result."""
    passed = True
    for check in checks(package):
        problems = list(check(package))
        print(f"{'FAILED' if problems else 'ok':7}{check.__name__.replace('_', ' ')}")
        if problems:
            passed = False
            print(*(f"       {line}" for line in [*problems[:10], check.__doc__]), sep="\n")
    if not package.worker:
        print(f"       not checked: the worker library does not run {package.target.version}")
    return passed


def _report(package: Package, scratch: Path) -> str:
    files = [path for path in package.folder.rglob("*") if path.is_file()]
    unpacked = sum(path.stat().st_size for path in files)
    largest = [f"{name} {size / _MIB:.1f}" for name, size in package_sizes(package).items()][:6]
    times = _cold_starts(package, scratch)
    rows = [
        ("files", f"{len(files)}"),
        ("size, MiB", f"{package.size / _MIB:.1f} zipped, {unpacked / _MIB:.1f} unpacked"),
        ("largest, MiB unpacked", ", ".join(largest)),
        ("cold start, ms", f"{times['app'] * 1000:.0f}"),
        ("of a bare function app", f"{times['bare'] * 1000:.0f}"),
        ("ratio", f"{times['app'] / times['bare']:.1f}"),
        ("without bytecode", f"{times['compiling'] * 1000:.0f}"),
    ]
    return table(("package", ""), rows)


def _cold_starts(package: Package, scratch: Path) -> dict[str, float]:
    """Return the median seconds from the start of a process until the app is indexed.

    The apps alternate, so that a busy moment affects all of them. They are the package, a bare
    app, and the package without bytecode, which a new instance would compile at every start.
    """
    apps = {
        "bare": scratch / "bare",
        "app": package.folder,
        "compiling": scratch / "compiling",
    }
    _write_bare_app(apps["bare"], package.target)
    no_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package.folder, apps["compiling"], ignore=no_bytecode)
    seconds: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(_COLD_STARTS):
        for name, folder in apps.items():
            started = time.perf_counter()
            package.target.run(PROBE, "index", str(folder))
            seconds[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in seconds.items()}


def _write_bare_app(folder: Path, target: Target) -> None:
    """Write an app with one function that needs azure-functions only, in the version we pin."""
    folder.mkdir()
    (folder / "function_app.py").write_text(_BARE_APP)
    constraints = ("--constraints", str(ROOT / "requirements.txt"))
    target.install(site_packages(folder), "azure-functions", *constraints)
    target.compile(folder)


if __name__ == "__main__":
    sys.exit(main())
