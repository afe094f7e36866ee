"""Routes as the Functions host matches them: ASP.NET Core templates, in the order of names.

Unlike most Python frameworks: literals match in any case, a wrong method is not a match (404, never
405), GET does not imply HEAD, and the first match wins, not the best one.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

_RESERVED = ("admin", "runtime")
_PARAMETER = re.compile(
    r"\{(?P<star>\*{0,2})(?P<name>[A-Za-z_]\w*)"
    r"(?P<constraints>(?::[A-Za-z]+(?:\([0-9, -]*\))?)*)(?P<optional>\??)\}"
)
_CONSTRAINT = re.compile(r":([A-Za-z]+)(?:\(([^)]*)\))?")
_DASHED_GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_GUID = re.compile(
    rf"[0-9a-f]{{32}}|{_DASHED_GUID}|\{{{_DASHED_GUID}\}}|\({_DASHED_GUID}\)", re.IGNORECASE
)
_INT = re.compile(r"[\t-\r ]*[+-]?0*[0-9]{1,19}[\t-\r ]*")

Found = TypeVar("Found")


class RouteError(ValueError):
    """A template that the host rejects, or that this local host does not support."""


Check = Callable[[str], bool]


def _is_integer(bits: int) -> Check:
    limit = 2 ** (bits - 1)
    return lambda value: _INT.fullmatch(value) is not None and -limit <= int(value) < limit


def _is_between(least: int | None = None, most: int | None = None) -> Check:
    def check(value: str) -> bool:
        return (
            _is_integer(64)(value)
            and (least is None or int(value) >= least)
            and (most is None or int(value) <= most)
        )

    return check


def _has_length(least: int = 0, most: int | None = None) -> Check:
    return lambda value: least <= len(value) and (most is None or len(value) <= most)


# By name: what makes the check from the numbers in parentheses.
_CONSTRAINTS: dict[str, Callable[..., Check]] = {
    "alpha": lambda: lambda value: re.fullmatch("[A-Za-z]*\n?", value) is not None,
    "bool": lambda: lambda value: value.strip().lower() in ("true", "false"),
    "guid": lambda: lambda value: _GUID.fullmatch(value.strip()) is not None,
    "int": lambda: _is_integer(32),
    "length": lambda least, most=None: _has_length(least, least if most is None else most),
    "long": lambda: _is_integer(64),
    "max": lambda most: _is_between(most=most),
    "maxlength": lambda most: _has_length(most=most),
    "min": _is_between,
    "minlength": _has_length,
    "range": _is_between,
    "required": lambda: bool,
}


@dataclass(frozen=True, slots=True)
class Route:
    """A route template, compiled.

    Attributes:
        template: with the prefix, without outer slashes.
        pattern: matches the whole path; its groups are the parameters.
        checks: the constraints, with the parameters that they are for.
    """

    template: str
    pattern: re.Pattern[str]
    checks: list[tuple[str, Check]]

    @classmethod
    def parse(cls, prefix: str, template: str) -> "Route":
        """Parse a function's template. The route prefix may be empty.

        Raises:
            RouteError: the route is reserved or malformed, or has a constraint or a default value
                that is not supported here.
        """
        if template.strip("/").lower().startswith(_RESERVED):
            raise RouteError("The specified route conflicts with one or more built in routes.")
        whole = f"{prefix}/{template}".strip("/")
        pattern, checks = _compile(whole)
        return cls(whole, re.compile(pattern, re.IGNORECASE | re.DOTALL), checks)

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a decoded path, or None if it does not match."""
        found = self.pattern.fullmatch(path)
        if not found:
            return None
        values = {name: value for name, value in found.groupdict().items() if value}
        for name, check in self.checks:
            if name in values and not check(values[name]):
                return None
        return values


def _compile(template: str) -> tuple[str, list[tuple[str, Check]]]:
    pattern = ""
    checks: list[tuple[str, Check]] = []
    names: set[str] = set()
    segments = template.split("/")
    for position, segment in enumerate(segments, 1):
        parameters = list(_PARAMETER.finditer(segment))
        pattern += _segment(segment, parameters, template, is_last=position == len(segments))
        for parameter in parameters:
            name = parameter["name"]
            if name.lower() in names:
                raise RouteError(f"The route parameter {name!r} appears twice in {template!r}.")
            names.add(name.lower())
            constraints = _CONSTRAINT.findall(parameter["constraints"])
            checks += [(name, _check(*found)) for found in constraints]
    return pattern + "/?", checks


def _segment(segment: str, parameters: list[re.Match[str]], template: str, *, is_last: bool) -> str:
    """The pattern of one segment: a literal, a parameter, or several of both."""
    literals = _PARAMETER.split(segment)[:: _PARAMETER.groups + 1]
    if not segment or set("".join(literals)) & set("{}?*"):
        raise RouteError(f"Cannot read the segment {segment!r} of the route {template!r}.")
    if len(parameters) == 1 and not any(literals):
        return _parameter(parameters[0], is_last=is_last)
    if any(each["star"] or each["optional"] for each in parameters):
        raise RouteError(f"Cannot read the segment {segment!r} of the route {template!r}.")
    pattern = re.escape(literals[0])
    for parameter, literal in zip(parameters, literals[1:], strict=True):
        pattern += f"(?P<{parameter['name']}>[^/]+){re.escape(literal)}"
    return f"/{pattern}"


def _parameter(parameter: re.Match[str], *, is_last: bool) -> str:
    # A catch-all takes the rest of the path, which cannot start with an empty segment.
    value = "[^/].*" if parameter["star"] else "[^/]+"
    group = f"/(?P<{parameter['name']}>{value})"
    if not (parameter["star"] or parameter["optional"]):
        return group
    if not is_last:
        raise RouteError(f"{parameter[0]} can only be the last segment.")
    return f"(?:{group})?"


def _check(name: str, numbers: str) -> Check:
    try:
        return _CONSTRAINTS[name.lower()](*(int(number) for number in numbers.split(",") if number))
    except (KeyError, TypeError, ValueError):
        known = ", ".join(_CONSTRAINTS)
        raise RouteError(
            f"The constraint {name!r} is not one of {known}, or has the wrong numbers."
        ) from None


class Router(Generic[Found]):
    """Finds the function for a method and a path. Routes are tried in the order they were added."""

    def __init__(self) -> None:
        self._routes: list[tuple[Route, frozenset[str], Found]] = []

    def add(self, route: Route, methods: Collection[str], found: Found) -> None:
        """Add a route for `methods`, in upper case. No methods means any method.

        Raises:
            RouteError: an earlier route has the same template and a method in common.
        """
        accepted = frozenset(methods)
        for other, taken, _ in self._routes:
            overlap = not accepted or not taken or accepted & taken
            if overlap and other.template.lower() == route.template.lower():
                raise RouteError(f"The route {route.template!r} is defined by another function.")
        self._routes.append((route, accepted, found))

    def find(self, method: str, path: str) -> tuple[Found, dict[str, str]] | None:
        """The first route that matches, with its parameters."""
        for route, methods, found in self._routes:
            if not methods or method in methods:
                values = route.match(path)
                if values is not None:
                    return found, values
        return None
