"""Imports point one way, and each neighbour of ours has one door."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
OPERATIONS = "identity_service.operations"

# What each module may import of ours. An operation, and whatever stands beside it, counts as
# `operations`; a module that is not here is asked for its place.
ALLOWED = {
    "function_app": {"operations", "invocation", "web", "services"},
    "web": {"contract", "decoding", "principal", "events", "invocation", "model", "errors"},
    "openapi": {
        "openapi.parts",
        "openapi.refusals",
        "openapi.schemas",
        "operations",
        "contract",
        "model",
    },
    "openapi.refusals": {"openapi.parts", "openapi.schemas", "contract", "errors"},
    "openapi.parts": {"openapi.schemas", "model"},
    "openapi.schemas": set(),
    "contract": set(),
    "decoding": {"model", "errors"},
    "services": {
        "settings",
        "credential",
        "clock",
        "acs",
        "registry",
        "readiness",
        "events",
        "metrics",
        "contract",
        "model",
        "errors",
    },
    "operations": {
        "operations",
        "readiness",
        "principal",
        "events",
        "invocation",
        "ports",
        "rows",
        "model",
        "errors",
    },
    "readiness": {"ports", "model", "errors"},
    "principal": {"errors"},
    "settings": {"ncrontab", "contract", "proxy", "model", "errors"},
    "settings_reference": {"settings", "contract"},
    "proxy": set(),
    "ncrontab": set(),
    "clock": set(),
    "credential": {"events"},
    "acs": {"acs_errors", "credential", "events", "invocation", "ports", "model", "errors"},
    "acs_errors": {"events", "errors"},
    "registry": {"entities", "events", "ports", "rows", "model", "errors"},
    "events": {"invocation"},
    "invocation": set(),
    "metrics": set(),
    "entities": {"rows"},
    "ports": {"rows", "model", "errors"},
    "rows": {"model", "errors"},
    "model": {"errors"},
    "errors": set(),
    "": set(),
}

# The only modules that import these.
DOORS = {
    "azure.communication": {"acs"},
    "azure.data.tables": {"registry"},
    "azure.identity": {"services", "credential"},
    "azure.functions": {"function_app", "web"},
    "opentelemetry": {"metrics"},
}


def product() -> Iterator[Path]:
    """Every file that is deployed."""
    yield HOUSE / "function_app.py"
    yield from sorted((HOUSE / "identity_service").rglob("*.py"))


def module(path: Path) -> str:
    """The dotted name of a file."""
    name = ".".join(path.relative_to(HOUSE).with_suffix("").parts)
    return name.removesuffix(".__init__")


def place(name: str) -> str:
    """Where in the house a module stands, as `ALLOWED` calls it."""
    if name.startswith(OPERATIONS):
        return "operations"
    return name.removeprefix("identity_service").lstrip(".")


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports, wherever in it that happens."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module or '.'}.{alias.name}" for alias in node.names)
    return names


def ours(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    known = {module(other) for other in product()}
    found = (longest(name, known) for name in imports(path) if name.startswith("identity_service"))
    return set(found)


def longest(name: str, known: set[str]) -> str:
    """The module that an imported name is, or is in."""
    while name not in known:
        name = name.rpartition(".")[0]
    return name


each_file = pytest.mark.parametrize("path", list(product()), ids=module)


@each_file
def test_flow(path: Path) -> None:
    """A module imports only what lies below it."""
    imported = {place(name) for name in ours(path)}

    assert imported <= ALLOWED[place(module(path))]


def test_no_circle() -> None:
    """No module imports itself, by whatever way."""
    graph = {module(path): ours(path) - {OPERATIONS, module(path)} for path in product()}

    order = list(TopologicalSorter(graph).static_order())

    assert "function_app" in order


@each_file
@pytest.mark.parametrize("neighbour", DOORS)
def test_door(neighbour: str, path: Path) -> None:
    """Each neighbour of ours is spoken to through its own door."""
    entered = any(name.startswith(neighbour) for name in imports(path))

    assert not entered or place(module(path)) in DOORS[neighbour]


@each_file
def test_nothing_that_stays_home(path: Path) -> None:
    """Nothing that is deployed imports what is not."""
    packages = {name.partition(".")[0] for name in imports(path)}

    assert packages.isdisjoint({"local", "tests", "tools", "bench", "infra"})


@each_file
def test_no_relative_import(path: Path) -> None:
    """Imports name the whole way, so that a reader sees where they lead."""
    relative = {name for name in imports(path) if name.startswith(".")}

    assert relative == set()


@each_file
def test_environment(path: Path) -> None:
    """The entry file hands the environment over; only the settings read it."""
    words = {
        getattr(node, "attr", None) or getattr(node, "id", None)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    }
    reads = words & {"getenv", "environb", "putenv"} or "os.environ" in path.read_text("utf-8")

    assert not reads or path.name in {"function_app.py", "settings.py"}
