"""openapi.json is up to date and valid, and it promises exactly the problems that are raised."""

import ast
import difflib
import inspect
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from identity_service import errors
from identity_service import operations as operations_package
from identity_service.access_lifecycle import TeamsAccess
from identity_service.errors import ServiceError
from identity_service.http.decoding import decode_body
from identity_service.lifecycle import Lifecycle
from identity_service.operations.status import DOCUMENT
from identity_service.schemas import CreateIdentityRequest
from tests.support.errors import service_errors
from tools.openapi.document import ROOT, Route, current, operations, routes
from tools.openapi.json_schemas import section
from tools.openapi.problems import problems

CONTRACT = ROOT / "tests" / "contract"
REDOCLY = CONTRACT / "node_modules" / "@redocly" / "cli" / "bin" / "cli.js"
OPERATIONS = operations()
# ACS raises these, and the operations let them through.
FROM_ACS = {errors.IdentityNotFound, errors.TeamsTokenRefused, errors.AssignmentRefused}
# The result of one record of an import only. No response has it as its problem.
OF_ONE_RECORD = {(409, "teams_access_being_removed")}
# What an operation may call, by the name of its parameter.
STEPS = {"lifecycle": Lifecycle, "teams_access": TeamsAccess}


@pytest.fixture(scope="module")
def committed() -> Any:
    """The committed document."""
    return json.loads(DOCUMENT.read_text("utf-8"))


def test_document_is_up_to_date() -> None:
    """The committed document is what `make openapi` writes: each change of the API is visible."""
    before, after = DOCUMENT.read_text("utf-8").splitlines(), current().splitlines()

    changes = list(difflib.unified_diff(before, after, "openapi.json", "the app", lineterm=""))

    assert not changes, "\n".join(["The API has changed:", *changes])


def test_document_is_valid(committed: Any) -> None:
    """The document is valid OpenAPI 3.1."""
    validate(committed)
    assert committed["openapi"] == "3.1.0"


def test_linter_finds_nothing() -> None:
    """The linter reports no error and no warning."""
    node = shutil.which("node")
    assert node

    linted = subprocess.run(  # noqa: S603 -- our own linter, pinned
        [node, REDOCLY, "lint", DOCUMENT, "--config", CONTRACT / "redocly.yaml", "--format=json"],
        capture_output=True,
        check=False,
        cwd=CONTRACT,
        env={"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
        text=True,
    )

    assert json.loads(linted.stdout)["problems"] == [], linted.stdout


def test_every_http_function_is_documented(committed: Any) -> None:
    """The document has every HTTP function with its route and its method, and no other."""
    documented = {
        (operation["operationId"], method.upper(), path)
        for path, methods in committed["paths"].items()
        for method, operation in methods.items()
    }

    assert documented == {(each.name, each.method, f"/{each.path}") for each in routes()}


def test_both_ways_of_services_are_documented(committed: Any) -> None:
    """An operation for services takes a key or its app roles. No other operation does."""
    documented = {each["operationId"]: each["security"] for each in _operations(committed)}
    keys: list[Any] = [{"functionKey": []}, {"functionKeyInQuery": []}]

    assert {name: security for name, security in documented.items() if keys[0] in security} == {
        route.name: [*keys, {"appRoles": list(route.roles)}] for route in routes() if route.roles
    }


@pytest.mark.parametrize("route", list(routes()), ids=lambda route: route.name)
def test_refusals_of_callers_are_documented(committed: Any, route: Route) -> None:
    """Every operation that is not public says what happens to callers that may not call it."""
    responses = committed["paths"][f"/{route.path}"][route.method.lower()]["responses"]
    described = {
        (status, code)
        for status in ("401", "403")
        for code in re.findall(
            r"`(\w+)`: ", _resolved(committed, responses.get(status, {})).get("description", "")
        )
    }
    refusals = {("401", "not_signed_in"), ("403", "not_allowed"), ("403", "sign_in_not_enabled")}

    assert (described & refusals) == (set() if route.name == "health" else refusals)


def test_every_problem_is_documented(committed: Any) -> None:
    """Each error is described in a response of its status."""
    described = {
        (int(status), code)
        for operation in _operations(committed)
        for status, response in operation["responses"].items()
        for code in re.findall(r"`(\w+)`: ", _resolved(committed, response)["description"])
    }

    assert described == {(kind.status, kind.code) for kind in service_errors()} - OF_ONE_RECORD


@pytest.mark.parametrize("status", [401, 500, 503])
def test_platform_is_documented(committed: Any, status: int) -> None:
    """Every operation says that the platform sends this status too, without the app's headers."""
    responses = [
        _resolved(committed, operation["responses"][str(status)])
        for operation in _operations(committed)
    ]

    assert all("The platform sends this" in response["description"] for response in responses)
    assert not any(
        header["$ref"] == "#/components/headers/CacheControl"
        for response in responses
        for header in response.get("headers", {}).values()
    )


def test_401_can_be_empty(committed: Any) -> None:
    """No operation promises a body with 401: the platform sends none for an expired token."""
    responses = [_resolved(committed, each["responses"]["401"]) for each in _operations(committed)]

    assert not any("content" in response for response in responses)


def test_only_requests_have_nulls(committed: Any) -> None:
    """Exactly the optional fields of requests may be null. A response leaves a field out."""
    nullable = {
        (name, field)
        for name, schema in committed["components"]["schemas"].items()
        for field, one in schema.get("properties", {}).items()
        if "null" in one.get("type", [])
    }

    assert nullable == {
        ("CreateIdentity", "userId"),
        ("RegisterIdentity", "userId"),
        ("ImportRecord", "userId"),
        ("CreateIdentityWithToken", "userId"),
        ("CreateIdentityWithToken", "expiresInMinutes"),
        ("IssueToken", "expiresInMinutes"),
        ("IssueMyToken", "scopes"),
        ("IssueMyToken", "expiresInMinutes"),
        ("AssignTeamsAccess", "clientIds"),
        ("AssignTeamsAccess", "expiresOn"),
        ("ImportTeamsAccessRecord", "expiresOn"),
    }
    assert json.dumps(committed).count('"null"') == len(nullable)


@pytest.mark.parametrize("name", OPERATIONS)
def test_limits_are_documented(name: str) -> None:
    """Each operation has the limits that apply to it: the user's budget, and the running calls."""
    documented = problems(OPERATIONS[name])
    path = next(route.path for route in routes() if route.name == name)

    assert (errors.TooManyCalls in documented) == (path.split("/")[0] == "me")
    assert (errors.Overloaded in documented) == (name not in {"health", "openapi", "ready"})


@given(st.text(max_size=300) | st.sampled_from(["8:acs:a", "8%3aacs:a", "\ufeffa", "a\n", "a b"]))
def test_pattern_of_user_ids(user_id: str) -> None:
    """The document describes exactly the user ids that a request may have."""
    schema = json.loads(DOCUMENT.read_text("utf-8"))["components"]["schemas"]["CreateIdentity"]
    field = schema["properties"]["userId"]
    body = msgspec.json.encode({"userId": user_id})

    # A pattern of ECMA 262: `$` does not match before a line end.
    matches = re.search(field["pattern"].removesuffix("$") + r"\Z", user_id)
    is_valid = matches and field["minLength"] <= len(user_id) <= field["maxLength"]
    if is_valid:
        decode_body(body, CreateIdentityRequest)
    else:
        with pytest.raises(ServiceError):
            decode_body(body, CreateIdentityRequest)


@pytest.mark.parametrize("name", OPERATIONS)
def test_raises_is_complete_and_true(name: str) -> None:
    """A docstring names exactly the errors that the code of the operation and its steps raise."""
    operation = OPERATIONS[name]
    named = {getattr(errors, each) for each in section(operation.__doc__ or "", "Raises")}
    by_parameter = set(problems(operation)) - named
    raised = {_as_callers_see_it(kind) for kind in _raised(operation)}

    assert (raised - named - by_parameter, named - raised - FROM_ACS) == (set(), set())


def test_analysis_finds_what_is_raised() -> None:
    """The analysis follows the steps of the lifecycle, so the test above is not empty."""
    assert {kind.__name__ for kind in _raised(OPERATIONS["issue_token"])} == {
        "IdentityDeleted",
        "IdentityGone",
        "IdentityNotFound",
        "IdentityNotKnownYet",
        "IdentityNotReadable",
        "IdentitySuspended",
        "IdentityUnfinished",
    }
    assert errors.PurgeProtected in set(_raised(OPERATIONS["purge_identity"]))
    assert errors.IdentityBusy in set(_raised(OPERATIONS["issue_my_token"]))


def _as_callers_see_it(kind: type[ServiceError]) -> type[ServiceError]:
    """The class that has the code: a subclass without one is for our own use."""
    return next(base for base in kind.__mro__ if "code" in vars(base))


def _raised(function: Callable[..., Any]) -> Iterator[type[ServiceError]]:
    """The errors that a function creates, or any function of ours that it uses."""
    seen: set[object] = set()
    waiting: list[Any] = [function]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        module = inspect.getmodule(current)
        assert module
        steps = getattr(module, current.__qualname__.partition(".")[0], None)
        for node in _own_nodes(ast.parse(dedent(inspect.getsource(current))).body[0]):
            if isinstance(node, ast.Call):
                yield from _created(node, module)
            waiting += _used(node, module, STEPS | {"self": steps})


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What a function consists of. A coroutine inside it is the work on one record of an import.

    Its errors become results.
    """
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.AsyncFunctionDef):
            yield from _own_nodes(child)


def _created(call: ast.Call, module: ModuleType) -> Iterator[type[ServiceError]]:
    """The error that this call creates, if it does: `Error(…)` or `Error.of(…)`."""
    called = call.func.value if isinstance(call.func, ast.Attribute) else call.func
    kind = getattr(module, called.id, None) if isinstance(called, ast.Name) else None
    if isinstance(kind, type) and issubclass(kind, ServiceError):
        yield kind


def _used(node: ast.AST, module: ModuleType, steps: Mapping[str, object]) -> Iterator[FunctionType]:
    """The function of the operations or of their steps that this node names, if it does."""
    match node:
        case ast.Name(id=name):
            found = getattr(module, name, None)
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in steps:
            found = getattr(steps[owner], name, None)
        case _:
            return
    found = inspect.unwrap(found) if isinstance(found, FunctionType) else None
    ours = (operations_package.__name__, *(each.__module__ for each in STEPS.values()))
    if found and found.__module__.startswith(ours):
        yield found


def _operations(document: Any) -> Iterator[Any]:
    for methods in document["paths"].values():
        yield from methods.values()


def _resolved(document: Any, response: Any) -> Any:
    """The response, or the shared one that it refers to."""
    name = response.get("$ref", "").rpartition("/")[2]
    return document["components"]["responses"][name] if name else response
