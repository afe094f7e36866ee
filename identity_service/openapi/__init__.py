"""The OpenAPI document, from the routes and the types. Nobody imports this to serve a request.

An operation tells what it answers by its parameters, its return annotation and the `Raises` of its
docstring.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from identity_service import errors, operations
from identity_service.contract import Health, Page, Problem
from identity_service.errors import ServiceError
from identity_service.model import Listing
from identity_service.openapi import parts
from identity_service.openapi.schemas import (
    Json,
    components,
    inline,
    problem_schema,
    reference,
    section,
    summary,
)

Errors = dict[type[ServiceError], str]
Operation = Callable[..., Any]

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

# What may go wrong with each thing that an operation takes.
_BY_PARAMETER: dict[str, list[type[ServiceError]]] = {
    "identity_id": [errors.InvalidIdentityId],
    "caller": [errors.NotSignedIn, errors.SignInNotEnabled],
    "query": [errors.InvalidQuery],
    "body": [errors.InvalidJson, errors.InvalidBody, errors.BodyTooLarge],
    # ACS refuses by rules of its own too: even what has no body may not be valid to it.
    "acs": [errors.InvalidBody, errors.Throttled, errors.AcsRefusedUs, errors.AcsUnavailable],
    "registry": [errors.RegistryUnavailable],
    "service_tokens": [errors.NotAllowed],
    "user_tokens": [errors.NotAllowed],
}
_ALWAYS = [errors.NotConfigured, errors.InternalError, errors.AcsTooSlow]


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
            "responses": _shared_answers(paths, kinds),
            "parameters": parts.PARAMETERS,
            "headers": parts.HEADERS,
            "securitySchemes": parts.SECURITY_SCHEMES,
        },
    }


def problems(operation: Operation) -> Errors:
    """Every problem that an operation can answer, and what it means there."""
    found: Errors = {}
    for name in get_type_hints(operation):
        found |= {kind: summary(kind) for kind in _BY_PARAMETER.get(name, [])}
    found |= {kind: summary(kind) for kind in _ALWAYS}
    for name, said in section(operation.__doc__ or "", "Raises").items():
        found[getattr(errors, name)] = f"{said[0].upper()}{said[1:]}"
    return found


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
    return Page[member]  # type: ignore[valid-type]


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
        answers[str(code)] = _refusal(of_status, answers.get(str(code)))
    return answers


def _refusal(found: Errors, success: Json | None) -> Json:
    """The answer with one of these problems of one status, which may be another answer's too."""
    if success:
        answer = _problem_answer(found)
        content = success["content"] | answer["content"]
        described = f"{success['description']}\n\n{answer['description']}"
        return {**answer, "description": described, "content": content}
    if len(found) == 1:
        [(kind, said)] = found.items()
        if said == summary(kind):
            return {"$ref": f"#/components/responses/{kind.__name__}"}
    return _problem_answer(found)


def _problem_answer(found: Errors) -> Json:
    told = [f"`{kind.code}`: {said}" for kind, said in found.items()]
    schemas = [reference(kind) for kind in found]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    [status] = {kind.status for kind in found}
    return parts.answer("\n\n".join(told), _headers(status), {PROBLEM_JSON: {"schema": schema}})


def _shared_answers(paths: Json, kinds: Iterable[type[ServiceError]]) -> Json:
    """The answers that operations refer to: a problem in the words of its own class."""
    used = str(paths)
    return {
        kind.__name__: _problem_answer({kind: summary(kind)})
        for kind in kinds
        if f"#/components/responses/{kind.__name__}'" in used
    }


def _headers(status: int) -> Json:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": parts.header("Authenticate")}
        case HTTPStatus.TOO_MANY_REQUESTS:
            return {"Retry-After": parts.header("RetryAfter")}
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": parts.header("RetryAfterIfKnown")}
        case _:
            return {}


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
