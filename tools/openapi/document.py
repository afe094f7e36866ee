"""The OpenAPI document of the app, from its triggers and its operations.

An operation says what it takes by its parameters, what it returns by its annotation, and which
problems it causes by the section `Raises` of its docstring.
"""

import inspect
import json
import pkgutil
import re
import runpy
import tomllib
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from identity_service import operations as package
from identity_service.identity import Page
from identity_service.policies import Role
from identity_service.schemas import PageResponse, Problem
from tools.openapi import parts
from tools.openapi.json_schemas import Json, components, inline, reference, summary
from tools.openapi.problems import (
    Errors,
    Operation,
    problem_response,
    problem_schema,
    problems,
    shared_responses,
)

ROOT = Path(__file__).parents[2]
JSON = "application/json"


class Route(NamedTuple):
    """An HTTP trigger.

    Attributes:
        name: The name of the function, which is also the name of its operation.
        method: In upper case.
        path: Without the prefix, as in `identities/{id}`.
        roles: The app roles that a service needs. Empty if it is not for services.
    """

    name: str
    method: str
    path: str
    roles: tuple[Role, ...] = ()


def current() -> str:
    """The document of the app, as the text of openapi.json."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    content = document(routes(), project["version"])
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def routes() -> Iterator[Route]:
    """The HTTP triggers of the app, in their order."""
    entry = runpy.run_path(str(ROOT / "function_app.py"))
    for function in entry["app"].get_functions():
        trigger = json.loads(function.get_raw_bindings()[0])
        if trigger["type"] == "httpTrigger":
            method, *_ = trigger["methods"]  # HEAD, the second one, needs no documentation
            name = str(function.get_function_name())
            roles = entry["service"].roles.get(name, ())
            yield Route(name, method, trigger["route"], roles)


def operations() -> dict[str, Operation]:
    """Every operation in `identity_service.operations`, by name."""
    modules = [
        import_module(f"{package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(package.__path__)
    ]
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.iscoroutinefunction(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


def document(routes: Iterable[Route], version: str) -> Json:
    """The document of an app with these routes, in their order."""
    by_name = operations()
    paths: Json = {}
    types: set[Any] = {Problem}
    kinds: Errors = {}
    for route in routes:
        operation = by_name[route.name]
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route, operation)
        types |= _types(operation)
        kinds |= problems(operation, route.roles)
    responses = shared_responses(paths, kinds)
    used = str((paths, responses))
    schemas = components(types) | {
        kind.__name__: problem_schema(kind) for kind in kinds if str(reference(kind)) in used
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ACS identity service",
            "version": version,
            "description": parts.DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api", "description": "The app that serves this document."}],
        "tags": parts.TAGS,
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": responses,
            "parameters": parts.PARAMETERS,
            "headers": parts.HEADERS,
            "securitySchemes": parts.SECURITY_SCHEMES,
        },
    }


def _operation(route: Route, operation: Operation) -> Json:
    described = summary(operation)
    found: Json = {
        "operationId": route.name,
        "tags": [parts.tag(route.path)],
        "summary": (inspect.getdoc(operation) or "").partition("\n")[0].removesuffix("."),
        "description": described,
        "security": _security(route),
    }
    hints = get_type_hints(operation)
    if parameters := _parameters(route, hints.get("query")):
        found["parameters"] = parameters
    if body := hints.get("body"):
        found["requestBody"] = _request_body(body)
    responses = _responses(operation, route.roles)
    refused = {401: parts.KEY_REFUSED} if route.roles else {}
    for status, note in (parts.FROM_PLATFORM | refused).items():
        responses[str(status)] = parts.also_from_platform(responses.get(str(status)), status, note)
    return {**found, "responses": dict(sorted(responses.items()))}


def _security(route: Route) -> list[Json]:
    if route.roles:
        return [{"functionKey": []}, {"functionKeyInQuery": []}, {"appRoles": list(route.roles)}]
    return [{"signIn": []}] if parts.tag(route.path) == "Me" else []


def _parameters(route: Route, query: Any | None) -> list[Json]:
    named = [
        {"$ref": f"#/components/parameters/{name}"} for name in re.findall(r"{(\w+)}", route.path)
    ]
    if query is None:
        return named
    types = inline(query)["$defs"]
    return [
        *named,
        *(
            {
                "name": name,
                "in": "query",
                "description": field["description"],
                "schema": _without_reference(field, types),
            }
            for name, field in types[query.__name__]["properties"].items()
        ),
    ]


def _without_reference(field: Json, types: Json) -> Json:
    """The schema of a parameter: no component has its type."""
    named = types[field["$ref"].rpartition("/")[2]] if "$ref" in field else {}
    return {**named, **{name: value for name, value in field.items() if name != "$ref"}}


def _request_body(kind: type[msgspec.Struct]) -> Json:
    required = any(field.required for field in msgspec.structs.fields(kind))
    return {"required": required, "content": {JSON: {"schema": reference(kind)}}}


def _returned(operation: Operation) -> list[Any]:
    """The types that an operation returns. `NoneType` stands for no content."""
    annotation = get_type_hints(operation)["return"]
    if get_origin(annotation) in (Union, UnionType):
        return list(get_args(annotation))
    return [annotation]


def _sent(kind: Any) -> Any:
    """The type of the body for a type that an operation returns."""
    if get_origin(kind) is not Page:
        return kind
    [item] = get_args(kind)
    return PageResponse[item]  # type: ignore[valid-type]  # known at run time only


def _types(operation: Operation) -> set[Any]:
    body = get_type_hints(operation).get("body")
    sent = {_sent(kind) for kind in _returned(operation)} - {NoneType, msgspec.Raw}
    return sent | {body} if body else sent


def _responses(operation: Operation, roles: tuple[Role, ...]) -> Json:
    responses: Json = {}
    for kind in _returned(operation):
        status, content = HTTPStatus.OK, {}
        if kind is NoneType:
            status = HTTPStatus.NO_CONTENT
        elif kind is msgspec.Raw:
            content = {JSON: {"schema": {"type": "object"}}}
        else:
            status = HTTPStatus(getattr(kind, "http_status", HTTPStatus.OK))
            content = {JSON: {"schema": reference(_sent(kind))}}
        headers = {"Location": parts.header("Location")} if status == HTTPStatus.CREATED else {}
        responses[str(int(status))] = parts.response(parts.SUCCESS[status], headers, content)
    found = problems(operation, roles)
    for code in sorted({kind.status for kind in found}):
        of_status = {kind: meaning for kind, meaning in found.items() if kind.status == code}
        responses[str(code)] = problem_response(of_status, responses.get(str(code)))
    return responses
