"""How long a fresh worker takes to index the app, beside an app that does nothing."""

import shutil
import time
from pathlib import Path
from statistics import median

from package.checks import INDEX_APP
from package.target import Target, site_packages

ROUNDS = 11
BARE = '''"""The least that is a function app."""

import azure.functions as func

app = func.FunctionApp()


@app.route(route="hello")
def hello(req: func.HttpRequest) -> func.HttpResponse:
    """Say hello."""
    return func.HttpResponse("hello")
'''


def bare_app(folder: Path, target: Target, requirements: Path) -> None:
    """Make an app of one function, with azure-functions alone, as it is pinned for ours."""
    folder.mkdir()
    (folder / "function_app.py").write_text(BARE)
    target.install(site_packages(folder), "azure-functions", "--constraints", str(requirements))
    target.compile(folder)


def without_bytecode(app: Path, folder: Path) -> None:
    """Make a copy that has to be compiled at every start, as a fresh instance would."""
    shutil.copytree(app, folder, ignore=shutil.ignore_patterns("__pycache__"))


def seconds(apps: dict[str, Path], target: Target, rounds: int = ROUNDS) -> dict[str, float]:
    """From the start of a process to the functions indexed: the median of each app, by turns."""
    taken: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(rounds):
        for name, folder in apps.items():
            started = time.perf_counter()
            target.run(INDEX_APP, str(folder))
            taken[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in taken.items()}
