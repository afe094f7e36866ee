"""The error responses of the service.

Codes, messages and targets are copied from recorded responses. Where no response was recorded,
the docstring says "assumed".
"""

from collections.abc import Mapping


class ServiceError(Exception):
    """The service rejects a request with this error. Nothing has changed."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        target: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.error = {"code": code, "message": message}
        if target is not None:
            self.error["target"] = target
        self.headers = headers


def denied(message: str = "Denied by the resource provider.") -> ServiceError:
    """The caller is not authenticated, or has no role."""
    return ServiceError(401, "Denied", message)


def body_hash_differs() -> ServiceError:
    """The signed hash is not the hash of the body."""
    return denied("Request 'x-ms-content-sha256' differs from generated content hash.")


def invalid(message: str, target: str | None = None) -> ServiceError:
    """A field of the body is missing or invalid."""
    return ServiceError(400, "ValidationError", message, target=target)


def required(name: str) -> ServiceError:
    """A field of the body is missing."""
    return invalid(f"{name}: The {name} field is required.", name)


def identity_not_owned() -> ServiceError:
    """The identity belongs to another resource, or never existed."""
    message = "Provided identity doesn't belong to the resource."
    return ServiceError(401, "IdentityNotOwned", message)


def identity_not_found() -> ServiceError:
    """The identity was deleted. Status and code are assumed, the message is recorded."""
    return ServiceError(404, "IdentityNotFound", "Provided identity doesn't exist.")


def assignment_not_found() -> ServiceError:
    """There is no such assignment. The status is documented, code and message are assumed."""
    return ServiceError(404, "AssignmentNotFound", "Provided assignment doesn't exist.")


def not_assigned() -> ServiceError:
    """The user has no assignment, or not with this application. Assumed."""
    message = "The user may not use the resource with this application."
    return ServiceError(403, "Forbidden", message)


def invalid_access_token() -> ServiceError:
    """The Entra token of a Teams user is empty, malformed or expired."""
    return ServiceError(401, "InvalidAccessToken", "Provided access token is not valid.")


def version_missing() -> ServiceError:
    """The request has no api-version. Assumed: the response of ASP.NET API versioning."""
    message = "An API version is required, but was not specified."
    return ServiceError(400, "ApiVersionUnspecified", message)


def version_unsupported(version: str) -> ServiceError:
    """That api-version does not have the operation. Assumed, as for `version_missing`."""
    message = f"The HTTP resource does not support the API version '{version}'."
    return ServiceError(400, "UnsupportedApiVersion", message)


def too_many_requests(retry_after: int | None) -> ServiceError:
    """The quota of the window is used up; `retry_after` is in seconds. The body is assumed."""
    headers = None if retry_after is None else {"Retry-After": str(retry_after)}
    return ServiceError(429, "TooManyRequests", "Too many requests.", headers=headers)
