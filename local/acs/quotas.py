"""How many calls a window lets through.

Limits: https://learn.microsoft.com/azure/communication-services/concepts/service-limits#identity
"""

import math
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import msgspec

from local.acs import errors


class Quota(StrEnum):
    """What is counted: creating with a token has a limit of its own."""

    CREATE = "create"
    CREATE_WITH_TOKEN = "createWithToken"  # noqa: S105 -- a name, no password
    ISSUE = "issue"
    REVOKE = "revoke"
    DELETE = "delete"
    EXCHANGE = "exchange"


ACS_WINDOW = 30.0
ACS_LIMITS = {
    Quota.CREATE: 1000,
    Quota.CREATE_WITH_TOKEN: 1000,
    Quota.ISSUE: 1000,
    Quota.REVOKE: 500,
    Quota.DELETE: 500,
    Quota.EXCHANGE: 500,
}


class QuotaSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A window in seconds, calls per window, and whether a 429 says Retry-After.

    A limit that is not given is that of ACS.
    """

    window_seconds: Annotated[float, msgspec.Meta(gt=0)] = ACS_WINDOW
    limits: dict[Quota, Annotated[int, msgspec.Meta(ge=0)]] = {}
    retry_after: bool = False

    def limit(self, quota: Quota) -> int:
        """Calls per window."""
        return self.limits.get(quota, ACS_LIMITS[quota])


class Quotas:
    """Counts in fixed windows, each of which begins with the first call after the last one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._settings: QuotaSettings | None = None
        self._windows: dict[Quota, tuple[float, int]] = {}

    @property
    def settings(self) -> QuotaSettings | None:
        """What is enforced, or None."""
        return self._settings

    def enforce(self, settings: QuotaSettings | None) -> None:
        """Begin anew with these settings; None lets everything through."""
        self._settings = settings
        self._windows.clear()

    def take(self, quota: Quota) -> None:
        """Count one call.

        Raises:
            RefusedError: 429, the window's calls are used up.
        """
        if self._settings is None:
            return
        now = self._clock()
        start, used = self._windows.get(quota, (now, 0))
        if now >= start + self._settings.window_seconds:
            start, used = now, 0
        self._windows[quota] = (start, used + 1)
        if used >= self._settings.limit(quota):
            raise errors.throttled(self._retry_after(start, now))

    def _retry_after(self, start: float, now: float) -> int | None:
        if self._settings is None or not self._settings.retry_after:
            return None
        return max(1, math.ceil(start + self._settings.window_seconds - now))
