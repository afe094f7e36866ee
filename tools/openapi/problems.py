"""The problems that an operation can cause: found, described, and grouped by status."""

from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Any, get_type_hints

import msgspec

from identity_service import errors
from identity_service.errors import ServiceError
from identity_service.policies import Role
from identity_service.schemas import PROBLEMS, Problem
from tools.openapi import parts
from tools.openapi.json_schemas import Json, reference, section, summary

Errors = dict[type[ServiceError], str]
Operation = Callable[..., Any]

PROBLEM_JSON = "application/problem+json"

# ACS also checks requests that this service has accepted, and may find one invalid.
_ACS: list[type[ServiceError]] = [
    errors.InvalidBody,
    errors.Throttled,
    errors.AcsRefusedUs,
    errors.AcsUnavailable,
    errors.Overloaded,
]
_REGISTRY: list[type[ServiceError]] = [errors.RegistryUnavailable, errors.Overloaded]
# The problems that each parameter of an operation can cause.
_BY_PARAMETER: dict[str, list[type[ServiceError]]] = {
    "identity_id": [errors.InvalidIdentityId],
    "caller": [
        errors.NotSignedIn,
        errors.SignInNotEnabled,
        errors.NotAllowed,
        errors.TooManyCalls,
    ],
    "query": [errors.InvalidQuery],
    # A query with a field of the body is refused.
    "body": [errors.InvalidJson, errors.InvalidBody, errors.InvalidQuery, errors.BodyTooLarge],
    "acs": _ACS,
    "registry": _REGISTRY,
    "lifecycle": [*_ACS, *_REGISTRY, errors.IdentityNotReadable, errors.WrongResource],
    "tenant_id": [errors.InvalidGuid],
    "teams_access": [
        *_ACS,
        *_REGISTRY,
        errors.IdentityNotReadable,
        errors.WrongResource,
    ],
    "access_registry": _REGISTRY,
    "service_tokens": [errors.NotAllowed],
    "user_tokens": [errors.NotAllowed],
}
# What happens to callers that are no service, or not one with the roles.
_REFUSED_SERVICES: Errors = {
    errors.NotSignedIn: "Services use Entra, and the request has no token of an application.",
    errors.SignInNotEnabled: "Services use Entra, and the platform does not check tokens.",
    errors.NotAllowed: "Services use Entra, and the token is not an application's, or the"
    " application lacks an app role.",
}
# Every operation that uses the settings or waits for something can cause these.
_COMMON = [errors.NotConfigured, errors.InternalError, errors.AcsTooSlow]
# `health` reports invalid settings itself.
_HARMLESS = {"is_configured"}


def problems(operation: Operation, roles: Collection[Role] = ()) -> Errors:
    """Every problem that an operation can cause, and what it means for this operation.

    `roles` are the app roles that a service needs for it.
    """
    hints = get_type_hints(operation)
    del hints["return"]
    kinds = [kind for name in hints for kind in _BY_PARAMETER.get(name, [])]
    common = [] if hints.keys() <= _HARMLESS else _COMMON
    found = {kind: summary(kind) for kind in [*kinds, *common]}
    for name, meaning in section(operation.__doc__ or "", "Raises").items():
        found[getattr(errors, name)] = f"{meaning[0].upper()}{meaning[1:]}"
    for kind, meaning in _REFUSED_SERVICES.items() if roles else ():
        found[kind] = f"{found[kind]} {meaning}" if kind in found else meaning
    return found


def problem_schema(error: type[ServiceError]) -> Json:
    """The schema of a problem of this kind."""
    example = Problem(
        type=f"{PROBLEMS}#{error.code}",
        title=error.title,
        status=error.status,
        code=error.code,
        detail=summary(error),
    )
    return {
        "title": error.title,
        "description": summary(error),
        "allOf": [reference(Problem)],
        "type": "object",
        "properties": {
            "status": {"type": "integer", "const": error.status},
            "code": {"type": "string", "const": error.code},
        },
        "required": ["status", "code"],
        "examples": [msgspec.to_builtins(example)],
    }


def problem_response(found: Errors, success: Json | None) -> Json:
    """The response with one of these problems, which share a status.

    A success can have the same status; then the response has both.
    """
    if success:
        response = _response(found)
        content = success["content"] | response["content"]
        description = f"{success['description']}\n\n{response['description']}"
        return {**response, "description": description, "content": content}
    if len(found) == 1:
        [(kind, meaning)] = found.items()
        if meaning == summary(kind):
            return {"$ref": f"#/components/responses/{kind.__name__}"}
    return _response(found)


def shared_responses(paths: Json, kinds: Iterable[type[ServiceError]]) -> Json:
    """The responses that operations refer to: a problem with the description of its class."""
    used = str(paths)
    return {
        kind.__name__: _shared(kind)
        for kind in kinds
        if f"#/components/responses/{kind.__name__}'" in used
    }


def _shared(kind: type[ServiceError]) -> Json:
    response = _response({kind: summary(kind)})
    if note := parts.FROM_PLATFORM.get(kind.status):
        return parts.also_from_platform(response, kind.status, note)
    return response


def _response(found: Errors) -> Json:
    described = [f"`{kind.code}`: {meaning}" for kind, meaning in found.items()]
    schemas = [reference(kind) for kind in found]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    [status] = {kind.status for kind in found}
    content = {PROBLEM_JSON: {"schema": schema}}
    return parts.response("\n\n".join(described), _headers(status), content)


def _headers(status: int) -> Json:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": parts.header("Authenticate")}
        case HTTPStatus.TOO_MANY_REQUESTS:
            return {"Retry-After": parts.header("RetryAfter")}
        case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.GATEWAY_TIMEOUT:
            return {"Retry-After": parts.header("RetryAfterIfKnown")}
        case _:
            return {}
