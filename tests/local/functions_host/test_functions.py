"""Facts about what the host makes of an app's functions."""

from typing import Any

import azure.functions as func
import pytest

from local.functions_host.functions import Functions, HttpFunction, TimerFunction, load
from local.functions_host.indexing import read_function
from local.functions_host.keys import AuthLevel


def load_app(app: func.FunctionApp, prefix: str = "api", **settings: str) -> Functions:
    """The app's functions, loaded as at start."""
    return load([read_function(each) for each in app.get_functions()], prefix, settings)


def http_app(**functions: dict[str, Any]) -> func.FunctionApp:
    """An app of HTTP functions: by name, the arguments of their route."""

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


def _found(functions: Functions, method: str, path: str) -> str | None:
    found = functions.router.find(method, path)
    return found[0].code.name if found else None


def test_routes_are_tried_in_the_order_of_function_names() -> None:
    """Whatever their order in the file, and in any case."""
    app = http_app(Zebra={"route": "a/literal"}, aardvark={"route": "a/{any}"})

    assert _found(load_app(app), "GET", "/api/a/literal") == "aardvark"


def test_a_function_without_a_route_has_its_name_for_one() -> None:
    """And without methods takes all of them, at the level of the app."""
    functions = load_app(http_app(hello={}))

    assert _found(functions, "PATCH", "/api/hello") == "hello"
    served = functions.served["hello"]
    assert isinstance(served, HttpFunction)
    assert served.auth_level is AuthLevel.FUNCTION


def test_the_prefix_may_be_empty() -> None:
    """Then routes begin at the root."""
    assert _found(load_app(http_app(hello={}), prefix=""), "GET", "/hello") == "hello"


def test_a_function_in_error_leaves_the_others_running() -> None:
    """Its name comes with the reason."""
    functions = load_app(http_app(bad={"route": "admin/x"}, good={"route": "x"}))

    assert list(functions.served) == ["good"]
    assert "built in routes" in functions.errors["bad"]


def test_a_setting_is_put_into_the_schedule() -> None:
    """Where it stands between percent signs."""
    sweep = load_app(timer_app("%SCHEDULE%"), SCHEDULE="0 */5 * * * *").served["sweep"]

    assert isinstance(sweep, TimerFunction)
    assert sweep.schedule.expression == "0 */5 * * * *"


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [("%MISSING%", "'%MISSING%' does not resolve to a value"), ("hourly", "6 are needed")],
)
def test_a_timer_without_a_schedule_is_in_error(schedule: str, reason: str) -> None:
    """An unresolved setting or a malformed expression."""
    functions = load_app(timer_app(schedule))

    assert functions.served == {}
    assert reason in functions.errors["sweep"]


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
def test_a_setting_disables_a_function(setting: str, value: str, disabled: bool) -> None:
    """By its name."""
    functions = load_app(timer_app("0 0 0 * * *"), **{setting: value})

    assert functions.served["sweep"].disabled is disabled


def test_other_triggers_and_bindings_are_in_error() -> None:
    """They are not supported here, and it is said rather than left out."""

    def on_message(message: str) -> None:
        return None

    app = func.FunctionApp()
    app.queue_trigger(arg_name="message", queue_name="q", connection="C")(on_message)

    assert "queueTrigger" in load_app(app).errors["on_message"]
