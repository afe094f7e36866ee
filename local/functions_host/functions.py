"""Reads the app's functions as the host does: routes, schedules, authorization levels, errors."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from local.functions_host.indexing import AppError, Code, Indexed, Trigger
from local.functions_host.routing import Route, RouteError, Router
from local.functions_host.timers import Schedule, ScheduleError

DEFAULT_ROUTE_PREFIX = "api"


class FunctionError(Exception):
    """One function cannot be served. The host logs it at start and serves the others."""


class AuthLevel(IntEnum):
    """The key that a function requires. A higher level includes the lower ones."""

    ANONYMOUS = 0
    FUNCTION = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class HttpFunction:
    """A function with a route below the prefix. No methods means any method."""

    code: Code
    disabled: bool
    template: str
    methods: tuple[str, ...]
    auth_level: AuthLevel


@dataclass(frozen=True, slots=True)
class TimerFunction:
    """A function that runs on a schedule."""

    code: Code
    disabled: bool
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class WarmupFunction:
    """A function that runs once, when the platform requests `/admin/warmup`."""

    code: Code
    disabled: bool


Function = HttpFunction | TimerFunction | WarmupFunction


@dataclass(frozen=True, slots=True)
class Functions:
    """The functions that are served, and the errors of those that are not, by name."""

    served: dict[str, Function] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    router: Router[HttpFunction] = field(default_factory=Router)


def route_prefix(app_directory: Path) -> str:
    """`extensions.http.routePrefix` of host.json without outer slashes; "api" by default.

    Raises:
        AppError: host.json is not a JSON object, or its version is not 2.0.
    """
    path = app_directory / "host.json"
    if not path.exists():
        return DEFAULT_ROUTE_PREFIX
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise AppError(f"host.json cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise AppError("host.json must be a JSON object")
    if document.get("version") != "2.0":
        raise AppError('host.json must contain "version": "2.0"')
    http = document.get("extensions", {}).get("http", {})
    return str(http.get("routePrefix", DEFAULT_ROUTE_PREFIX)).strip("/")


def load(indexed: Iterable[Indexed], prefix: str, settings: Mapping[str, str]) -> Functions:
    """Read every function, in the order in which the host tries their routes."""
    functions = Functions()
    for each in sorted(indexed, key=lambda function: function.code.name.upper()):
        name = each.code.name
        try:
            function = _read(each, settings)
            if isinstance(function, HttpFunction):
                route = Route.parse(prefix, function.template)
                functions.router.add(route, function.methods, function)
        except (FunctionError, RouteError, ScheduleError) as error:
            functions.errors[name] = str(error)
        else:
            functions.served[name] = function
    return functions


def _read(indexed: Indexed, settings: Mapping[str, str]) -> Function:
    code, trigger = indexed.code, indexed.trigger
    if indexed.others:
        types = ", ".join(binding["type"] for binding in indexed.others)
        raise FunctionError(f"bindings other than triggers are not supported here: {types}")
    disabled = _is_disabled(code.name, settings)
    match trigger["type"]:
        case Trigger.HTTP:
            return _read_http(code, trigger, disabled=disabled)
        case Trigger.TIMER:
            schedule = Schedule.parse(_resolve(trigger["schedule"], settings))
            return TimerFunction(code, disabled, schedule)
        case Trigger.WARMUP:
            return WarmupFunction(code, disabled)
        case other:
            raise FunctionError(f"triggers of type {other} are not supported here")


def _read_http(code: Code, trigger: dict[str, Any], *, disabled: bool) -> HttpFunction:
    return HttpFunction(
        code,
        disabled,
        template=trigger.get("route") or code.name,
        methods=tuple(str(method).upper() for method in trigger.get("methods") or ()),
        auth_level=AuthLevel[str(trigger.get("authLevel") or "FUNCTION").upper()],
    )


def _is_disabled(name: str, settings: Mapping[str, str]) -> bool:
    # The second form is for shells that do not allow dots in variable names.
    names = (f"AzureWebJobs.{name}.Disabled", f"AzureWebJobs_{name}_Disabled")
    return any(settings.get(each, "").strip().lower() in ("1", "true") for each in names)


def _resolve(expression: str, settings: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        try:
            return settings[found[1]]
        except KeyError:
            raise FunctionError(f"'{found[0]}' does not resolve to a value.") from None

    return re.sub("%([^%]+)%", value, expression)
