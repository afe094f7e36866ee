"""Translates failed calls to ACS into this service's errors."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
)

from identity_service.azure.failures import Failure, describe
from identity_service.errors import (
    AcsRefusedUs,
    AcsTooSlow,
    AcsUnavailable,
    AssignmentRefused,
    IdentityNotFound,
    InvalidBody,
    ServiceError,
    TeamsTokenRefused,
    Throttled,
    WrongResource,
)
from identity_service.log import EventLog
from identity_service.scrubbing import excerpt

events = EventLog(__name__)

# What a call is about: an existing identity, an assignment that it creates, an assignment that it
# only names, the token of a Teams user, or none of these.
Subject = Literal["identity", "new assignment", "assignment", "Teams token"] | None

# ACS does not promise a Retry-After. It counts its quotas per 30 seconds.
# Source: https://learn.microsoft.com/azure/communication-services/concepts/service-limits
QUOTA_WINDOW = 30
# Seconds. Nothing in ACS lasts longer: a longer Retry-After is a mistake.
LONGEST_WAIT = 24 * 60 * 60

_HEADERS_OF_ACS = ("MS-CV", "api-supported-versions")

_REMEDY = (
    "give this app's identity the role Communication and Email Service Owner"
    " (09976791-48a7-449e-bb21-39d1a415f350) on the ACS resource, or correct the access key;"
    " a new role takes minutes to take effect"
)

_NO_CREDENTIAL = "This service could not get its own credential for ACS."
_DETAILS = {
    "status": "ACS sent an unexpected response.",
    "dns": "The host name of ACS could not be resolved.",
    "connect": "ACS could not be reached, or the connection broke.",
    "tls": "ACS could not be reached: the TLS connection failed.",
    "proxy": "ACS could not be reached: the proxy failed.",
}


def translate(error: AzureError, host: str, subject: Subject = "identity") -> ServiceError:
    """The error for our caller. If ACS is unavailable, the cause is logged.

    Args:
        error: What the SDK raised.
        host: The host of the ACS resource, for the log.
        subject: What the call is about.
    """
    match error:
        case HttpResponseError(response=response) if response is not None:
            return _translate_response(error, host, subject)
        case ClientAuthenticationError():  # the credential has logged the cause
            return AcsUnavailable(_NO_CREDENTIAL, kind="credential")
        case _:
            return unavailable(host, describe(error, host))


def no_credential(scope: str, reason: str) -> ServiceError:
    """The error for our caller if the credential did not respond. Logs the cause."""
    events.error("credential_unavailable", scope=scope, reason=reason)
    return AcsUnavailable(_NO_CREDENTIAL, kind="credential")


def unavailable(host: str, failure: Failure, **about: Any) -> ServiceError:
    """The error for our caller if ACS sent no usable response. Logs the cause."""
    events.error("acs_unavailable", host=host, kind=failure.kind, reason=excerpt(failure.reason))
    if failure.kind == "timeout":
        return AcsTooSlow("ACS did not respond in time.", kind=failure.kind, **about)
    return AcsUnavailable(_DETAILS[failure.kind], kind=failure.kind, **about)


def request_id(headers: Mapping[str, str]) -> str | None:
    """The id that Microsoft's support asks for: the correlation vector, or else the next best."""
    names = ("MS-CV", "x-ms-client-request-id", "X-Azure-Ref")
    return next((headers[name] for name in names if headers.get(name)), None)


def _translate_response(  # noqa: PLR0911 -- a table
    error: HttpResponseError, host: str, subject: Subject
) -> ServiceError:
    status = error.status_code
    code = _code(error)
    about: dict[str, Any] = {"upstream_request_id": request_id(_headers(error))}
    match status, code:
        case 401, "IdentityNotOwned" if subject == "identity":
            return WrongResource("ACS has no such identity in this resource.", **about)
        case 401, "InvalidAccessToken" if subject == "Teams token":
            return TeamsTokenRefused(
                "ACS does not accept this Entra token: it has expired, or is not an Entra token.",
                field="token",
                **about,
            )
        case (401, _) | (403, str()):
            # Without a code, 403 is the page of a firewall or of another service.
            events.error("acs_refused_us", host=host, status=status, code=code, remedy=_REMEDY)
            return AcsRefusedUs(
                "ACS does not accept this service's own credential.", kind="status", **about
            )
        case ((400 | 404 | 422), _) if subject == "new assignment" and _is_from_acs(error):
            return AssignmentRefused(f"ACS: {_message(error)}", field=_field(error), **about)
        case 404, str() if subject == "identity" and _names_identity(code, _message(error)):
            # Any other 404 may come from anywhere, such as another service behind the endpoint.
            return IdentityNotFound("ACS has no such identity.", **about)
        case 400, "ValidationError" if subject == "Teams token":
            return TeamsTokenRefused(f"ACS: {_message(error)}", field=_field(error), **about)
        # Our caller has sent two GUIDs and no body, so nothing of it is invalid.
        case 400, "ValidationError" if subject != "assignment":
            return InvalidBody(
                f"ACS: {_message(error)}", field=_field(error), kind="status", **about
            )
        case 429, _:
            wait = _retry_after(error) or QUOTA_WINDOW
            return Throttled(
                "ACS accepts no more calls of this kind for now.", retry_after=wait, **about
            )
        case _:
            about["retry_after"] = _retry_after(error)
            return unavailable(host, describe(error, host, code), **about)


def is_missing(error: HttpResponseError) -> bool:
    """Whether ACS says that there is no such assignment. The sweep takes this for a proof."""
    return error.status_code == HTTPStatus.NOT_FOUND and _is_from_acs(error)


def _is_from_acs(error: HttpResponseError) -> bool:
    """Whether ACS has sent this error, and not another service behind the endpoint.

    The error codes about assignments are not documented. But all recorded responses of ACS have one
    of these headers, and its errors have a code.
    """
    headers = _headers(error)
    return _code(error) is not None and any(headers.get(name) for name in _HEADERS_OF_ACS)


def _code(error: HttpResponseError) -> str | None:
    code = error.error.code if error.error else None
    return code if isinstance(code, str) else None


def _names_identity(code: str, message: str) -> bool:
    """Whether a 404 of ACS is about the identity.

    A purge takes this for a proof that the identity is gone. Only the message is recorded from ACS,
    "Provided identity doesn't exist."; the code is assumed to be IdentityNotFound.
    """
    return code == "IdentityNotFound" or message.lower().startswith("provided identity")


def _retry_after(error: HttpResponseError) -> int | None:
    """The response's Retry-After in whole seconds, at most a day."""
    seconds = _seconds(_headers(error).get("Retry-After") or "")
    return None if seconds is None else min(max(0, seconds), LONGEST_WAIT)


def _seconds(text: str) -> int | None:
    """The seconds until a Retry-After, which is a number or a date."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return round((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _message(error: HttpResponseError) -> str:
    return str(error.error.message)[:200] if error.error else ""


def _field(error: HttpResponseError) -> str | None:
    """The field that ACS names, spelled as in our own requests."""
    target = error.error.target if error.error else None
    if not isinstance(target, str) or not target:
        return None
    return f"{target[0].lower()}{target[1:]}"


def _headers(error: HttpResponseError) -> Mapping[str, str]:
    headers: Mapping[str, str] = getattr(error.response, "headers", {})
    return headers
