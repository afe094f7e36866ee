"""Everything the service refuses, in its own words.

Codes, messages and targets are those of recorded answers; where nobody has recorded one, the
function says that it is assumed.
"""

from collections.abc import Mapping

from local.acs.messages import Answer


class RefusedError(Exception):
    """The service answers this call with an error, and nothing has changed."""

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

    def answer(self) -> Answer:
        """The error as it goes over the wire."""
        return Answer.error(self.status, self.error, self.headers)


def denied(message: str = "Denied by the resource provider.") -> RefusedError:
    """The caller did not prove who it is, or has no role."""
    return RefusedError(401, "Denied", message)


def body_hash_differs() -> RefusedError:
    """The signed hash is not that of the body."""
    return denied("Request 'x-ms-content-sha256' differs from generated content hash.")


def invalid(message: str, target: str | None = None) -> RefusedError:
    """A field of the body is missing or wrong."""
    return RefusedError(400, "ValidationError", message, target=target)


def identity_not_owned() -> RefusedError:
    """The identity is another resource's, or was never made here."""
    message = "Provided identity doesn't belong to the resource."
    return RefusedError(401, "IdentityNotOwned", message)


def identity_not_found() -> RefusedError:
    """The identity has been deleted. Status and code are assumed, the message is recorded."""
    return RefusedError(404, "IdentityNotFound", "Provided identity doesn't exist.")


def invalid_access_token() -> RefusedError:
    """The Entra token of a Teams user is empty, garbage or expired."""
    return RefusedError(401, "InvalidAccessToken", "Provided access token is not valid.")


def version_missing() -> RefusedError:
    """No api-version was given. Assumed: the words of ASP.NET's API versioning."""
    message = "An API version is required, but was not specified."
    return RefusedError(400, "ApiVersionUnspecified", message)


def version_unsupported(version: str) -> RefusedError:
    """The operation does not exist in that api-version. Assumed, as above."""
    message = f"The HTTP resource does not support the API version '{version}'."
    return RefusedError(400, "UnsupportedApiVersion", message)


def throttled(retry_after: int | None) -> RefusedError:
    """The quota of the window is used up; `retry_after` is in seconds. The body is assumed."""
    headers = None if retry_after is None else {"Retry-After": str(retry_after)}
    return RefusedError(429, "TooManyRequests", "Too many requests.", headers=headers)
