"""What the app tells the host about its functions: one for each operation."""

import inspect
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import azure.functions as func
import pytest

from tools.openapi.document import operations

ROOT = Path(__file__).parent.parent
ENTRY = ROOT / "function_app.py"
# The operation that no request calls.
SWEEP = "purge_deleted_identities"


class Function(NamedTuple):
    """A function as the host sees it."""

    code: Any
    bindings: list[dict[str, Any]]

    @property
    def trigger(self) -> dict[str, Any]:
        """Its trigger, with the values that the host reads."""
        return self.bindings[0]


def load() -> dict[str, Function]:
    """The functions of the app, by name."""
    functions = runpy.run_path(str(ENTRY))["app"].get_functions()
    return {
        each.get_function_name(): Function(
            each.get_user_function(), [json.loads(text) for text in each.get_raw_bindings()]
        )
        for each in functions
    }


FUNCTIONS = load()
HTTP = {name: each for name, each in FUNCTIONS.items() if each.trigger["type"] == "httpTrigger"}
each_function = pytest.mark.parametrize("name", FUNCTIONS)
each_http_function = pytest.mark.parametrize("name", HTTP)


def test_every_operation_has_a_trigger() -> None:
    """An operation without a row in function_app.py could not be called."""
    assert set(HTTP) == set(operations())


@pytest.mark.parametrize("name", [*operations(), SWEEP])
def test_every_operation_has_a_test_module(name: str) -> None:
    """An operation needs a module of tests, with at least one test."""
    source = (ROOT / "tests" / "operations" / f"test_{name}.py").read_text("utf-8")

    assert "def test_" in source


@pytest.mark.parametrize("name", [*operations(), SWEEP])
def test_the_tests_of_an_operation_fail_if_it_returns_a_constant(name: str) -> None:
    """The test module of an operation tests what the operation does."""
    module = ROOT / "tests" / "operations" / f"test_{name}.py"

    run = subprocess.run(  # noqa: S603 -- our own tests
        [
            *(sys.executable, "-m", "pytest", str(module), "--exitfirst", "--quiet"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", f"--constant-operation={name}"),
        ],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )

    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout


def test_the_host_sees_one_app() -> None:
    """With two apps in the entry file, the host would find no function."""
    apps = [
        value
        for value in runpy.run_path(str(ENTRY)).values()
        if isinstance(value, func.FunctionApp)
    ]

    assert len(apps) == 1


@each_http_function
def test_an_http_function_has_a_request_and_a_response(name: str) -> None:
    """An HTTP function has exactly these two bindings."""
    bindings = [(each["type"], each["name"]) for each in HTTP[name].bindings]

    assert bindings == [("httpTrigger", "req"), ("http", "$return")]


@each_http_function
def test_an_http_function_has_one_method(name: str) -> None:
    """Each operation has one method. Those for monitoring also accept HEAD."""
    method, *more = HTTP[name].trigger["methods"]

    assert method in {"GET", "POST", "PUT", "DELETE"}
    assert more == (["HEAD"] if name in {"health", "ready"} else [])


def test_no_two_functions_share_a_route() -> None:
    """The host calls the first function that matches a route."""
    routes = [
        (each.trigger["route"], method)
        for each in HTTP.values()
        for method in each.trigger["methods"]
    ]

    assert len(routes) == len(set(routes))


@each_http_function
def test_functions_without_a_key_are_those_for_users_and_probes(name: str) -> None:
    """Only the operations of signed-in users, and `health`, are open to callers without a key."""
    trigger = HTTP[name].trigger
    is_open = trigger["route"].partition("/")[0] in {"me", "health"}

    assert trigger["authLevel"] == ("ANONYMOUS" if is_open else "FUNCTION")


@each_http_function
def test_the_host_does_not_reserve_the_route(name: str) -> None:
    """The host refuses routes that begin with these words."""
    assert not HTTP[name].trigger["route"].startswith(("admin", "runtime"))


@pytest.mark.parametrize(
    ("name", "trigger"), [(SWEEP, "timerTrigger"), ("warmup", "warmupTrigger")]
)
def test_a_function_for_the_host_has_only_its_trigger(name: str, trigger: str) -> None:
    """A function that serves no request has one binding."""
    assert [each["type"] for each in FUNCTIONS[name].bindings] == [trigger]


def test_the_sweep_runs_on_the_schedule_of_the_settings() -> None:
    """It does not run at every start of the app."""
    trigger = FUNCTIONS[SWEEP].trigger

    assert (trigger["schedule"], trigger["runOnStartup"]) == ("%CLEANUP_SCHEDULE%", False)


@each_function
def test_every_parameter_is_a_binding(name: str) -> None:
    """One parameter that is not a binding would hide the whole app from the host."""
    function = FUNCTIONS[name]
    parameters = set(inspect.signature(function.code).parameters)
    bindings = {each["name"] for each in function.bindings}

    # The worker passes the invocation's context to a parameter with this name.
    assert parameters - {"context"} == bindings - {"$return"}


@each_function
def test_the_return_annotation_is_what_the_worker_accepts(name: str) -> None:
    """An HTTP function returns `HttpResponse`, every other function None."""
    expected = func.HttpResponse if name in HTTP else None

    assert inspect.signature(FUNCTIONS[name].code).return_annotation is expected


@each_function
def test_a_function_runs_in_the_event_loop(name: str) -> None:
    """The clients belong to the worker's event loop, so every function is async."""
    assert inspect.iscoroutinefunction(FUNCTIONS[name].code)


@each_function
def test_a_function_has_a_summary(name: str) -> None:
    """The summary is one sentence."""
    text = inspect.getdoc(FUNCTIONS[name].code) or ""

    assert text.endswith(".")
    assert "\n" not in text
