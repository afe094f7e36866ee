"""The problems that an operation can answer: found, described, and put together by status."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, get_type_hints

import msgspec

from identity_service import errors
from identity_service.contract import PROBLEMS, Problem
from identity_service.errors import ServiceError
from identity_service.openapi import parts
from identity_service.openapi.schemas import Json, reference, section, summary

Errors = dict[type[ServiceError], str]
Operation = Callable[..., Any]

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


def problems(operation: Operation) -> Errors:
    """Every problem that an operation can answer, and what it means there."""
    found: Errors = {}
    for name in get_type_hints(operation):
        found |= {kind: summary(kind) for kind in _BY_PARAMETER.get(name, [])}
    found |= {kind: summary(kind) for kind in _ALWAYS}
    for name, said in section(operation.__doc__ or "", "Raises").items():
        found[getattr(errors, name)] = f"{said[0].upper()}{said[1:]}"
    return found


def problem_schema(error: type[ServiceError]) -> Json:
    """What a problem of this kind looks like."""
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


def refusal(found: Errors, success: Json | None) -> Json:
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


def shared_answers(paths: Json, kinds: Iterable[type[ServiceError]]) -> Json:
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
