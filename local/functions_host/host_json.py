"""The settings in host.json that this host follows."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.functions_host.indexing import AppError

DEFAULT_ROUTE_PREFIX = "api"
# The default on App Service and Premium plans.
_DEFAULT_TIMEOUT = "00:30:00"
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)")
_UNLIMITED = -1


@dataclass(frozen=True, slots=True)
class HostJson:
    """The host's settings.

    Attributes:
        route_prefix: without outer slashes; may be empty.
        max_concurrent: HTTP invocations that run at the same time; None means no limit.
        max_outstanding: HTTP invocations that run or wait; more get 429. None means no limit.
        custom_headers: headers of every response of a function.
        timeout: seconds that an invocation may take; None means no limit.
    """

    route_prefix: str = DEFAULT_ROUTE_PREFIX
    max_concurrent: int | None = None
    max_outstanding: int | None = None
    custom_headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None


def read_host_json(app_directory: Path) -> HostJson:
    """Read the host.json of an app. Without the file, the defaults hold.

    Raises:
        AppError: it is not a JSON object, its version is not 2.0, or a setting is not valid.
    """
    path = app_directory / "host.json"
    if not path.exists():
        return HostJson(timeout=_seconds(_DEFAULT_TIMEOUT))
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise AppError(f"host.json cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise AppError("host.json must be a JSON object")
    if document.get("version") != "2.0":
        raise AppError('host.json must contain "version": "2.0"')
    http = document.get("extensions", {}).get("http", {})
    try:
        return HostJson(
            route_prefix=str(http.get("routePrefix", DEFAULT_ROUTE_PREFIX)).strip("/"),
            max_concurrent=_limit(http, "maxConcurrentRequests"),
            max_outstanding=_limit(http, "maxOutstandingRequests"),
            custom_headers={str(k): str(v) for k, v in http.get("customHeaders", {}).items()},
            timeout=_seconds(document.get("functionTimeout", _DEFAULT_TIMEOUT)),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise AppError(f"host.json has an invalid setting: {error}") from error


def _limit(http: Mapping[str, Any], name: str) -> int | None:
    value = int(http.get(name, _UNLIMITED))
    return None if value == _UNLIMITED else value


def _seconds(time_span: object) -> float | None:
    """The seconds of `[days.]hours:minutes:seconds`, or None for `-1`."""
    if str(time_span) == str(_UNLIMITED):
        return None
    found = _TIME_SPAN.fullmatch(str(time_span))
    if not found:
        raise ValueError(f"{time_span!r} is not a duration such as 00:05:00")
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
