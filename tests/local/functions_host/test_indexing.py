"""Facts about what the worker refuses: with one such function Azure shows none at all."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import azure.functions as func
import pytest

from local.functions_host.errors import AppError
from local.functions_host.indexing import Indexed, find_app, read_function


def index_http(call: Callable[..., Any]) -> Indexed:
    """The function as an HTTP trigger of an app."""
    app = func.FunctionApp()
    app.route(route="x", methods=["GET"])(call)
    return read_function(app.get_functions()[0])


def index_timer(call: Callable[..., Any]) -> Indexed:
    """The function as a timer trigger of an app."""
    app = func.FunctionApp()
    app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")(call)
    return read_function(app.get_functions()[0])


def test_a_function_is_read_with_its_trigger() -> None:
    """Name, parameter, route, methods, and no further binding."""

    async def hello(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse()

    indexed = index_http(hello)

    assert (indexed.code.name, indexed.code.parameter) == ("hello", "req")
    assert (indexed.trigger["route"], indexed.trigger["methods"]) == ("x", ["GET"])
    assert indexed.further == ()


def test_a_context_is_given_exactly_when_declared() -> None:
    """By the parameter's name."""

    def with_context(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        return func.HttpResponse(context.invocation_id)

    def without(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse()

    assert index_http(with_context).code.takes_context
    assert not index_http(without).code.takes_context


def test_annotations_may_be_absent() -> None:
    """Then there is nothing to contradict the bindings."""

    def bare(req, context):  # type: ignore[no-untyped-def]  # the fact is about such functions
        return func.HttpResponse()

    assert index_http(bare).code.takes_context


def _route_parameter(req: func.HttpRequest, id: str) -> func.HttpResponse:  # noqa: A002 - as apps do
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


@pytest.mark.parametrize(
    "call",
    [
        _route_parameter,
        _other_name,
        _wrong_request,
        _optional_response,
        _no_response,
        _wrong_context,
    ],
)
def test_a_function_at_odds_with_its_bindings_is_refused_by_name(call: Callable[..., Any]) -> None:
    """Parameters, and the annotations of parameters and result."""
    with pytest.raises(AppError, match=f"cannot load the {call.__name__} function: "):
        index_http(call)


def test_an_annotation_that_cannot_be_resolved_is_refused() -> None:
    """As a name imported for type checkers only."""

    def unresolved(req: "Missing") -> func.HttpResponse:  # type: ignore[name-defined]  # noqa: F821 - the fact
        return func.HttpResponse()

    with pytest.raises(AppError, match="Missing"):
        index_http(unresolved)


def test_a_timer_returns_nothing() -> None:
    """There is no binding that could take it."""

    def reports(timer: func.TimerRequest) -> str:
        return "report"

    with pytest.raises(AppError, match="'return'"):
        index_timer(reports)


def test_a_module_shows_one_app() -> None:
    """None is as wrong as two."""
    module = ModuleType("function_app")
    with pytest.raises(AppError, match="shows 0 function apps"):
        find_app(module)

    app = func.FunctionApp()
    vars(module)["app"] = app
    assert find_app(module) is app

    vars(module)["other"] = func.FunctionApp()
    with pytest.raises(AppError, match="shows 2 function apps"):
        find_app(module)
