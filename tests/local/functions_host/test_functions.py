"""Facts about how the host reads an app's functions."""

from typing import Any

import azure.functions as func
import pytest

from local.functions_host.functions import Functions, HttpFunction, TimerFunction, load
from local.functions_host.indexing import read_function
from local.functions_host.keys import AuthLevel


def load_app(app: func.FunctionApp, prefix: str = "api", **settings: str) -> Functions:
    """Load the app's functions, as at the start."""
    return load([read_function(each) for each in app.get_functions()], prefix, settings)


def http_app(**functions: dict[str, Any]) -> func.FunctionApp:
    """An app with HTTP functions, given as route arguments by name."""

    def call(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse()

    app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
    for name, route in functions.items():
        app.function_name(name)(app.route(**route)(call))
    return app


def timer_app(schedule: str) -> func.FunctionApp:
    """An app with one timer."""

    def sweep(timer: func.TimerRequest) -> None:
        return None

    app = func.FunctionApp()
    app.timer_trigger(arg_name="timer", schedule=schedule)(sweep)
    return app


def queue_app() -> func.FunctionApp:
    """An app with a queue trigger."""

    def on_message(message: str) -> None:
        return None

    app = func.FunctionApp()
    app.queue_trigger(arg_name="message", queue_name="q", connection="C")(on_message)
    return app


def _found(functions: Functions, method: str, path: str) -> str | None:
    found = functions.router.find(method, path)
    return found[0].code.name if found else None


def test_routes_are_tried_in_the_order_of_function_names() -> None:
    """Their order in the file and their case do not matter."""
    app = http_app(Zebra={"route": "a/literal"}, aardvark={"route": "a/{any}"})

    assert _found(load_app(app), "GET", "/api/a/literal") == "aardvark"


@pytest.mark.parametrize(("prefix", "path"), [("api", "/api/hello"), ("", "/hello")])
def test_the_default_route_is_the_functions_name(prefix: str, path: str) -> None:
    """The default is any method, and the app's authorization level. The prefix can be empty."""
    functions = load_app(http_app(hello={}), prefix)

    assert _found(functions, "PATCH", path) == "hello"
    served = functions.served["hello"]
    assert isinstance(served, HttpFunction)
    assert served.auth_level is AuthLevel.FUNCTION


def test_a_schedule_can_come_from_a_setting() -> None:
    """The setting's name is between percent signs."""
    sweep = load_app(timer_app("%SCHEDULE%"), SCHEDULE="0 */5 * * * *").served["sweep"]

    assert isinstance(sweep, TimerFunction)
    assert sweep.schedule.expression == "0 */5 * * * *"


@pytest.mark.parametrize(
    ("app", "name", "reason"),
    [
        (timer_app("%MISSING%"), "sweep", "'%MISSING%' does not resolve to a value"),
        (timer_app("hourly"), "sweep", "6 are required"),
        (http_app(bad={"route": "admin/x"}), "bad", "built in routes"),
        (queue_app(), "on_message", "queueTrigger"),
    ],
)
def test_a_function_in_error_does_not_affect_the_others(
    app: func.FunctionApp, name: str, reason: str
) -> None:
    """Its schedule, route or trigger is invalid, or not supported here."""
    app.function_name("good")(app.route("x")(lambda req: func.HttpResponse()))

    functions = load_app(app)

    assert list(functions.served) == ["good"]
    assert functions.errors.keys() == {name}
    assert reason in functions.errors[name]


@pytest.mark.parametrize(
    ("setting", "value", "disabled"),
    [
        ("AzureWebJobs.sweep.Disabled", "true", True),
        ("AzureWebJobs.sweep.Disabled", "True", True),
        ("AzureWebJobs_sweep_Disabled", "1", True),
        ("AzureWebJobs.sweep.Disabled", "false", False),
        ("AzureWebJobs.other.Disabled", "true", False),
    ],
)
def test_a_setting_can_disable_a_function(setting: str, value: str, disabled: bool) -> None:
    """The setting's name contains the function's name."""
    functions = load_app(timer_app("0 0 0 * * *"), **{setting: value})

    assert functions.served["sweep"].disabled is disabled
