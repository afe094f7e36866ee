"""Reads the app's functions as the host does: routes, schedules, authorization levels, errors."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.functions_host.indexing import Code, Indexed, Trigger
from local.functions_host.keys import AuthLevel
from local.functions_host.routing import Route, RouteError, Router
from local.functions_host.timers import Schedule, ScheduleError


class FunctionError(Exception):
    """One function cannot be served. The host logs it at start and serves the others."""


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
    runs_on_startup: bool
    is_monitored: bool


@dataclass(frozen=True, slots=True)
class WarmupFunction:
    """A function that runs once, when the platform requests `/admin/warmup`."""

    code: Code
    disabled: bool


Function = HttpFunction | TimerFunction | WarmupFunction


@dataclass(frozen=True, slots=True)
class Functions:
    """All functions, those that are served, and the errors of those that are not, by name."""

    indexed: dict[str, Indexed] = field(default_factory=dict)
    served: dict[str, Function] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    router: Router[HttpFunction] = field(default_factory=Router)


def load(indexed: Iterable[Indexed], prefix: str, settings: Mapping[str, str]) -> Functions:
    """Read every function, in the order in which the host tries their routes."""
    functions = Functions()
    for each in sorted(indexed, key=lambda function: function.code.name.upper()):
        name = each.code.name
        functions.indexed[name] = each
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
    disabled = is_disabled(code.name, settings)
    match trigger["type"]:
        case Trigger.HTTP:
            return _read_http(code, trigger, disabled=disabled)
        case Trigger.TIMER:
            return TimerFunction(
                code,
                disabled,
                Schedule.parse(_resolve(trigger["schedule"], settings)),
                runs_on_startup=bool(trigger.get("runOnStartup")),
                is_monitored=bool(trigger.get("useMonitor", True)),
            )
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


def is_disabled(name: str, settings: Mapping[str, str]) -> bool:
    """Whether a setting disables the function."""
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
