"""Every error that a caller can receive.

    ServiceError
    ├── InvalidJson, InvalidBody, InvalidQuery                         400
    ├── InvalidIdentityId, InvalidGuid, TeamsTokenRefused              400
    ├── NotSignedIn                                                    401
    ├── DeletedByService, NotAllowed, PurgeProtected, SignInNotEnabled 403
    ├── IdentityNotFound (IdentityGone), DeletedIdentityHidden         404
    ├── TeamsAccessNotFound                                            404
    ├── IdentityDeleted, IdentityNotDeleted, IdentityUnfinished        409
    ├── IdentitySuspended, UserHasIdentity, UserMismatch               409
    ├── TeamsAccessChanged, TeamsAccessBeingRemoved                    409
    ├── BodyTooLarge                                                   413
    ├── AssignmentRefused                                              422
    ├── Throttled, TooManyCalls                                        429
    ├── InternalError                                                  500
    ├── AcsRefusedUs                                                   502
    ├── AcsUnavailable (IdentityNotKnownYet), RegistryUnavailable      503
    ├── IdentityBusy, IdentityNotReadable, Overloaded, NotConfigured   503
    ├── WrongResource                                                  503
    └── AcsTooSlow (CallerGone)                                        504

A class has an HTTP status, a code and a title. An instance adds the details of one call. Errors are
rendered in one place: `http.responses.problem`.
"""

from typing import ClassVar, Self


class ServiceError(Exception):
    """An error that is sent to the caller instead of a result.

    Attributes:
        detail: What is wrong and what to change, in one or two sentences. Never a secret.
        field: The field of the body, or the part of the URL, that is wrong.
        allowed: The values that the field accepts.
        retry_after: Seconds after which a retry makes sense.
        upstream_request_id: The id that identifies the failed call to Microsoft's support.
        identity_id: The identity that the error is about, if the request does not name it.
        deleted_by: Who has deleted the identity that the error is about: `user` or `service`.
        kind: How an upstream failed, such as `dns` or `tls`. For `ready`, not for callers.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(  # noqa: PLR0913 -- what callers, the log and `ready` say about an error
        self,
        detail: str,
        *,
        field: str | None = None,
        allowed: str | None = None,
        retry_after: int | None = None,
        upstream_request_id: str | None = None,
        identity_id: str | None = None,
        deleted_by: str | None = None,
        kind: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.allowed = allowed
        self.retry_after = retry_after
        self.upstream_request_id = upstream_request_id
        self.identity_id = identity_id
        self.deleted_by = deleted_by
        self.kind = kind


class InvalidJson(ServiceError):
    """The body is not JSON."""

    status, code, title = 400, "invalid_json", "The body is not valid JSON"


class InvalidBody(ServiceError):
    """The body is JSON, but this operation does not accept it."""

    status, code, title = 400, "invalid_body", "The body is not valid for this operation"


class InvalidQuery(ServiceError):
    """This operation does not accept the query string."""

    status, code, title = 400, "invalid_query", "The query is not valid for this operation"

    @classmethod
    def continuation(cls) -> Self:
        """The error for a continuation token that no page returned."""
        return cls(
            "No earlier page returned this continuation.",
            field="continuation",
            allowed="the value from a nextLink, unchanged",
        )


class InvalidIdentityId(ServiceError):
    """The id is not the id of an ACS identity."""

    status, code, title = 400, "invalid_identity_id", "This is not the id of an ACS identity"


class InvalidGuid(ServiceError):
    """The id of a tenant, a user or a resource account is not a GUID."""

    status, code, title = 400, "invalid_guid", "This is not a GUID"


class TeamsTokenRefused(ServiceError):
    """ACS does not accept the Entra token, or not for this app and this user."""

    status, code, title = 400, "teams_token_refused", "The Teams user's token was refused"


class NotSignedIn(ServiceError):
    """The request has no signed-in user, or one that this service cannot identify."""

    status, code, title = 401, "not_signed_in", "Not signed in"


class SignInNotEnabled(ServiceError):
    """The platform does not check sign-ins for this app, so no user can be trusted."""

    status, code, title = 403, "sign_in_not_enabled", "Sign-in is not enabled for this app"


class NotAllowed(ServiceError):
    """The operator's policy does not allow this for callers of this kind."""

    status, code, title = 403, "not_allowed", "The policy does not allow this"


class PurgeProtected(ServiceError):
    """The settings do not allow a purge before its scheduled time."""

    status, code, title = 403, "purge_protected", "Purge protection is on"


class DeletedByService(ServiceError):
    """A service has deleted the identity, so its user cannot restore it."""

    status, code, title = 403, "deleted_by_service", "A service has deleted the identity"


class IdentityNotFound(ServiceError):
    """The identity does not exist in this ACS resource."""

    status, code, title = 404, "identity_not_found", "Identity not found"


class IdentityGone(IdentityNotFound):
    """The registry has the identity, but ACS no longer does: something else has deleted it."""

    code, title = "identity_gone", "ACS no longer has the identity"


class DeletedIdentityHidden(ServiceError):
    """The identity is deleted. Only the operations on deleted identities find it."""

    status, code, title = 404, "identity_deleted", "The identity is deleted"


class IdentityDeleted(ServiceError):
    """The identity is deleted, so this operation is not possible."""

    status, code, title = 409, "identity_deleted", "The identity is deleted"


class IdentitySuspended(ServiceError):
    """The identity is suspended, so this operation is not possible. Only a service resumes it."""

    status, code, title = 409, "identity_suspended", "The identity is suspended"


class IdentityNotDeleted(ServiceError):
    """The identity is not deleted, so it cannot be purged."""

    status, code, title = 409, "identity_not_deleted", "The identity is not deleted"


class IdentityUnfinished(ServiceError):
    """The identity is still being created."""

    status, code, title = 409, "identity_unfinished", "The identity is still being created"


class UserHasIdentity(ServiceError):
    """The user already has another identity. A user has one identity."""

    status, code, title = 409, "user_has_identity", "The user has another identity"


class UserMismatch(ServiceError):
    """The identity is registered for another user, or for none."""

    status, code, title = 409, "user_mismatch", "The identity is registered differently"


class TeamsAccessNotFound(ServiceError):
    """The registry, or ACS, has no such Teams Phone access."""

    status, code, title = 404, "teams_access_not_found", "Teams Phone access not found"


class TeamsAccessChanged(ServiceError):
    """Another request changed the Teams Phone access at the same time."""

    status, code, title = 409, "teams_access_changed", "The Teams Phone access has changed"


class TeamsAccessBeingRemoved(ServiceError):
    """The Teams Phone access is being removed, so it is not taken over."""

    status, code, title = (
        409,
        "teams_access_being_removed",
        "The Teams Phone access is being removed",
    )


class AssignmentRefused(ServiceError):
    """ACS does not accept the tenant, the object or the client ids of the assignment."""

    status, code, title = 422, "assignment_refused", "ACS refused the assignment"


class BodyTooLarge(ServiceError):
    """The body is larger than any valid request."""

    status, code, title = 413, "body_too_large", "The body is too large"


class Throttled(ServiceError):
    """ACS accepts no more calls of this kind for now."""

    status, code, title = 429, "throttled", "Too many requests"


class TooManyCalls(ServiceError):
    """The signed-in user has sent more requests than one user may send."""

    status, code, title = 429, "too_many_calls", "Too many requests of this user"


class InternalError(ServiceError):
    """An unexpected error in this service. The log has the details."""

    status, code, title = 500, "internal_error", "Unexpected error in this service"


class AcsRefusedUs(ServiceError):
    """ACS does not accept this service's own credential."""

    status, code, title = 502, "acs_refused_us", "Azure Communication Services refused this service"


class AcsUnavailable(ServiceError):
    """ACS sent no usable response, or this service got no credential for the call."""

    status, code, title = 503, "acs_unavailable", "Azure Communication Services is unavailable"


class IdentityNotKnownYet(AcsUnavailable):
    """ACS does not know the identity, but the identity is too new for this to be a proof."""


class RegistryUnavailable(ServiceError):
    """The registry's table did not respond. A write may or may not have happened.

    Attributes:
        throttles: It responded that it accepts no more calls for now.
    """

    status, code, title = 503, "registry_unavailable", "The registry is unavailable"
    throttles = False


class IdentityBusy(ServiceError):
    """Other requests are changing the identity. Retry the request."""

    status, code, title = 503, "identity_busy", "Other requests are changing the identity"


class IdentityNotReadable(ServiceError):
    """This release cannot read the identity's row. A newer release may have written it."""

    status, code, title = 503, "identity_not_readable", "The identity's row is not readable"


class WrongResource(ServiceError):
    """ACS says that the identity is not in the ACS resource that this app uses."""

    status, code, title = 503, "wrong_resource", "The app uses another ACS resource"


class Overloaded(ServiceError):
    """This instance is handling as many requests as it can. Retry the request."""

    status, code, title = 503, "overloaded", "This instance is overloaded"


class NotConfigured(ServiceError):
    """The service has invalid settings. The log names each one and how to fix it."""

    status, code, title = 503, "not_configured", "The service is not configured"


class AcsTooSlow(ServiceError):
    """ACS did not respond in time."""

    status, code, title = 504, "acs_too_slow", "Azure Communication Services took too long"


class CallerGone(AcsTooSlow):
    """A request was not sent, because the caller has already got a response."""
