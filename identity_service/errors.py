"""Everything that can go wrong, as a caller is told it.

    ServiceError
    ├── InvalidJson, InvalidBody, InvalidQuery                         400
    ├── InvalidIdentityId, TeamsTokenRefused                           400
    ├── NotSignedIn                                                    401
    ├── NotAllowed, PurgeProtected, SignInNotEnabled                   403
    ├── IdentityNotFound, DeletedIdentityHidden                        404
    ├── IdentityDeleted, IdentityNotDeleted, IdentityUnfinished        409
    ├── BodyTooLarge                                                   413
    ├── Throttled                                                      429
    ├── InternalError                                                  500
    ├── AcsRefusedUs                                                   502
    ├── AcsUnavailable (IdentityNotKnownYet), RegistryUnavailable      503
    ├── IdentityBusy, NotConfigured                                    503
    └── AcsTooSlow                                                     504

Each class knows its HTTP status, its code and its title; an instance adds what is particular to
one call. They are rendered in exactly one place: `web.problem`.
"""

from typing import ClassVar, Self


class ServiceError(Exception):
    """What a caller is answered instead of a result.

    Attributes:
        detail: One or two sentences: what is wrong and what to change. Free of anything secret.
        field: The member of the body (or the part of the address) that is at fault.
        allowed: What would be accepted there.
        retry_after: Seconds after which asking again makes sense.
        upstream_request_id: The id under which Azure can find the failed call.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        allowed: str | None = None,
        retry_after: int | None = None,
        upstream_request_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.allowed = allowed
        self.retry_after = retry_after
        self.upstream_request_id = upstream_request_id


class InvalidJson(ServiceError):
    """The body is not JSON at all."""

    status, code, title = 400, "invalid_json", "The body is not valid JSON"


class InvalidBody(ServiceError):
    """The body is JSON, but not what this operation takes."""

    status, code, title = 400, "invalid_body", "The body is not what this operation takes"


class InvalidQuery(ServiceError):
    """The query of the address is not what this operation takes."""

    status, code, title = 400, "invalid_query", "The query is not what this operation takes"

    @classmethod
    def continuation(cls) -> Self:
        """The continuation is not one that an earlier page gave."""
        return cls(
            "This continuation was not given by an earlier page.",
            field="continuation",
            allowed="as in a nextLink, unchanged",
        )


class InvalidIdentityId(ServiceError):
    """The id in the address is not the id of an ACS identity."""

    status, code, title = 400, "invalid_identity_id", "This is not the id of an identity"


class TeamsTokenRefused(ServiceError):
    """ACS does not accept the Entra token, or not for this app and this user."""

    status, code, title = 400, "teams_token_refused", "The Teams user's token was refused"


class NotSignedIn(ServiceError):
    """The platform vouches for no user with this request, or not in a form that we understand."""

    status, code, title = 401, "not_signed_in", "Nobody is signed in"


class SignInNotEnabled(ServiceError):
    """The platform checks no sign-ins for this app: whoever claims to be a user may be anybody."""

    status, code, title = 403, "sign_in_not_enabled", "Sign-in is not enabled for this app"


class NotAllowed(ServiceError):
    """The operator's policy does not give this to callers of this kind."""

    status, code, title = 403, "not_allowed", "The policy does not allow this"


class PurgeProtected(ServiceError):
    """The settings forbid to purge ahead of time."""

    status, code, title = 403, "purge_protected", "Deleted identities are protected from purging"


class IdentityNotFound(ServiceError):
    """There is no such identity in our ACS resource."""

    status, code, title = 404, "identity_not_found", "There is no such identity"


class DeletedIdentityHidden(ServiceError):
    """The identity is deleted: it is found among the deleted ones only."""

    status, code, title = 404, "identity_deleted", "The identity is deleted"


class IdentityDeleted(ServiceError):
    """The identity is deleted: this cannot be done with it."""

    status, code, title = 409, "identity_deleted", "The identity is deleted"


class IdentityNotDeleted(ServiceError):
    """The identity is not deleted: it cannot be purged."""

    status, code, title = 409, "identity_not_deleted", "The identity is not deleted"


class IdentityUnfinished(ServiceError):
    """The identity's creation has not come to its end."""

    status, code, title = 409, "identity_unfinished", "The identity is still being created"


class BodyTooLarge(ServiceError):
    """The body is longer than any request of ours can be."""

    status, code, title = 413, "body_too_large", "The body is too large"


class Throttled(ServiceError):
    """ACS takes no more calls of this kind for now."""

    status, code, title = 429, "throttled", "Too many requests"


class InternalError(ServiceError):
    """A fault of ours; the log has it."""

    status, code, title = 500, "internal_error", "Something went wrong inside the service"


class AcsRefusedUs(ServiceError):
    """ACS does not accept this service's own credential."""

    status, code, title = 502, "acs_refused_us", "Azure Communication Services refused this service"


class AcsUnavailable(ServiceError):
    """ACS did not answer, or not with an answer; or we got no credential to ask it with."""

    status, code, title = 503, "acs_unavailable", "Azure Communication Services is unavailable"


class IdentityNotKnownYet(AcsUnavailable):
    """ACS does not know an identity that is so new that this proves nothing."""


class RegistryUnavailable(ServiceError):
    """The registry's table did not answer; whether a write happened is not known."""

    status, code, title = 503, "registry_unavailable", "The registry is unavailable"


class IdentityBusy(ServiceError):
    """Others are changing the identity at this moment; nothing is wrong with asking again."""

    status, code, title = 503, "identity_busy", "The identity is changing at this moment"


class NotConfigured(ServiceError):
    """The settings are at fault; the log names each fault and its remedy."""

    status, code, title = 503, "not_configured", "The service is not configured"


class AcsTooSlow(ServiceError):
    """ACS did not answer in time."""

    status, code, title = 504, "acs_too_slow", "Azure Communication Services took too long"
