"""Read the syntax tree of a Bicep file. PyPI, npm and Debian have no Bicep compiler."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

INFRA = Path(__file__).parents[2] / "infra"
FILES = sorted(INFRA.glob("*.bicep"))
_OUTPUTS = re.compile(r"\b(\w+)(?:!\.|\.\?|\.)outputs\.(\w+)")
_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass
class Bicep:
    """The declarations and uses in a file.

    Attributes:
        parameters: For each name, whether it is required.
        descriptions: The parameters' descriptions, by name.
        resources: Type and version of each resource, by symbolic name.
        scopes: Where each resource and module with a scope is deployed, by symbolic name. Resources
            that are only read are left out.
        modules: File and parameter names of each module, by symbolic name.
        values: Path and source text of every property.
        used: Names that are used.
        errors: Syntax errors.
    """

    parameters: dict[str, bool] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)
    resources: dict[str, str] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)
    modules: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    outputs: set[str] = field(default_factory=set)
    values: list[tuple[str, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    module_outputs: set[tuple[str, str]] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    @property
    def declared(self) -> set[str]:
        """Every name that the file declares."""
        return {*self.parameters, *self.variables, *self.resources, *self.modules}


@cache
def parse(source: bytes) -> Node:
    """The syntax tree of a file's source."""
    return _PARSER.parse(source).root_node


def read(source: bytes) -> Bicep:
    """Read the declarations and uses in a file's source."""
    found = Bicep()
    root = parse(source)
    description = ""
    for node in root.named_children:
        if node.type.endswith("_declaration"):
            _declare(found, node, description)
        description = _description(node) or description if node.type == "decorators" else ""
    for node in _all(root):
        _use(found, node)
    found.module_outputs = set(_OUTPUTS.findall(source.decode()))
    found.values = [(path, _text(node)) for path, node in _properties(root)]
    return found


def _declare(found: Bicep, node: Node, description: str) -> None:
    name = _name(node)
    match node.type:
        case "parameter_declaration":
            found.parameters[name] = "=" not in _text(node)
            found.descriptions.update({name: description} if description else {})
        case "variable_declaration":
            found.variables.add(name)
        case "module_declaration":
            given = [child for path, child in _properties(node) if path == "params"]
            names = {path for each in given for path, _ in _properties(each) if "." not in path}
            found.modules[name] = (_string(node), names)
            _scope(found, node)
        case "output_declaration":
            found.outputs.add(name)


def _use(found: Bicep, node: Node) -> None:
    text = _text(node)
    if node.is_error or node.is_missing:
        found.errors.append(f"line {node.start_point[0] + 1}: {text[:60]}")
    match node.type:
        case "resource_declaration":
            found.resources[_name(node)] = _string(node)
            if all(child.type != "existing" for child in node.children):
                _scope(found, node)
        case "lambda_expression":
            found.variables |= {_text(each) for each in _all(node.named_children[0])}
        case "for_statement":
            names = node.named_children[0]
            found.variables |= {_text(each) for each in (names.named_children or [names])}
        case "identifier" if _is_used(node):
            found.used.add(text)


def _scope(found: Bicep, node: Node) -> None:
    found.scopes |= {
        _name(node): _text(value) for path, value in _properties(node) if path == "scope"
    }


def _properties(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """The path and the value of every property below a node."""
    for child in node.named_children:
        if (
            child.type == "object_property"
            and child.named_children[0].type != "resource_declaration"
        ):
            name = f"{path}.{_text(child.named_children[0])}".lstrip(".")
            value = child.named_children[-1]
            yield name, value
            yield from _properties(value, name)
        else:
            yield from _properties(child, path)


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _all(child)


def _is_used(node: Node) -> bool:
    """Whether an identifier is a use, not the name of a property or a declaration."""
    parent = node.parent
    if parent is None or parent.type.endswith("_declaration"):
        return parent is not None and parent.named_children[0] != node
    if parent.type == "object_property":
        return parent.named_children[0] != node
    return parent.type != "call_expression" or parent.child_by_field_name("function") != node


def _description(node: Node) -> str:
    text = _text(node)
    line = text.partition("@description('")[2].partition("\n")[0]
    return line.removesuffix("')").replace("\\'", "'")


def _name(node: Node) -> str:
    return _text(node.named_children[0])


def _string(node: Node) -> str:
    [first, *_] = [child for child in node.named_children if child.type == "string"]
    return _text(first).strip("'")


def _text(node: Node | None) -> str:
    return (node.text or b"").decode() if node else ""
