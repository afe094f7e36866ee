"""Evaluate the templates: what a deployment would create, or why it would be refused.

It knows the part of Bicep that infra/ uses, and fails on everything else. It checks no types of
resources: the compiler does that on GitHub. What only Azure knows, such as the address of a new
resource, is a text in angle brackets.
"""

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tree_sitter import Node

from tests.infra.bicep import INFRA, parse

SUBSCRIPTION = "/subscriptions/11111111-2222-3333-4444-555555555555"
TENANT = "99999999-0000-0000-0000-000000000000"


class RefusedError(Exception):
    """The deployment is refused, with this message."""


@dataclass(frozen=True)
class Resource:
    """A resource of the deployment.

    Attributes:
        kind: Its type, without the version.
        name: Its name, after those of its parents.
        scope: Type and name of the resource that it is attached to, or empty.
        body: Its properties and all else that the template says about it.
    """

    kind: str
    name: str
    scope: str
    body: dict[str, Any]

    @property
    def id(self) -> str:
        """Its type and its name, which stay the same as long as it is the same resource."""
        return f"{self.kind} {self.name}" + (f" on {self.scope}" if self.scope else "")

    @property
    def properties(self) -> dict[str, Any]:
        """Its properties."""
        properties: dict[str, Any] = self.body["properties"]
        return properties


@dataclass(frozen=True)
class Deployment:
    """What a template deploys.

    Attributes:
        resources: All resources, those of modules too.
        outputs: Its outputs.
        modules: The parameters of each module, by symbolic name.
        parameters: Its own parameters, with their defaults.
    """

    resources: list[Resource]
    outputs: dict[str, Any]
    modules: dict[str, dict[str, Any]]
    parameters: dict[str, Any]

    def all(self, kind: str, name: str = "") -> list[Resource]:
        """The resources of this type whose name contains `name`."""
        return [each for each in self.resources if each.kind == kind and name in each.name]

    def one(self, kind: str, name: str = "") -> Resource:
        """The only resource of this type whose name contains `name`."""
        [found] = self.all(kind, name)
        return found

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the app."""
        return self.one("Microsoft.Web/sites/config", "/appsettings").properties


def deploy(**parameters: Any) -> Deployment:
    """The deployment with these parameters, besides those that are always needed.

    Raises:
        RefusedError: Azure would refuse it.
    """
    needed = {"environmentName": "contoso", "location": "westeurope", "dataLocation": "Europe"}
    return evaluate("main.bicep", needed | parameters)


def evaluate(file: str, parameters: dict[str, Any]) -> Deployment:
    """What one of the templates deploys with exactly these parameters.

    Raises:
        RefusedError: Azure would refuse it.
    """
    template = _Template(INFRA / file, parameters)
    resources = list(template.resources())
    outputs = {name: template.output(name) for name in template.outputs}
    return Deployment(resources, outputs, template.modules, template.parameters)


@dataclass(frozen=True)
class _Reference:
    """A resource in an expression."""

    kind: str
    name: str

    @property
    def id(self) -> str:
        """Its id, if it is in the group of the deployment."""
        types, names = self.kind.split("/")[1:], self.name.split("/")
        pairs = "/".join(part for pair in zip(types, names, strict=True) for part in pair)
        return f"{SUBSCRIPTION}/resourceGroups/group/providers/{self.kind.split('/')[0]}/{pairs}"

    def get(self, name: str) -> Any:
        if name == "id":
            return self.id
        if name == "name":
            return self.name.rpartition("/")[2]
        return _Unknown(f"<{self.kind} {self.name} {name}>")


class _Unknown(str):
    """A value that only Azure knows."""

    __slots__ = ()

    def get(self, name: str) -> "_Unknown":
        return _Unknown(f"{self[:-1]}.{name}>")


Names = Mapping[str, Any]


@dataclass
class _Template:
    """One file with the values of its parameters."""

    path: Path
    given: dict[str, Any]
    _values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._declared: dict[str, Node] = {}
        self._decorators: dict[str, list[Node]] = {}
        self._parents: dict[str, str] = {}
        decorators: list[Node] = []
        for node in _children(parse(self.path.read_bytes())):
            if node.type.endswith("_declaration"):
                self._declare(node)
                self._decorators[_text(node.named_children[0])] = decorators
            decorators = _children(node) if node.type == "decorators" else []
        unknown = self.given.keys() - {name for name, _ in self._of("parameter_declaration")}
        if unknown:
            raise RefusedError(f"{self.path.name} has no parameter {', '.join(unknown)}")
        for name, _ in self._of("parameter_declaration"):
            self._value(name)

    def _declare(self, node: Node, parent: str = "") -> None:
        name = _text(node.named_children[0])
        self._declared[_output(name) if node.type == "output_declaration" else name] = node
        if parent:
            self._parents[name] = parent
        if node.type == "resource_declaration":
            for each in _nested(node):
                self._declare(each, name)

    def _of(self, kind: str) -> list[tuple[str, Node]]:
        return [(name, node) for name, node in self._declared.items() if node.type == kind]

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs."""
        return [name.removeprefix("output ") for name, _ in self._of("output_declaration")]

    @property
    def parameters(self) -> dict[str, Any]:
        """The values of the parameters."""
        return {name: self._value(name) for name, _ in self._of("parameter_declaration")}

    @property
    def modules(self) -> dict[str, dict[str, Any]]:
        """The parameters of each module that is deployed."""
        modules = {name: self._value(name) for name, _ in self._of("module_declaration")}
        return {name: module.given for name, module in modules.items() if module is not None}

    def output(self, name: str) -> Any:
        """The value of an output."""
        return self._value(_output(name))

    def resources(self) -> Iterator[Resource]:
        """The resources of this file and of its modules."""
        for name, node in self._declared.items():
            if node.type == "module_declaration":
                module = self._value(name)
                if module is not None:
                    yield from module.resources()
            if node.type == "resource_declaration" and not _is_existing(node):
                for body, names in self._bodies(node, {}):
                    yield self._resource(name, body, names)

    def _resource(self, symbol: str, body: Node, names: Names) -> Resource:
        reference = self._reference(symbol, body, names)
        found = {
            _key(name): self._evaluate(value, names)
            for name, value in _pairs(body)
            if name.type != "resource_declaration" and _text(name) not in ("scope", "parent")
        }
        scope = _property(body, "scope")
        on = self._evaluate(scope, names) if scope else None
        on = f"{on.kind} {on.name}" if on else ""
        return Resource(reference.kind, reference.name, on, found)

    def _bodies(self, node: Node, names: Names) -> Iterator[tuple[Node, Names]]:
        """The objects that a declaration has: none if its condition is false, many in a loop."""
        value = _children(node)[-1]
        match value.type:
            case "if_statement":
                condition, body = _children(value)
                if self._evaluate(condition, names):
                    yield body, names
            case "for_statement":
                for each, body in self._loop(value, names):
                    yield body, each
            case _:
                yield value, names

    def _loop(self, node: Node, names: Names) -> Iterator[tuple[Names, Node]]:
        variables, items, body = _children(node)
        parts = [_text(each) for each in (_children(variables) or [variables])]
        for index, item in enumerate(self._evaluate(items, names)):
            yield {**names, **dict(zip(parts, (item, index), strict=False))}, body

    def _reference(self, symbol: str, body: Node, names: Names) -> _Reference:
        kind = _type(self._declared[symbol])
        name_node = _property(body, "name")
        assert name_node is not None, f"{symbol} has no name"
        name = self._evaluate(name_node, names)
        scope = _property(body, "scope")
        if scope:
            self._evaluate(scope, names)
        parent_node = _property(body, "parent")
        if symbol in self._parents:
            parent = self._value(self._parents[symbol])
            kind = f"{parent.kind}/{kind}"
        elif parent_node:
            parent = self._evaluate(parent_node, names)
        else:
            return _Reference(kind, name)
        return _Reference(kind, f"{parent.name}/{name}")

    def _value(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = self._compute(name, self._declared[name])
        return self._values[name]

    def _compute(self, name: str, node: Node) -> Any:
        match node.type:
            case "parameter_declaration":
                return self._parameter(name, node)
            case "resource_declaration":
                return self._references(name, node)
            case "module_declaration":
                return self._module(node)
            case _:
                return self._evaluate(_children(node)[-1], {})

    def _references(self, name: str, node: Node) -> Any:
        value = _children(node)[-1]
        if value.type == "for_statement":
            return [self._reference(name, body, names) for names, body in self._loop(value, {})]
        body = _children(value)[1] if value.type == "if_statement" else value
        return self._reference(name, body, {})

    def _module(self, node: Node) -> "_Template | None":
        for body, names in self._bodies(node, {}):
            params = _property(body, "params")
            given = self._evaluate(params, names) if params else {}
            file = _string_of(_children(node)[1])
            return _Template(self.path.parent / file, given)
        return None

    def _parameter(self, name: str, node: Node) -> Any:
        kind, *default = _children(node)[1:]
        value = self.given.get(name)
        if value is None and default:
            value = self._evaluate(default[0], {})
        if not _is_of(value, _children(kind)[0]):
            raise RefusedError(f"{name} must be of type {_text(kind)}")
        for decorator in self._decorators[name]:
            call = _children(decorator)[0]
            limit = self._evaluate(_children(_children(call)[1])[0], {})
            if value is not None and not _LIMITS[_text(_children(call)[0])](value, limit):
                raise RefusedError(f"{name} is not allowed: {_text(call)}")
        return value

    def _evaluate(self, node: Node, names: Names) -> Any:  # noqa: C901, PLR0911, PLR0912 -- a table
        parts = _children(node)
        match node.type:
            case "string":
                return "".join(self._pieces(node, names))
            case "number":
                return int(_text(node))
            case "boolean":
                return _text(node) == "true"
            case "null":
                return None
            case "array":
                return [self._evaluate(part, names) for part in parts]
            case "object":
                return {
                    self._evaluate(key, names) if key.type == "string" else _text(key): (
                        self._evaluate(value, names)
                    )
                    for key, value in _pairs(node)
                }
            case "identifier":
                return names[_text(node)] if _text(node) in names else self._value(_text(node))
            case "resource_expression":  # network::appSubnet
                return self._value(_text(parts[-1]))
            case "parenthesized_expression":
                return self._evaluate(parts[0], names)
            case "for_statement":
                return [self._evaluate(body, each) for each, body in self._loop(node, names)]
            case kind if kind in _COMPOUND:
                value = self._compound(_Parser(node).tree, names)
                return None if isinstance(value, _Missing) else value
            case "lambda_expression":
                return lambda item: self._evaluate(parts[1], {**names, _text(parts[0]): item})
            case "call_expression":
                arguments = [self._evaluate(part, names) for part in _children(parts[1])]
                if _text(parts[0]) in _LOADERS:
                    return _LOADERS[_text(parts[0])]((self.path.parent / arguments[0]).read_text())
                return _FUNCTIONS[_text(parts[0])](*arguments)
        raise NotImplementedError(node.type)

    def _pieces(self, node: Node, names: Names) -> Iterator[str]:
        """The pieces of a text. The tree counts white space wrongly at the ends and before `${`."""
        quote = 3 if _text(node).startswith("'''") else 1
        text, at = node.text or b"", quote
        for part in node.named_children:
            if part.type == "interpolation":
                start = text.index(b"${", part.start_byte - node.start_byte)
                yield _unescaped(text[at:start])
                yield str(self._evaluate(_children(part)[0], names))
                at = part.end_byte - node.start_byte
        yield _unescaped(text[at : len(text) - quote])

    def _compound(self, tree: Any, names: Names) -> Any:  # noqa: PLR0911 -- a table
        """The value of what `_Parser` has found."""
        match tree:
            case ("?", condition, first, second):
                chosen = first if self._compound(condition, names) else second
                return self._compound(chosen, names)
            case ("&&", left, right):
                return self._compound(left, names) and self._compound(right, names)
            case ("||", left, right):
                return self._compound(left, names) or self._compound(right, names)
            case ("??", left, right):
                value = self._compound(left, names)
                is_nothing = value is None or isinstance(value, _Missing)
                return self._compound(right, names) if is_nothing else value
            case ("!", right):
                return not self._compound(right, names)
            case ("[", left, index):
                return self._compound(left, names)[self._compound(index, names)]
            case (".", left, name):
                return _member(self._compound(left, names), name)
            case (".?", left, name):
                value = self._compound(left, names)
                return _Missing() if value is None else _member(value, name)
            case (operator, left, right):
                left, right = self._compound(left, names), self._compound(right, names)
                return _OPERATORS[operator](left, right)
        return tree if isinstance(tree, int) else self._evaluate(tree, names)


class _Missing:
    """What a chain with `.?` gives if there is nothing."""


def _member(value: Any, name: str) -> Any:
    if isinstance(value, _Missing):
        return value
    if isinstance(value, _Template):
        assert name == "outputs"
        return _Outputs(value)
    return value[name] if isinstance(value, dict) else value.get(name)


_COMPOUND = (
    "ternary_expression",
    "binary_expression",
    "unary_expression",
    "member_expression",
    "subscript_expression",
)
# The higher, the tighter. Source: Bicep's table of operators.
_LEVELS = (("??",), ("||",), ("&&",), ("==", "!="), ("<", ">", "<=", ">="), ("+", "-"), ("*", "/"))
_PRECEDENCE = {
    operator: level for level, operators in enumerate(_LEVELS, 1) for operator in operators
}


class _Parser:
    """Parse an expression with operators again: the grammar gets their precedence wrong."""

    def __init__(self, node: Node) -> None:
        self._tokens = [*self._flat(node)]
        self._at = 0
        self.tree = self._ternary()
        assert self._at == len(self._tokens), _text(node)

    def _flat(self, node: Node) -> Iterator[Node | str]:
        for child in node.children:
            if child.type in _COMPOUND:
                yield from self._flat(child)
            elif child.type != "comment":
                yield child if child.is_named else child.type

    @property
    def _next(self) -> Node | str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *tokens: str) -> str:
        """Take one of the tokens, if it is the next one."""
        token = self._next
        if not isinstance(token, str) or token not in tokens:
            return ""
        self._at += 1
        return token

    def _ternary(self) -> Any:
        condition = self._binary(0)
        if not self._take("?"):
            return condition
        first = self._ternary()
        assert self._take(":")
        return ("?", condition, first, self._ternary())

    def _binary(self, least: int) -> Any:
        left = self._unary()
        while isinstance(self._next, str) and _PRECEDENCE.get(self._next, 0) > least:
            operator = self._take(*_PRECEDENCE)
            left = (operator, left, self._binary(_PRECEDENCE[operator]))
        return left

    def _unary(self) -> Any:
        if self._take("!"):
            return ("!", self._unary())
        if self._take("-"):
            return ("-", 0, self._unary())
        return self._postfix(self._operand())

    def _postfix(self, left: Any) -> Any:
        while operator := self._take(".", ".?", "!", "["):
            if operator == "[":
                left = ("[", left, self._ternary())
                assert self._take("]")
            elif operator != "!":
                left = (operator, left, _text(self._operand()))
        return left

    def _operand(self) -> Node:
        operand = self._next
        assert isinstance(operand, Node), operand
        self._at += 1
        return operand


@dataclass(frozen=True)
class _Outputs:
    """The outputs of a module in an expression."""

    module: _Template

    def get(self, name: str) -> Any:
        return self.module.output(name)


def _unescaped(text: bytes) -> str:
    return text.decode().replace("\\'", "'").replace("\\$", "$").replace("\\n", "\n")


def _output(name: str) -> str:
    """Outputs may have the name of a parameter."""
    return f"output {name}"


def _children(node: Node) -> list[Node]:
    return [child for child in node.named_children if child.type != "comment"]


def _nested(node: Node) -> list[Node]:
    body = _children(node)[-1]
    body = _children(body)[1] if body.type == "if_statement" else body
    return [
        each
        for child in _children(body)
        for each in (child, *_children(child))
        if each.type == "resource_declaration"
    ]


def _pairs(node: Node) -> list[tuple[Node, Node]]:
    pairs = [_children(child) for child in _children(node) if child.type == "object_property"]
    return [(pair[0], pair[-1]) for pair in pairs if pair[0].type != "resource_declaration"]


def _property(node: Node, name: str) -> Node | None:
    return next((value for key, value in _pairs(node) if _key(key) == name), None)


def _key(node: Node) -> str:
    return _text(node).strip("'")


def _type(node: Node) -> str:
    return _string_of(_children(node)[1]).partition("@")[0]


def _string_of(node: Node) -> str:
    return _text(node).strip("'")


def _is_existing(node: Node) -> bool:
    return any(child.type == "existing" for child in node.children)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _is_of(value: Any, kind: Node) -> bool:
    match kind.type:
        case "nullable_type":
            return value is None or _is_of(value, _children(kind)[0])
        case "array_type":
            inner = _children(_children(kind)[0])[0]
            return isinstance(value, list) and all(_is_of(each, inner) for each in value)
        case "object":
            fields = [_children(each) for each in _children(kind)]
            if not isinstance(value, dict):
                return False
            if len(fields[0]) == 1:  # { *: TYPE }
                return all(_is_of(each, fields[0][0]) for each in value.values())
            return all(_is_of(value.get(_text(key)), inner) for key, inner in fields)
        case _:
            python = _PRIMITIVES[_text(kind)]
            return isinstance(value, python) and (python is bool or not isinstance(value, bool))


_PRIMITIVES = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}


def _is_allowed(value: Any, allowed: list[Any]) -> bool:
    """Azure ignores the case of texts."""
    return str(value).lower() in {str(each).lower() for each in allowed}


# Azure checks these.
_LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "description": lambda _value, _text: True,
    "allowed": _is_allowed,
    "minLength": lambda value, least: len(value) >= least,
    "maxLength": lambda value, most: len(value) <= most,
    "minValue": lambda value, least: value >= least,
    "maxValue": lambda value, most: value <= most,
}

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left // right,
}


def _hash(*values: str) -> str:
    return hashlib.sha256("|".join(values).encode()).hexdigest()


def _fail(message: str) -> Any:
    raise RefusedError(message)


def _guid(*values: str) -> str:
    text = _hash(*values)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))


def _union(*values: Any) -> Any:
    if isinstance(values[0], dict):
        return {key: value for each in values for key, value in each.items()}
    return list(dict.fromkeys(item for each in values for item in each))


def _subnet(network: str, prefix: int, index: int) -> str:
    return str(list(ipaddress.ip_network(network).subnets(new_prefix=prefix))[index])


_LOADERS: dict[str, Callable[[str], Any]] = {"loadJsonContent": json.loads, "loadTextContent": str}

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cidrSubnet": _subnet,
    "concat": lambda *values: [item for each in values for item in each],
    "contains": lambda where, what: what in where,
    "empty": lambda value: not value,
    "endsWith": lambda text, end: text.lower().endswith(end.lower()),
    "environment": lambda: {
        "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
        "suffixes": {"storage": "core.windows.net"},
    },
    "fail": _fail,
    "filter": lambda values, function: [value for value in values if function(value)],
    "flatten": lambda values: [item for each in values for item in each],
    "guid": _guid,
    "indexOf": lambda values, value: values.index(value),
    "items": lambda value: [{"key": key, "value": value[key]} for key in sorted(value)],
    "join": lambda values, between: between.join(values),
    "last": lambda values: values[-1],
    "length": len,
    "map": lambda values, function: [function(value) for value in values],
    "objectKeys": sorted,
    "range": lambda first, count: list(range(first, first + count)),
    "replace": lambda text, old, new: text.replace(old, new),
    "resourceGroup": lambda name="group": {"name": name, "id": f"<group {name}>"},
    "skip": lambda values, count: values[count:],
    "split": lambda text, separator: text.split(separator),
    "startsWith": lambda text, start: text.lower().startswith(start.lower()),
    "string": lambda value: json.dumps(value) if isinstance(value, dict | list) else str(value),
    "subscription": lambda: {"id": SUBSCRIPTION},
    "subscriptionResourceId": lambda kind, name: f"{SUBSCRIPTION}/providers/{kind}/{name}",
    "substring": lambda text, start, count: text[start : start + count],
    "take": lambda values, count: values[:count],
    "tenant": lambda: {"tenantId": TENANT},
    "toLower": str.lower,
    "toUpper": str.upper,
    "trim": str.strip,
    "union": _union,
    "uniqueString": lambda *values: _hash(*values)[:13],
}
