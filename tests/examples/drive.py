"""Runs the refresher of examples/python for the tests.

Each line of standard input is a JSON array: the name of a method of the driver, and its arguments.
The result of each is a line of standard output. `drive.mjs` does the same for examples/node.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

# Each of Microsoft's packages for ACS has a copy of them: azure.communication.chat exports its own.
from azure.communication.identity._shared import user_credential, user_credential_async
from azure.identity import ManagedIdentityCredential

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "python"))

from refresher import AccessTokens
from service import Service, ServiceError, with_entra, with_key


class Driver:
    """The methods. Sleeping takes no time, but moves the clock."""

    tokens: AccessTokens

    def __init__(self) -> None:
        self._passed = 0.0
        self._slept: list[float] = []
        self._started: list[Future[Any]] = []

    def environ(self, variables: dict[str, str]) -> None:
        """Sets environment variables."""
        os.environ.update(variables)

    def new(self, url: str, key: str, application: str, limits: dict[str, Any]) -> None:
        """Creates what is tested."""
        self._slept.clear()
        self._passed = 0
        self._broken = False
        authenticate = (
            with_key(key) if key else with_entra(ManagedIdentityCredential(), application)
        )

        def check_and_authenticate() -> dict[str, str]:
            if self._broken:
                raise RuntimeError("There is no token")
            return authenticate()

        users = {"users": limits.pop("users")} if "users" in limits else {}
        service = Service(url, check_and_authenticate, now=self._now, sleep=self._sleep, **limits)
        self.tokens = AccessTokens(service, **users)

    def _now(self) -> float:
        return time.time() + self._passed

    def _sleep(self, seconds: float) -> None:
        self._slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Moves the clock."""
        self._passed += seconds

    def break_credential(self) -> None:
        """From now on, authenticating fails."""
        self._broken = True

    def slept(self) -> list[float]:
        """The pauses so far."""
        return self._slept

    def start(self, *user_ids: str) -> None:
        """Starts a call of `get` for each."""
        pool = ThreadPoolExecutor(len(user_ids))
        self._started = [pool.submit(self.get, each) for each in user_ids]
        pool.shutdown(wait=False)

    def finish(self) -> list[Any]:
        """Returns the results of the started calls."""
        return [each.result() for each in self._started]

    def get(self, user_id: str) -> Any:
        """Returns the token, or the error."""
        return _outcome(lambda: self.tokens.get(user_id).token)

    def forget(self, user_id: str) -> None:
        """Calls `forget`."""
        self.tokens.forget(user_id)

    def revoke(self, user_id: str) -> Any:
        """Calls `revoke`."""
        return _outcome(lambda: self.tokens.revoke(user_id))

    def delete(self, user_id: str) -> Any:
        """Calls `delete`."""
        return _outcome(lambda: self.tokens.delete(user_id))

    def credential(self, user_id: str, token: str, proactive: bool) -> str:
        """Returns the token that Microsoft's credential has, if it had this token before."""
        refresh = partial(self.tokens.get, user_id)
        with user_credential.CommunicationTokenCredential(
            token, token_refresher=refresh, proactive_refresh=proactive
        ) as credential:
            return str(credential.get_token().token)

    def async_credential(self, user_id: str, token: str, proactive: bool) -> str:
        """The same for the one with `async`."""
        refresh = partial(asyncio.to_thread, self.tokens.get, user_id)

        async def get() -> str:
            async with user_credential_async.CommunicationTokenCredential(
                token, token_refresher=refresh, proactive_refresh=proactive
            ) as credential:
                return str((await credential.get_token()).token)

        return asyncio.run(get())

    def run(self, code: str, variables: dict[str, str]) -> str:
        """Runs code that creates `credential`, and returns the token of the credential."""
        names = {
            "AccessTokens": AccessTokens,
            "Service": Service,
            "with_key": with_key,
            "partial": partial,
            "CommunicationTokenCredential": user_credential.CommunicationTokenCredential,
        }
        scope: dict[str, Any] = {**names, **variables}
        exec(code, scope)  # noqa: S102 -- code of our own READMEs
        with scope["credential"] as credential:
            return str(credential.get_token().token)


def _outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except ServiceError as error:
        return {"status": error.status, "code": error.code, "retryAfter": error.retry_after}


if __name__ == "__main__":
    driver = Driver()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        sys.stdout.write(json.dumps(getattr(driver, name)(*arguments)) + "\n")
        sys.stdout.flush()
