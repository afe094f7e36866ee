"""Facts about functions that the worker rejects: one of them hides all functions in Azure."""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import azure.functions as func
import pytest

from local.functions_host.indexing import AppError, Indexed, find_app, read_function


def index_http(call: Callable[..., Any]) -> Indexed:
    """Index a function with an HTTP trigger."""
    app = func.FunctionApp()
    app.route(route="x", methods=["GET"])(call)
    return read_function(app.get_functions()[0])


def test_a_function_is_read_with_its_trigger() -> None:
    """Name, parameter, route, methods, and no other binding."""

    async def hello(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse()

    indexed = index_http(hello)

    assert (indexed.code.name, indexed.code.parameter) == ("hello", "req")
    assert (indexed.trigger["route"], indexed.trigger["methods"]) == ("x", ["GET"])
    assert indexed.others == ()
    assert not indexed.code.takes_context


def test_a_function_gets_a_context_if_it_declares_one() -> None:
    """The parameter's name decides. Annotations are optional."""

    def with_context(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return func.HttpResponse(context.invocation_id)

    def bare(req, context):  # type: ignore[no-untyped-def]  # the fact is about such functions
        return func.HttpResponse()

    assert index_http(with_context).code.takes_context
    assert index_http(bare).code.takes_context


def _route_parameter(req: func.HttpRequest, id: str) -> func.HttpResponse:  # noqa: A002 -- as apps do
    return func.HttpResponse(id)


def _other_name(request: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse()


def _wrong_request(req: str) -> func.HttpResponse:
    return func.HttpResponse(req)


def _optional_response(req: func.HttpRequest) -> func.HttpResponse | None:
    return None


def _no_response(req: func.HttpRequest) -> None:
    return None


def _wrong_context(req: func.HttpRequest, context: str) -> func.HttpResponse:
    return func.HttpResponse(context)


def _unresolvable(req: "Missing") -> func.HttpResponse:  # type: ignore[name-defined]  # noqa: F821 -- as apps do
    return func.HttpResponse()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (_route_parameter, "its parameters ['id'] have no binding"),
        (_other_name, "its parameters ['request'] have no binding"),
        (_wrong_request, "the annotation of 'req'"),
        (_optional_response, "the annotation of 'return'"),
        (_no_response, "the annotation of 'return'"),
        (_wrong_context, "the annotation of 'context'"),
        (_unresolvable, "name 'Missing' is not defined"),
    ],
)
def test_a_function_that_does_not_match_its_bindings_is_rejected(
    call: Callable[..., Any], reason: str
) -> None:
    """This holds for parameters and for annotations. The error names the function."""
    error = f"cannot load the {call.__name__} function: {reason}"
    with pytest.raises(AppError, match=f"^{re.escape(error)}"):
        index_http(call)


def test_a_timer_cannot_return_a_value() -> None:
    """It has no binding for a result."""

    def reports(timer: func.TimerRequest) -> str:
        return "report"

    app = func.FunctionApp()
    app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")(reports)

    with pytest.raises(AppError, match="'return'"):
        read_function(app.get_functions()[0])


def test_a_module_must_define_one_app() -> None:
    """No app and two apps are errors."""
    module = ModuleType("function_app")
    with pytest.raises(AppError, match="defines 0 function apps"):
        find_app(module)

    app = func.FunctionApp()
    vars(module)["app"] = app
    assert find_app(module) is app

    vars(module)["other"] = func.FunctionApp()
    with pytest.raises(AppError, match="defines 2 function apps"):
        find_app(module)
