"""Access tokens of Microsoft Entra, for an app that accepts applications instead of keys.

The Azure CLI gets them, for the application that is signed in to it. A token is only held in
memory: it is never printed and never written to a file.
"""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable

from acsid.failures import Exit, Failure

# Seconds before a token expires at which a new one is needed. The Azure CLI gives a cached one
# until five minutes before.
_MARGIN = 240
# Seconds between two questions to the Azure CLI, if its token is about to expire all the same.
_SHORTEST = 60
# Seconds for one question.
_TIMEOUT = 60


class Tokens:
    """The tokens for one app. Threads may share it.

    Args:
        scope: What identifies the app in Entra: `api://` and its client id.
        fixed: A token that is used instead of those of the Azure CLI, as long as it is valid.
        now: The clock.
    """

    def __init__(
        self, scope: str | None, fixed: str | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._scope = scope
        self._fixed = fixed
        self._token = fixed or ""
        self._expires = self._renew_at = float("inf") if fixed else 0.0
        self._now = now
        self._lock = threading.Lock()

    def current(self) -> str:
        """Return a token that does not expire soon.

        Raises:
            Failure: the Azure CLI gives none.
        """
        with self._lock:
            if self._now() >= self._renew_at:
                try:
                    self._renew()
                except Failure:
                    if self._now() >= self._expires:
                        raise
                    self._renew_at = self._now() + _SHORTEST
            return self._token

    def other_than(self, refused: str) -> str | None:
        """Return another token than the one that the app refused, if there is one.

        Raises:
            Failure: the Azure CLI gives none.
        """
        with self._lock:
            # Another thread may have got it meanwhile.
            if self._token == refused and not self._fixed:
                self._renew()
            return self._token if self._token != refused else None

    def _renew(self) -> None:
        self._token, self._expires = _ask(f"{self._scope}/.default")
        self._renew_at = max(self._expires - _MARGIN, self._now() + _SHORTEST)


def _ask(scope: str) -> tuple[str, float]:
    """Return a token, and when it expires."""
    program = shutil.which("az")
    if program is None:
        raise Failure(
            Exit.KEY_REFUSED,
            "no_token",
            "The Azure CLI, which gets the token, is not installed.",
            hint="Install az, or set ACSID_TOKEN to a token.",
        )
    command = [program, "account", "get-access-token", "--scope", scope, "--output", "json"]
    try:
        ended = subprocess.run(  # noqa: S603 -- the Azure CLI; the scope was checked
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_token(type(error).__name__) from None
    if ended.returncode:
        # Only the error itself: with --debug in its settings, the Azure CLI writes much more.
        errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        raise _no_token(errors[0] if errors else f"exit code {ended.returncode}")
    try:
        answer = json.loads(ended.stdout)
        token = answer["accessToken"]
        # Before 2.54, az tells the time only without its zone. Then a 401 says that it has expired.
        return str(token), float(answer.get("expires_on") or "inf")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_token("its answer has no token") from None


def _no_token(reason: str) -> Failure:
    return Failure(
        Exit.KEY_REFUSED,
        "no_token",
        f"The Azure CLI gives no token: {reason}.",
        hint="Is an application signed in? az login --identity, or az login --service-principal.",
    )
