"""`python -m tools.package`: builds the package, checks it, and reports its size and cold start."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tools.markdown import table
from tools.package import ROOT
from tools.package.build import pack, stage, unpack
from tools.package.checks import PROBE, Package, app_functions, checks, package_sizes
from tools.package.target import CannotBuild, Target, site_packages

# The library in which Azure runs apps on Python 3.13 and newer.
WORKER = "azure-functions-runtime==1.3.0"
_MIB = 2**20
# Rounds of cold starts.
_ROUNDS = 15
# Of the import time, compared with an app that imports the same Azure packages.
TARGET = 1.05
# With these the app creates its clients, which then wait for a first call.
_SETTINGS = {
    "COMMUNICATION_SERVICES_ENDPOINT": "https://contoso.communication.azure.com",
    "AzureWebJobsStorage__accountName": "contoso",
    "CLEANUP_SCHEDULE": "0 */5 * * * *",
}
_SMALLEST_APP = '''"""The smallest function app."""

import azure.functions as func

app = func.FunctionApp()


@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    """Return a greeting."""
    return func.HttpResponse("hello")


def connect():
    """Create no clients."""
'''
_BARE_APP = '''"""A bare function app with the Azure packages of ours."""

import azure.functions as func
from azure.communication.identity.aio import CommunicationIdentityClient
from azure.data.tables.aio import TableServiceClient
from azure.identity.aio import DefaultAzureCredential

app = func.FunctionApp()


@app.route(route="hello")
async def hello(req: func.HttpRequest) -> func.HttpResponse:
    """Return a greeting."""
    return func.HttpResponse("hello")


def connect():
    """Create the clients."""
    global acs, tables
    credential = DefaultAzureCredential()
    acs = CommunicationIdentityClient("https://contoso.communication.azure.com", credential)
    tables = TableServiceClient("https://contoso.table.core.windows.net", credential=credential)
'''


def main() -> int:
    """Run the command line; return 1 if a check fails."""
    options = _parser().parse_args()
    try:
        targets = [Target.find(options.python)] if options.python else Target.defaults()
        for target in targets:
            with tempfile.TemporaryDirectory() as scratch:
                if not _make(Path(scratch), target):
                    return 1
    except CannotBuild as reason:
        print(reason, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.package", description=__doc__)
    parser.add_argument(
        "--python",
        help="version or path of the Python to build for (default: 3.13 and 3.11, if installed)",
    )
    return parser


def _make(scratch: Path, target: Target) -> bool:
    """Build a package, and report on it if it passes every check."""
    zip_file = ROOT / "dist" / f"acs-identity-service-python{target.version}.zip"
    zip_file.parent.mkdir(exist_ok=True)
    (scratch / "stage").mkdir()
    stage(scratch / "stage", target)
    pack(scratch / "stage", zip_file)
    package = _unpacked(scratch, zip_file, target)
    print(f"{zip_file.relative_to(ROOT)}, for Python {target.version} on Linux\n")
    passed = _passes(package)
    if passed:
        print(f"\n{_report(package, scratch)}\n")
    return passed


def _unpacked(scratch: Path, zip_file: Path, target: Target) -> Package:
    unpack(zip_file, scratch / "app")
    worker = scratch / "worker" if target.has_worker else None
    if worker:
        target.install(worker, WORKER)
    size = zip_file.stat().st_size
    return Package(scratch / "app", size, target, app_functions(), worker)


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
    starts = _cold_starts(package, scratch)
    rows = [
        ("distributions", f"{len(list(site_packages(package.folder).glob('*.dist-info')))}"),
        ("files", f"{len(files)}"),
        ("size, MiB", f"{package.size / _MIB:.1f} zipped, {unpacked / _MIB:.1f} unpacked"),
        ("largest, MiB unpacked", ", ".join(largest)),
        ("cold start, ms", _milliseconds(starts, "index", "app")),
        ("of the smallest function app", _milliseconds(starts, "index", "smallest")),
        ("ratio", f"{ratio(starts, 'index', 'smallest'):.1f}"),
        ("without bytecode", _milliseconds(starts, "index", "compiling")),
        ("import, ms", _milliseconds(starts, "import", "app")),
        ("of a bare app, same packages", _milliseconds(starts, "import", "bare")),
        ("ratio", verdict(ratio(starts, "import", "bare"))),
        ("import and clients, ms", _milliseconds(starts, "clients", "app")),
        ("of a bare app, same packages", _milliseconds(starts, "clients", "bare")),
        ("ratio", f"{ratio(starts, 'clients', 'bare'):.2f}"),
    ]
    return table((f"Python {package.target.version}", ""), rows)


# For each app, its cold starts: each has the seconds that `probe.cold_start` measured.
_Starts = dict[str, list[dict[str, float]]]


def _milliseconds(starts: _Starts, what: str, app: str) -> str:
    return f"{median(start[what] for start in starts[app]) * 1000:.0f}"


def ratio(starts: _Starts, what: str, other: str) -> float:
    """The median of the rounds' ratios: both sides of each have seen the same noise."""
    pairs = zip(starts["app"], starts[other], strict=True)
    return median(ours[what] / theirs[what] for ours, theirs in pairs)


def verdict(value: float) -> str:
    """The ratio of import times, and whether it meets its target."""
    met = "met" if round(value, 2) <= TARGET else "missed"
    return f"{value:.2f}, target at most {TARGET}: {met}"


def _cold_starts(package: Package, scratch: Path) -> _Starts:
    """Measure cold starts of four apps.

    The apps alternate, so that a busy moment affects all of them. They are the package, the
    smallest app, a bare app with the same Azure packages, and the package without bytecode, which a
    new instance would compile at every start. The first round only fills the machine's caches.
    """
    apps = {
        "smallest": _write_app(scratch / "smallest", _SMALLEST_APP, package),
        "bare": _write_app(scratch / "bare", _BARE_APP, package),
        "app": package.folder,
        "compiling": scratch / "compiling",
    }
    no_bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package.folder, apps["compiling"], ignore=no_bytecode)
    starts: _Starts = {name: [] for name in apps}
    for _ in range(1 + _ROUNDS):
        for name, folder in apps.items():
            call = ("cold_start", str(folder), str(time.monotonic()))
            starts[name].append(json.loads(package.target.run(PROBE, *call, environ=_SETTINGS)))
    return {name: each[1:] for name, each in starts.items()}


def _write_app(folder: Path, source: str, package: Package) -> Path:
    """Write an app with the packages of ours, and their bytecode."""
    folder.mkdir()
    (folder / "function_app.py").write_text(source)
    package.target.compile(folder)
    site_packages(folder).parent.mkdir(parents=True)
    site_packages(folder).symlink_to(site_packages(package.folder))
    return folder


if __name__ == "__main__":
    sys.exit(main())
