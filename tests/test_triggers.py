"""What the app tells the host about its functions, which is all that the host knows of it."""

import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from azure.functions.decorators.function_app import Function

ENTRY = Path(__file__).parent.parent / "function_app.py"

# Every HTTP function: its method, its route, and who may call it.
HTTP = {
    "create_identity": ("POST", "identities", "function"),
    "create_identity_with_token": ("POST", "identities/with-token", "function"),
    "issue_token": ("POST", "identities/{id}/tokens", "function"),
    "revoke_tokens": ("DELETE", "identities/{id}/tokens", "function"),
    "delete_identity": ("DELETE", "identities/{id}", "function"),
    "list_identities": ("GET", "identities", "function"),
    "get_identity": ("GET", "identities/{id}", "function"),
    "list_deleted_identities": ("GET", "deleted-identities", "function"),
    "get_deleted_identity": ("GET", "deleted-identities/{id}", "function"),
    "restore_identity": ("POST", "deleted-identities/{id}/restore", "function"),
    "purge_identity": ("DELETE", "deleted-identities/{id}", "function"),
    "exchange_teams_token": ("POST", "teams/token", "function"),
    "get_me": ("GET", "me", "anonymous"),
    "issue_my_token": ("POST", "me/tokens", "anonymous"),
    "revoke_my_tokens": ("DELETE", "me/tokens", "anonymous"),
    "delete_me": ("DELETE", "me", "anonymous"),
    "restore_me": ("POST", "me/restore", "anonymous"),
    "exchange_my_teams_token": ("POST", "me/teams-token", "anonymous"),
    "health": ("GET", "health", "anonymous"),
    "ready": ("GET", "ready", "function"),
    "openapi": ("GET", "openapi.json", "function"),
}

# Every other function, by its trigger.
OTHERS = {"purge_deleted_identities": "timerTrigger", "warmup": "warmupTrigger"}


def entry() -> Any:
    """The entry file as a module of its own: an app tells its functions only once."""
    spec = importlib.util.spec_from_file_location("entry_file_under_test", ENTRY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def functions() -> dict[str, Function]:
    """Every function of the app, by its name."""
    return {one.get_function_name(): one for one in entry().app.get_functions()}


def bindings(function: Function) -> list[dict[str, Any]]:
    """What the host is told about a function."""
    found: list[dict[str, Any]] = function.get_bindings_dict()["bindings"]
    return found


def code(function: Function) -> Callable[..., Any]:
    """The function itself."""
    found: Callable[..., Any] = function.get_user_function()
    return found


def test_every_function_is_known(functions: dict[str, Function]) -> None:
    """The app has these functions and no others."""
    names = set(functions)

    assert names == {*HTTP, *OTHERS}


def test_one_app() -> None:
    """The entry file shows exactly one app: with two the host finds none."""
    apps = [value for value in vars(entry()).values() if isinstance(value, func.FunctionApp)]

    assert len(apps) == 1


@pytest.mark.parametrize("name", HTTP)
def test_http(name: str, functions: dict[str, Function]) -> None:
    """An HTTP function has one method, its route and its level."""
    trigger = bindings(functions[name])[0]
    methods = ",".join(method.value for method in trigger["methods"])

    assert (methods, trigger["route"], trigger["authLevel"].value) == HTTP[name]


@pytest.mark.parametrize("name", HTTP)
def test_http_trigger(name: str, functions: dict[str, Function]) -> None:
    """An HTTP function is triggered by a request and returns the answer, and nothing besides."""
    kinds = [(binding["type"], binding["name"]) for binding in bindings(functions[name])]

    assert kinds == [("httpTrigger", "req"), ("http", "$return")]


@pytest.mark.parametrize(("name", "trigger"), list(OTHERS.items()))
def test_other_trigger(name: str, trigger: str, functions: dict[str, Function]) -> None:
    """A function that serves no request has its trigger alone."""
    kinds = [binding["type"] for binding in bindings(functions[name])]

    assert kinds == [trigger]


def test_sweep(functions: dict[str, Function]) -> None:
    """The sweep runs on the schedule that the settings give, and not at every start."""
    trigger = bindings(functions["purge_deleted_identities"])[0]

    assert (trigger["schedule"], trigger["runOnStartup"]) == ("%CLEANUP_SCHEDULE%", False)


@pytest.mark.parametrize("name", [*HTTP, *OTHERS])
def test_parameters_are_bindings(name: str, functions: dict[str, Function]) -> None:
    """Every parameter is a binding: one that is none hides the whole app from the host."""
    parameters = set(inspect.signature(code(functions[name])).parameters)

    # The invocation's context is no binding; the worker gives it to who asks for it by this name.
    assert parameters - {"context"} == {
        binding["name"] for binding in bindings(functions[name])
    } - {"$return"}


@pytest.mark.parametrize("name", HTTP)
def test_http_returns_a_response(name: str, functions: dict[str, Function]) -> None:
    """An HTTP function is annotated with exactly the type that the worker accepts."""
    annotation = inspect.signature(code(functions[name])).return_annotation

    assert annotation is func.HttpResponse


@pytest.mark.parametrize("name", OTHERS)
def test_others_return_nothing(name: str, functions: dict[str, Function]) -> None:
    """A function without an answer is annotated so."""
    annotation = inspect.signature(code(functions[name])).return_annotation

    assert annotation is None


@pytest.mark.parametrize("name", [*HTTP, *OTHERS])
def test_runs_in_the_event_loop(name: str, functions: dict[str, Function]) -> None:
    """Every function is async: the clients belong to the worker's event loop."""
    function = code(functions[name])

    assert inspect.iscoroutinefunction(function)


@pytest.mark.parametrize("name", [*HTTP, *OTHERS])
def test_is_described(name: str, functions: dict[str, Function]) -> None:
    """Every function says in a sentence what it does."""
    text = inspect.getdoc(code(functions[name])) or ""

    assert text.endswith(".")


@pytest.mark.parametrize("name", HTTP)
def test_route_is_not_the_host_s(name: str, functions: dict[str, Function]) -> None:
    """No route begins with a word that the host keeps for itself."""
    route = bindings(functions[name])[0]["route"]

    assert not route.startswith(("admin", "runtime"))
