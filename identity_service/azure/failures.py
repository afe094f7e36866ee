"""Finds out why a call to Azure failed, for the log and for `ready`."""

import ssl
from collections.abc import Iterator
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientHttpProxyError,
    ClientProxyConnectionError,
    ClientSSLError,
)
from azure.core.exceptions import (
    DecodeError,
    HttpResponseError,
    ServiceRequestTimeoutError,
    ServiceResponseTimeoutError,
)

# dns, connect, tls and proxy: no request was sent, or its connection broke. timeout: no response in
# time. status: a response that is not what the service sends.
Kind = Literal["dns", "connect", "tls", "proxy", "timeout", "status"]

# Each kind with the errors that show it. The order matters: most of them are OSErrors.
_KINDS: tuple[tuple[Kind, tuple[type[BaseException], ...]], ...] = (
    ("proxy", (ClientHttpProxyError, ClientProxyConnectionError)),
    ("dns", (ClientConnectorDNSError,)),
    ("tls", (ClientSSLError, ssl.SSLError)),
    ("timeout", (TimeoutError, ServiceRequestTimeoutError, ServiceResponseTimeoutError)),
)
_KIND_OF_STATUS: dict[int, Kind] = {407: "proxy", 408: "timeout", 504: "timeout"}


class Failure(NamedTuple):
    """Why a call failed.

    Attributes:
        reason: The text of the exception. It may contain secrets, and be long.
    """

    kind: Kind
    reason: str


def describe(error: BaseException, host: str, code: str | None = None) -> Failure:
    """Why a call failed.

    Args:
        error: What the call raised.
        host: The host that was called, possibly with a port.
        code: The service's own error code, if the response has one.
    """
    if isinstance(error, HttpResponseError) and error.status_code:
        kind = _KIND_OF_STATUS.get(error.status_code, "status")
        return Failure(kind, _response(error, code))
    causes = list(_causes(error))
    for kind, types in _KINDS:
        for cause in causes:
            if isinstance(cause, types):
                return Failure("proxy" if _is_of_proxy(cause, host) else kind, _reason(cause))
    return Failure("connect", _reason(causes[-1]))


def invalid_body(error: Exception) -> Failure:
    """The failure if a library could not read a response, and raised this error."""
    return Failure("status", f"invalid body, {_reason(error)}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors that led to it, up to the first one."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _is_of_proxy(error: BaseException, host: str) -> bool:
    """Whether it is about another host than the one that was called. No call is redirected."""
    return (
        isinstance(error, ClientConnectorError | ClientConnectorCertificateError)
        and error.host != urlsplit(f"//{host}").hostname
    )


def _response(error: HttpResponseError, code: str | None) -> str:
    """What identifies a response of another service: its status, type and error code."""
    headers = getattr(error.response, "headers", None) or {}
    parts = [f"{error.status_code} {error.reason or ''}", headers.get("Content-Type"), code]
    if isinstance(error, DecodeError):
        parts.append("invalid body")
    return ", ".join(part.strip() for part in parts if part)


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
