"""Access keys, and the level that a request reaches with the one it brings."""

from dataclasses import dataclass, field
from enum import IntEnum
from hmac import compare_digest

from local.functions_host.pipeline import Request


class AuthLevel(IntEnum):
    """What a function asks for; each level opens the ones below it."""

    ANONYMOUS = 0
    FUNCTION = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Keys:
    """The host key, good for every function of level FUNCTION, and the master key."""

    function: str = field(repr=False)
    master: str = field(repr=False)

    def level(self, request: Request) -> AuthLevel:
        """The level of the key in `x-functions-key` or else in `?code=`."""
        given = request.headers.get("x-functions-key")
        if given is None:
            named_code = (value for name, value in request.query.items() if name.lower() == "code")
            given = next(named_code, "")
        if _same(given, self.master):
            return AuthLevel.ADMIN
        return AuthLevel.FUNCTION if _same(given, self.function) else AuthLevel.ANONYMOUS


def _same(given: str, key: str) -> bool:
    return compare_digest(given.encode(), key.encode())
