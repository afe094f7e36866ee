"""The structure of the product: imports point one way, and each upstream has one adapter."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What each module may import from the product. A package stands for its modules.
ALLOWED = {
    "function_app": {"http", "operations", "services", "sweep", "policies"},
    "http": {"http", "services", "settings", "schemas", "identity", "policies", "log", "errors"},
    "services": {
        "access_lifecycle",
        "azure",
        "operations",
        "lifecycle",
        "limits",
        "resource",
        "settings",
        "metrics",
        "traces",
        "ports",
        "policies",
        "log",
        "errors",
    },
    "operations": {
        "access_lifecycle",
        "operations",
        "lifecycle",
        "ports",
        "schemas",
        "identity",
        "limits",
        "ncrontab",
        "policies",
        "resource",
        "sweep",
        "log",
        "errors",
    },
    "sweep": {
        "access_lifecycle",
        "due_work",
        "lifecycle",
        "resource",
        "ports",
        "identity",
        "teams_access",
        "policies",
        "log",
        "errors",
    },
    "due_work": {"ports", "identity", "teams_access", "policies", "log", "errors"},
    "lifecycle": {"ports", "identity", "policies", "log", "errors"},
    "resource": {"ports", "identity", "policies", "log", "errors"},
    "azure": {
        "settings",
        "azure",
        "ports",
        "identity",
        "teams_access",
        "policies",
        "log",
        "scrubbing",
        "errors",
    },
    "settings": {"settings_table", "policies"},
    "settings_table": {"ncrontab", "schemas", "policies"},
    "schemas": {"identity", "teams_access", "policies", "errors"},
    "ports": {"identity", "teams_access", "policies"},
    "teams_access": {"identity"},
    "access_lifecycle": {
        "lifecycle",
        "ports",
        "identity",
        "teams_access",
        "log",
        "errors",
    },
    "policies": {"errors"},
    "identity": {"errors"},
    "limits": {"log", "errors"},
    "errors": set(),
    "log": {"scrubbing"},
    "scrubbing": set(),
    "metrics": set(),
    "traces": {"scrubbing"},
    "ncrontab": set(),
    "": set(),
}

# The only modules that may import these packages.
ADAPTERS = {
    "azure.communication": {"identity_service.azure.acs"},
    "azure.data.tables": {
        "identity_service.azure.registries",
        "identity_service.azure.table",
    },
    "azure.identity": {"identity_service.azure.credential"},
    "azure.functions": {
        "function_app",
        "identity_service.http.binding",
        "identity_service.http.responses",
        "identity_service.http.triggers",
    },
    "aiohttp": {"identity_service.azure.failures", "identity_service.azure.transport"},
    "opentelemetry": {"identity_service.metrics", "identity_service.traces"},
}


def module(path: Path) -> str:
    """The dotted name of a file."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


PRODUCT = {
    module(path): path
    for path in (
        ROOT / "function_app.py",
        *sorted((ROOT / "identity_service").rglob("*.py")),
    )
}
each_module = pytest.mark.parametrize("name", PRODUCT)


def part(name: str) -> str:
    """The key of a module in `ALLOWED`."""
    return name.removeprefix("identity_service").lstrip(".").partition(".")[0]


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module or '.'}.{alias.name}" for alias in node.names)
    return names


def own_imports(name: str) -> set[str]:
    """The modules of the product that a module imports."""
    imported = (each for each in imports(PRODUCT[name]) if each.startswith("identity_service"))
    return {each if each in PRODUCT else each.rpartition(".")[0] for each in imported} - {name}


def names(path: Path) -> Iterator[str]:
    """Every name and attribute that a file uses."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


@each_module
def test_imports_point_one_way(name: str) -> None:
    """A module imports only what it may."""
    imported = {part(each) for each in own_imports(name)}

    assert imported <= ALLOWED[part(name)]


def reached(arrows: dict[str, set[str]], name: str) -> set[str]:
    """What a module imports, directly or through other modules."""
    return arrows[name].union(*(reached(arrows, each) for each in arrows[name]))


def test_picture_shows_the_rules() -> None:
    """The arrows in docs/architecture.md are allowed imports, and lead to all allowed imports."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("```mermaid")[1]
    rules = {name: allowed - {name} for name, allowed in ALLOWED.items() if name}
    picture = {name: set[str]() for name in re.findall(r"^ +(\w+)\[", text, re.MULTILINE)}
    for name, targets in re.findall(r"^ +(\w+)\[.*?\] --> (.+)$", text, re.MULTILINE):
        picture[name] |= set(targets.split(" & "))

    assert picture.keys() == rules.keys()
    assert {name for name in rules if picture[name] - rules[name]} == set()
    assert {name: reached(picture, name) for name in rules} == {
        name: reached(rules, name) for name in rules
    }


def test_no_import_cycle() -> None:
    """No module imports itself through other modules."""
    order = TopologicalSorter({name: own_imports(name) for name in PRODUCT})

    assert "function_app" in order.static_order()


@each_module
@pytest.mark.parametrize("package", ADAPTERS)
def test_only_adapters_import_a_package(package: str, name: str) -> None:
    """Only the adapter of a package imports it."""
    uses = any(each.startswith(package) for each in imports(PRODUCT[name]))

    assert not uses or name in ADAPTERS[package]


def test_failures_know_libraries_only() -> None:
    """Why a call failed depends on the libraries' exceptions, on nothing of the product."""
    assert own_imports("identity_service.azure.failures") == set()


@each_module
def test_the_product_imports_nothing_that_is_not_deployed(name: str) -> None:
    """Folders that stay out of the package are never imported."""
    packages = {each.partition(".")[0] for each in imports(PRODUCT[name])}

    assert packages.isdisjoint({"local", "tests", "bench", "infra", "tools", "cli", "acsid"})


@pytest.mark.parametrize("path", sorted((ROOT / "local").rglob("*.py")), ids=module)
def test_local_azure_does_not_import_the_product(path: Path) -> None:
    """Everything under local/ reaches the app through settings and HTTP only."""
    imported = {each for each in imports(path) if each.startswith("identity_service")}

    assert imported == set()


@pytest.mark.parametrize("path", sorted((ROOT / "cli").rglob("*.py")), ids=module)
def test_the_command_line_is_a_package_of_its_own(path: Path) -> None:
    """It speaks HTTP to the app and imports nothing of this repository but itself."""
    others = {"identity_service", "function_app", "local", "tests", "bench", "tools"}
    packages = {each.partition(".")[0] for each in imports(path)}

    assert packages.isdisjoint(others)


@each_module
def test_imports_are_absolute(name: str) -> None:
    """An import names the whole path, so that a reader sees where it leads."""
    relative = {each for each in imports(PRODUCT[name]) if each.startswith(".")}

    assert relative == set()


@each_module
def test_only_the_entry_file_reads_the_environment(name: str) -> None:
    """function_app.py hands the environment to `Services`. No other module reads it."""
    used = {"environ", "environb", "getenv", "putenv"} & set(names(PRODUCT[name]))

    # `environ` is also the parameter through which the environment is handed over.
    assert name == "function_app" or "os" not in imports(PRODUCT[name]) or not used


@each_module
def test_only_the_domain_changes_a_row(name: str) -> None:
    """Changes of an identity, or of an access, are named transitions in its module."""
    replaces = "structs" in set(names(PRODUCT[name])) and "replace" in set(names(PRODUCT[name]))

    assert not replaces or part(name) in {"identity", "teams_access"}
