"""The OpenAPI document, from the routes and the types. Nobody imports this to serve a request.

An operation tells what it answers by its parameters, its return annotation and the `Raises` of its
docstring.
"""

from collections.abc import Iterable
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from identity_service import operations
from identity_service.contract import Health, Page, Problem
from identity_service.model import Listing
from identity_service.openapi import parts
from identity_service.openapi.refusals import (
    Errors,
    Operation,
    problem_schema,
    problems,
    refusal,
    shared_answers,
)
from identity_service.openapi.schemas import (
    Json,
    components,
    inline,
    reference,
    summary,
)

JSON = "application/json"


class Route(NamedTuple):
    """A function as the host serves it.

    Attributes:
        name: Its name, which is its operation's too.
        method: In upper case.
        path: Below the prefix, as in `identities/{id}`.
        with_key: Whether it wants a function key.
        summary: What it does, in a sentence.
    """

    name: str
    method: str
    path: str
    with_key: bool
    summary: str


def document(routes: Iterable[Route], version: str) -> Json:
    """The document of an app with these routes, in their order."""
    paths: Json = {}
    types: set[Any] = {Problem, Health}
    kinds: Errors = {}
    for route in routes:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _function(route)
        if operation := _operation(route.name):
            types |= _types(operation)
            kinds |= problems(operation)
    told = {kind.__name__: problem_schema(kind) for kind in kinds}
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
            "schemas": dict(sorted((components(types) | told).items())),
            "responses": shared_answers(paths, kinds),
            "parameters": parts.PARAMETERS,
            "headers": parts.HEADERS,
            "securitySchemes": parts.SECURITY_SCHEMES,
        },
    }


def _operation(name: str) -> Operation | None:
    """The operation of a function. The function has none where there is no more to it."""
    found: Operation | None = getattr(operations, name, None)
    return found


def _function(route: Route) -> Json:
    operation = _operation(route.name)
    found: Json = {
        "operationId": route.name,
        "tags": [parts.tag(route.path)],
        "summary": route.summary.removesuffix("."),
        "description": summary(operation) if operation else route.summary,
        "security": _security(route),
    }
    parameters = _parameters(route, operation)
    if parameters:
        found["parameters"] = parameters
    if operation and (body := get_type_hints(operation).get("body")):
        found["requestBody"] = _request_body(body)
    answers = _answers(operation) if operation else _PLAIN[route.name]()
    if route.with_key:
        answers["401"] = parts.KEY_REFUSED
    return {**found, "responses": dict(sorted(answers.items()))}


def _security(route: Route) -> list[Json]:
    if route.with_key:
        return [{"functionKey": []}, {"functionKeyInQuery": []}]
    return [{"signIn": []}] if parts.tag(route.path) == "Me" else []


def _parameters(route: Route, operation: Operation | None) -> list[Json]:
    named = [{"$ref": "#/components/parameters/id"}] if "{id}" in route.path else []
    query = get_type_hints(operation).get("query") if operation else None
    if query is None:
        return named
    schema = inline(query)
    [members] = schema["$defs"].values()
    return [
        {"name": name, "in": "query", "description": member["description"], "schema": member}
        for name, member in members["properties"].items()
    ]


def _request_body(kind: type[msgspec.Struct]) -> Json:
    required = any(field.required for field in msgspec.structs.fields(kind))
    return {"required": required, "content": {JSON: {"schema": reference(kind)}}}


def _returned(operation: Operation) -> list[Any]:
    """The types that an operation answers; `NoneType` for none at all."""
    annotation = get_type_hints(operation)["return"]
    if get_origin(annotation) in (Union, UnionType):
        return list(get_args(annotation))
    return [annotation]


def _sent(kind: Any) -> Any:
    """The type that goes out for one that an operation returns: a page for a listing."""
    if get_origin(kind) is not Listing:
        return kind
    [member] = get_args(kind)
    return Page[member]  # type: ignore[valid-type]  # known at run time only


def _types(operation: Operation) -> set[Any]:
    body = get_type_hints(operation).get("body")
    sent = {_sent(kind) for kind in _returned(operation)} - {NoneType}
    return sent | {body} if body else sent


def _answers(operation: Operation) -> Json:
    answers: Json = {}
    for kind in _returned(operation):
        status = HTTPStatus.NO_CONTENT if kind is NoneType else HTTPStatus(kind.status)
        content = {} if kind is NoneType else {JSON: {"schema": reference(_sent(kind))}}
        headers = {"Location": parts.header("Location")} if status == HTTPStatus.CREATED else {}
        answers[str(int(status))] = parts.answer(parts.SUCCESS[status], headers, content)
    found = problems(operation)
    for code in sorted({kind.status for kind in found}):
        of_status = {kind: said for kind, said in found.items() if kind.status == code}
        answers[str(code)] = refusal(of_status, answers.get(str(code)))
    return answers


def _health() -> Json:
    content = {JSON: {"schema": reference(Health)}}
    return {
        "200": parts.answer("The app is configured.", {}, content),
        "503": parts.answer("The app is not configured; its log says why.", {}, content),
    }


def _openapi() -> Json:
    content = {JSON: {"schema": {"type": "object"}}}
    return {"200": parts.answer("This document.", {}, content)}


# The functions without an operation.
_PLAIN = {"health": _health, "openapi": _openapi}
