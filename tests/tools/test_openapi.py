"""The OpenAPI document: it is the app's own and valid, and it promises what is raised."""

import ast
import difflib
import inspect
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any

import pytest
from openapi_spec_validator import validate

from identity_service import errors, operations
from identity_service.errors import ServiceError
from identity_service.openapi.refusals import problems
from identity_service.openapi.schemas import section
from identity_service.web import DOCUMENT
from local.openapi import current, routes

CONTRACT = Path(__file__).parent / "contract"
REDOCLY = CONTRACT / "node_modules" / "@redocly" / "cli" / "bin" / "cli.js"

ROUTES = {route.name: route for route in routes()}
OPERATIONS = {name: getattr(operations, name) for name in ROUTES if hasattr(operations, name)}

# What operations let through that somebody else raises.
FROM_ACS = {errors.IdentityNotFound, errors.TeamsTokenRefused}


@pytest.fixture(scope="module")
def committed() -> Any:
    """The document that is committed."""
    return json.loads(DOCUMENT.read_text())


def test_golden() -> None:
    """The committed document is that of the app as it is. `make openapi` makes it anew."""
    before, after = DOCUMENT.read_text().splitlines(), current().splitlines()

    changes = list(difflib.unified_diff(before, after, "openapi.json", "the app", lineterm=""))

    assert not changes, "\n".join(["The API has changed:", *changes])


def test_valid(committed: Any) -> None:
    """The document is valid OpenAPI 3.1."""
    version = committed["openapi"]

    validate(committed)
    assert version == "3.1.0"


def test_lint() -> None:
    """The linter has nothing to say, not even a warning."""
    node = shutil.which("node")
    assert node

    linted = subprocess.run(  # noqa: S603 -- our own linter, pinned
        [node, REDOCLY, "lint", DOCUMENT, "--config", CONTRACT / "redocly.yaml", "--format=json"],
        capture_output=True,
        check=False,
        cwd=CONTRACT,
        env={"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        text=True,
    )

    assert json.loads(linted.stdout)["problems"] == [], linted.stdout


def test_every_function(committed: Any) -> None:
    """The document has every HTTP function, at its route and with its method, and no other."""
    documented = {
        (operation["operationId"], method.upper(), path)
        for path, methods in committed["paths"].items()
        for method, operation in methods.items()
    }

    assert documented == {(each.name, each.method, f"/{each.path}") for each in ROUTES.values()}


def test_every_problem(committed: Any) -> None:
    """The document has every problem that there is, each under its own code."""
    schemas = committed["components"]["schemas"].values()
    codes = {schema["properties"]["code"]["const"] for schema in schemas if "allOf" in schema}

    assert codes == {kind.code for kind in named_errors()}


@pytest.mark.parametrize("name", OPERATIONS)
def test_raises_is_true(name: str) -> None:
    """An operation's docstring names exactly what it and its steps raise, by reading the code."""
    operation = OPERATIONS[name]
    told = {getattr(errors, each) for each in section(operation.__doc__ or "", "Raises")}
    by_parameter = set(problems(operation)) - told
    # A caller cannot tell a special case from what it is a case of.
    raised = {as_told(kind) for kind in raises(operation)}

    assert (raised - told - by_parameter, told - raised - FROM_ACS) == (set(), set())


def as_told(kind: type[ServiceError]) -> type[ServiceError]:
    """The error as callers know it: some are variants of another, for ourselves alone."""
    alike = [base for base in kind.__mro__ if "code" in vars(base)]
    return alike[0]


def named_errors() -> set[type[ServiceError]]:
    """Every error that the tree has a name for."""
    return {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, ServiceError) and value is not ServiceError
    }


def raises(function: Callable[..., Any]) -> Iterator[type[ServiceError]]:
    """What a function raises, or anything of the operations that it refers to."""
    seen: set[object] = set()
    waiting: list[Any] = [function]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        module = inspect.getmodule(one)
        assert module
        tree = ast.parse(dedent(inspect.getsource(one)))
        yield from constructed(tree, module)
        waiting.extend(referred_to(tree, module))


def constructed(tree: ast.AST, module: ModuleType) -> Iterator[type[ServiceError]]:
    """The errors that are made somewhere in the code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.value if isinstance(node.func, ast.Attribute) else node.func
            kind = getattr(module, called.id, None) if isinstance(called, ast.Name) else None
            if isinstance(kind, type) and issubclass(kind, ServiceError):
                yield kind


def referred_to(tree: ast.AST, module: ModuleType) -> Iterator[Any]:
    """The functions and classes of the operations that the code names."""
    for node in ast.walk(tree):
        found = getattr(module, node.id, None) if isinstance(node, ast.Name) else None
        # A context manager's function stands behind the one that the decorator made.
        found = inspect.unwrap(found) if isinstance(found, FunctionType) else found
        if isinstance(found, FunctionType | type) and found.__module__.startswith(
            operations.__name__
        ):
            yield found
