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
    r"\{(?P<star>\*{0,2})(?P<name>[A-Za-z_]\w*)(?::(?P<constraint>[^{}?]+))?(?P<optional>\??)\}"
)
_DASHED_GUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_GUID = re.compile(
    rf"[0-9a-f]{{32}}|{_DASHED_GUID}|\{{{_DASHED_GUID}\}}|\({_DASHED_GUID}\)", re.IGNORECASE
)
_INT = re.compile(r"\s*[+-]?[0-9]+\s*")

Found = TypeVar("Found")


class RouteError(ValueError):
    """A template that the host rejects, or that this local host does not support."""


def _is_guid(value: str) -> bool:
    return _GUID.fullmatch(value) is not None


def _is_int(value: str) -> bool:
    return _INT.fullmatch(value) is not None and -(2**31) <= int(value) < 2**31


_CONSTRAINTS: dict[str, Callable[[str], bool]] = {"guid": _is_guid, "int": _is_int}


@dataclass(frozen=True, slots=True)
class Route:
    """A route template, compiled.

    Attributes:
        template: with the prefix, without outer slashes.
        pattern: matches the whole path; its groups are the parameters.
        checks: the constraints, by parameter.
    """

    template: str
    pattern: re.Pattern[str]
    checks: dict[str, Callable[[str], bool]]

    @classmethod
    def parse(cls, prefix: str, template: str) -> "Route":
        """Parse a function's template. The route prefix may be empty.

        Raises:
            RouteError: the route is reserved or malformed, or a segment is something other than a
                literal, `{name}`, `{name?}`, `{*name}`, `{name:guid}` or `{name:int}`.
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
        valid = all(check(values[name]) for name, check in self.checks.items() if name in values)
        return values if valid else None


def _compile(template: str) -> tuple[str, dict[str, Callable[[str], bool]]]:
    pattern, checks = "", {}
    names: set[str] = set()
    segments = template.split("/")
    for position, segment in enumerate(segments, 1):
        parameter = _PARAMETER.fullmatch(segment)
        if not parameter:
            pattern += _literal(segment, template)
            continue
        pattern += _parameter(parameter, is_last=position == len(segments))
        name, constraint = parameter["name"], parameter["constraint"]
        if name.lower() in names:
            raise RouteError(f"The route parameter {name!r} appears twice in {template!r}.")
        names.add(name.lower())
        if constraint:
            checks[name] = _check(constraint)
    return pattern + "/?", checks


def _literal(segment: str, template: str) -> str:
    if not segment or set(segment) & set("{}?*"):
        raise RouteError(f"Cannot read the segment {segment!r} of the route {template!r}.")
    return "/" + re.escape(segment)


def _parameter(parameter: re.Match[str], *, is_last: bool) -> str:
    value = ".*" if parameter["star"] else "[^/]+"
    group = f"/(?P<{parameter['name']}>{value})"
    if not (parameter["star"] or parameter["optional"]):
        return group
    if not is_last:
        raise RouteError(f"{parameter[0]} can only be the last segment.")
    return f"(?:{group})?"


def _check(constraint: str) -> Callable[[str], bool]:
    try:
        return _CONSTRAINTS[constraint.lower()]
    except KeyError:
        known = ", ".join(_CONSTRAINTS)
        raise RouteError(f"The constraint {constraint!r} is not one of {known}.") from None


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
