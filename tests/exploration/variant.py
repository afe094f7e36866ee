"""The operations with a change: copies of their modules, compiled from changed source."""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import identity_service.operations as product

PACKAGE = product.__name__
VARIANT = "variant_of_operations"


class Change(NamedTuple):
    """A piece of an operation's source, and what stands there instead."""

    module: str
    old: str
    new: str


@contextmanager
def variant(*changes: Change) -> Iterator[ModuleType]:
    """The operations with these changes. The product itself stays as it is.

    Raises:
        AssertionError: the source does not hold a piece exactly once: it has changed meanwhile.
    """
    sources = {
        path.stem: path.read_text("utf-8")
        for path in Path(str(product.__file__)).parent.glob("*.py")
    }
    for module, old, new in changes:
        assert sources[module].count(old) == 1, f"{module} holds other than once: {old}"
        sources[module] = sources[module].replace(old, new)
    sources = {name: text.replace(PACKAGE, VARIANT) for name, text in sources.items()}
    modules = {name: ModuleType(_dotted(name)) for name in sources}
    sys.modules.update({_dotted(name): module for name, module in modules.items()})
    try:
        for name in _in_order(sources):
            exec(compile(sources[name], f"<{_dotted(name)}>", "exec"), modules[name].__dict__)  # noqa: S102 -- it is our own
        yield modules["__init__"]
    finally:
        for name in modules:
            del sys.modules[_dotted(name)]


def _dotted(name: str) -> str:
    return VARIANT if name == "__init__" else f"{VARIANT}.{name}"


def _in_order(sources: dict[str, str]) -> list[str]:
    """The modules' names, each behind those that it imports."""
    names = {_dotted(name): name for name in sources}
    needs = {
        name: {
            names[node.module]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ImportFrom) and node.module in names
        }
        for name, source in sources.items()
    }
    return list(TopologicalSorter(needs).static_order())
