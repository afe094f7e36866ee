"""Finds the functions of an app, with the strictness of the Python worker.

One function that the worker refuses hides all others in Azure, so here it ends the host.
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

from local.functions_host.errors import AppError

MODULE = "function_app"
_RETURNED = "$return"


class Trigger(StrEnum):
    """The types of triggers that this host can fire."""

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
    """What is called for an invocation.

    Attributes:
        name: the function's name in Azure.
        call: the app's own function.
        parameter: the parameter that takes the trigger's value.
        takes_context: whether it declares a `context` parameter besides.
        directory: the folder of the file that holds it.
    """

    name: str
    call: Callable[..., Any]
    parameter: str
    takes_context: bool
    directory: str


@dataclass(frozen=True, slots=True)
class Indexed:
    """A function as the worker reports it: its code, its trigger and its further bindings."""

    code: Code
    trigger: dict[str, Any]
    further: tuple[dict[str, Any], ...]


def index() -> list[Indexed]:
    """Import the app's module and read the metadata of its functions.

    Raises:
        AppError: the module has not exactly one app, or the worker would refuse a function.
        Exception: whatever the app raises while it is imported.
    """
    app = find_app(importlib.import_module(MODULE))
    return [read_function(function) for function in app.get_functions()]


def find_app(module: ModuleType) -> func.FunctionRegister:
    """The one function app among the names of a module.

    Raises:
        AppError: there is none, or more than one name for one.
    """
    apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        raise AppError(f"{MODULE}.py shows {len(apps)} function apps, exactly one is needed")
    return apps[0]


def read_function(function: func.Function) -> Indexed:
    """The code and the bindings of one function, checked against each other.

    Raises:
        AppError: naming the function and what is wrong with it.
    """
    name = str(function.get_function_name())
    try:
        return _read(name, function)
    except (AppError, NameError, TypeError) as error:
        raise AppError(f"cannot load the {name} function: {error}") from error


def _read(name: str, function: func.Function) -> Indexed:
    bindings = [json.loads(raw) for raw in function.get_raw_bindings()]
    trigger = next(each for each in bindings if each["type"].endswith("Trigger"))
    further = [each for each in bindings if each is not trigger and not _is_answer(each)]
    call = function.get_user_function()
    hints = typing.get_type_hints(call)
    takes_context = _check_parameters(call, {each["name"] for each in bindings} - {_RETURNED})
    _check_hints(trigger, hints, takes_context=takes_context)
    directory = str(Path(inspect.getfile(call)).parent)
    code = Code(name, call, trigger["name"], takes_context, directory)
    return Indexed(code, trigger, tuple(further))


def _is_answer(binding: dict[str, Any]) -> bool:
    return bool(binding["type"] == "http" and binding["name"] == _RETURNED)


def _check_parameters(call: Callable[..., Any], bound: set[str]) -> bool:
    declared = set(inspect.signature(call).parameters)
    takes_context = "context" in declared - bound
    unbound = declared - bound - {"context"}
    if unbound:
        raise AppError(f"no binding has the name of its parameters {sorted(unbound)}")
    if bound - declared:
        raise AppError(f"no parameter has the name of its bindings {sorted(bound - declared)}")
    return takes_context


def _check_hints(trigger: dict[str, Any], hints: dict[str, Any], *, takes_context: bool) -> None:
    wanted = _VALUE_TYPES.get(trigger["type"])
    if wanted:
        _check_hint(hints, trigger["name"], wanted)
    if takes_context:
        _check_hint(hints, "context", func.Context)
    _check_hint(hints, "return", func.HttpResponse if trigger["type"] == Trigger.HTTP else NoneType)


def _check_hint(hints: dict[str, Any], name: str, wanted: type) -> None:
    hint = hints.get(name, wanted)
    if not (isinstance(hint, type) and issubclass(hint, wanted)):
        raise AppError(f"the annotation of {name!r} is {hint!r}, not {wanted.__name__}")
