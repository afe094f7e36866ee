"""Finds out why a call to Azure failed, for the log and for `ready`."""

import ssl
from collections.abc import Iterator
from typing import Literal, NamedTuple

from aiohttp import (
    ClientConnectorDNSError,
    ClientHttpProxyError,
    ClientProxyConnectionError,
    ClientSSLError,
)
from azure.core.exceptions import HttpResponseError

# dns, connect, tls and proxy: no request was sent. timeout: no response in time. status: a response
# that is not what the service sends.
Kind = Literal["dns", "connect", "tls", "proxy", "timeout", "status"]

# Each kind with the errors that show it. The order matters: most of them are OSErrors.
_KINDS: tuple[tuple[Kind, tuple[type[BaseException], ...]], ...] = (
    ("proxy", (ClientHttpProxyError, ClientProxyConnectionError)),
    ("dns", (ClientConnectorDNSError,)),
    ("tls", (ClientSSLError, ssl.SSLError)),
    ("timeout", (TimeoutError,)),
)
_LONGEST_REASON = 300


class Failure(NamedTuple):
    """Why a call failed.

    Attributes:
        reason: One line of text, from the exception. It may contain secrets until it is logged.
    """

    kind: Kind
    reason: str


def describe(error: BaseException) -> Failure:
    """Why the call that raised this error failed."""
    if isinstance(error, HttpResponseError) and error.status_code:
        return Failure("status", f"{error.status_code} {error.reason or ''}".strip())
    causes = list(_causes(error))
    for kind, types in _KINDS:
        for cause in causes:
            if isinstance(cause, types):
                return Failure(kind, _reason(cause))
    return Failure("connect", _reason(causes[-1]))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and the errors that led to it, up to the first one."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_REASON]
