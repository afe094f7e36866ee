"""Request quotas per window.

Limits: https://learn.microsoft.com/azure/communication-services/concepts/service-limits#identity
"""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import msgspec

from local.acs import errors


class Quota(StrEnum):
    """The operations with a quota. Creating with a token has its own."""

    CREATE = "create"
    CREATE_WITH_TOKEN = "createWithToken"  # noqa: S105 -- a name, not a password
    ISSUE = "issue"
    REVOKE = "revoke"
    DELETE = "delete"
    EXCHANGE = "exchange"
    ASSIGNMENT = "assignment"


ACS_WINDOW = 30.0
ACS_LIMITS = {
    Quota.CREATE: 1000,
    Quota.CREATE_WITH_TOKEN: 1000,
    Quota.ISSUE: 1000,
    Quota.REVOKE: 500,
    Quota.DELETE: 500,
    Quota.EXCHANGE: 500,
    # Assumed: none is published for reading and changing assignments.
    Quota.ASSIGNMENT: 500,
}


class QuotaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The window in seconds, requests per window, and whether a 429 has a Retry-After header.

    The default limits are those of ACS.
    """

    window_seconds: Annotated[float, msgspec.Meta(gt=0)] = ACS_WINDOW
    limits: dict[Quota, Annotated[int, msgspec.Meta(ge=0)]] = {}
    retry_after: bool = False

    def limit(self, quota: Quota) -> int:
        """Requests per window."""
        return self.limits.get(quota, ACS_LIMITS[quota])


class Quotas:
    """Counts requests in fixed windows.

    A window starts with the first request after the previous window has ended.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._settings: QuotaSettings | None = None
        self._windows: dict[Quota, tuple[float, int]] = {}

    @property
    def settings(self) -> QuotaSettings | None:
        """The enforced settings, or None."""
        return self._settings

    def enforce(self, settings: QuotaSettings | None) -> None:
        """Replace the settings and reset all windows. None turns quotas off."""
        self._settings = settings
        self._windows.clear()

    def acquire(self, quota: Quota) -> None:
        """Count one request.

        Raises:
            ServiceError: 429, the quota of the window is used up.
        """
        if self._settings is None:
            return
        now = self._clock()
        start, used = self._windows.get(quota, (now, 0))
        if now >= start + self._settings.window_seconds:
            start, used = now, 0
        self._windows[quota] = (start, used + 1)
        if used >= self._settings.limit(quota):
            remaining = math.ceil(start + self._settings.window_seconds - now)
            raise errors.too_many_requests(
                max(1, remaining) if self._settings.retry_after else None
            )
