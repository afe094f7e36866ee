"""Access keys: the host key, the master key, and one `default` key for each function."""

import hmac
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache

from local.functions_host.http import Request, first_values, query_pairs


class AuthLevel(IntEnum):
    """The key that a function requires. A higher level includes the lower ones."""

    ANONYMOUS = 0
    FUNCTION = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an app.

    Attributes:
        function: the host key, which opens every function of level FUNCTION.
        master: also opens `/admin`.
    """

    function: str = field(repr=False)
    master: str = field(repr=False)

    @cache  # noqa: B019 -- there is one object
    def of(self, function: str) -> str:
        """The function's own `default` key: always the same for the same master key."""
        return hmac.digest(self.master.encode(), function.encode(), "sha256").hex()

    def level(self, request: Request, function: str | None = None) -> AuthLevel:
        """The level of the key in `x-functions-key`, or in `?code=` without that header.

        Of repeated keys, the first one counts.
        """
        given = request.first.get("x-functions-key")
        if given is None:
            given = first_values(query_pairs(request.query_string)).get("code", "")
        if _same(given, self.master):
            return AuthLevel.ADMIN
        own = function is not None and _same(given, self.of(function))
        return AuthLevel.FUNCTION if own or _same(given, self.function) else AuthLevel.ANONYMOUS


def _same(given: str, key: str) -> bool:
    return hmac.compare_digest(given.encode(), key.encode())
