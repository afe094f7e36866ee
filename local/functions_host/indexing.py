"""Finds the functions of an app, as strictly as the Python worker.

In Azure, one function that the worker rejects hides all the others. Here it stops the host.
"""

import importlib
import inspect
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any

import azure.functions as func
from azure.functions.warmup import WarmUpContext

MODULE = "function_app"
_RETURNED = "$return"


class AppError(Exception):
    """The app cannot be served at all. In Azure, the worker would find no functions in it."""


class Trigger(StrEnum):
    """The trigger types that this host supports."""

    HTTP = "httpTrigger"
    TIMER = "timerTrigger"
    WARMUP = "warmupTrigger"


_VALUE_TYPES: dict[str, type] = {
    Trigger.HTTP: func.HttpRequest,
    Trigger.TIMER: func.TimerRequest,
    Trigger.WARMUP: WarmUpContext,
}


@dataclass(frozen=True, slots=True)
class Code:
    """What an invocation calls.

    Attributes:
        name: the function's name in Azure.
        call: the app's own function.
        parameter: the parameter that receives the trigger's value.
        takes_context: whether it also declares a `context` parameter.
        directory: the folder of the file that defines it.
    """

    name: str
    call: Callable[..., Any]
    parameter: str
    takes_context: bool
    directory: str


@dataclass(frozen=True, slots=True)
class Indexed:
    """A function as the worker reports it.

    Attributes:
        code: what an invocation calls.
        bindings: all of them, with the trigger.
        trigger: the binding that starts the function.
        others: the bindings that are neither the trigger nor the HTTP response.
    """

    code: Code
    bindings: tuple[dict[str, Any], ...]
    trigger: dict[str, Any]
    others: tuple[dict[str, Any], ...]


def index() -> list[Indexed]:
    """Import the app's module and read the metadata of its functions.

    Raises:
        AppError: the module does not have exactly one app, or the worker would reject a function.
        Exception: anything that the app raises while it is imported.
    """
    app = find_app(importlib.import_module(MODULE))
    return [read_function(function) for function in app.get_functions()]


def find_app(module: ModuleType) -> func.FunctionRegister:
    """Find the function app among the names of a module.

    Raises:
        AppError: the module has no app, or more than one.
    """
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        raise AppError(f"{MODULE}.py defines {len(apps)} function apps, exactly one is required")
    return apps[0]


def read_function(function: func.Function) -> Indexed:
    """Read a function's code and bindings and check that they match.

    Raises:
        AppError: they do not match; the message names the function and the mismatch.
    """
    name = str(function.get_function_name())
    try:
        return _read(name, function)
    except (AppError, NameError, TypeError) as error:
        raise AppError(f"cannot load the {name} function: {error}") from error


def _read(name: str, function: func.Function) -> Indexed:
    bindings = [json.loads(raw) for raw in function.get_raw_bindings()]
    trigger = next(each for each in bindings if each["type"].endswith("Trigger"))
    others = [each for each in bindings if each is not trigger and not _is_http_output(each)]
    call = function.get_user_function()
    hints = typing.get_type_hints(call)
    takes_context = _check_parameters(call, {each["name"] for each in bindings} - {_RETURNED})
    _check_hints(trigger, hints, takes_context=takes_context)
    directory = str(Path(inspect.getfile(call)).parent)
    code = Code(name, call, trigger["name"], takes_context, directory)
    return Indexed(code, tuple(bindings), trigger, tuple(others))


def _is_http_output(binding: dict[str, Any]) -> bool:
    return bool(binding["type"] == "http" and binding["name"] == _RETURNED)


def _check_parameters(call: Callable[..., Any], bound: set[str]) -> bool:
    declared = set(inspect.signature(call).parameters)
    takes_context = "context" in declared - bound
    unbound = declared - bound - {"context"}
    if unbound:
        raise AppError(f"its parameters {sorted(unbound)} have no binding of that name")
    if bound - declared:
        raise AppError(f"its bindings {sorted(bound - declared)} have no parameter of that name")
    return takes_context


def _check_hints(trigger: dict[str, Any], hints: dict[str, Any], *, takes_context: bool) -> None:
    expected = _VALUE_TYPES.get(trigger["type"])
    if expected:
        _check_hint(hints, trigger["name"], expected)
    if takes_context:
        _check_hint(hints, "context", func.Context)
    is_http = trigger["type"] == Trigger.HTTP
    _check_hint(hints, "return", *((func.HttpResponse, str) if is_http else (NoneType,)))


def _check_hint(hints: dict[str, Any], name: str, *expected: type) -> None:
    hint = hints.get(name, expected[0])
    if not (isinstance(hint, type) and issubclass(hint, expected)):
        raise AppError(f"the annotation of {name!r} is {hint!r}, not {expected[0].__name__}")
