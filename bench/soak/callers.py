"""The callers: steady mixed load, with every response checked."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from bench.soak.faults import FaultInjector, now
from bench.soak.stage import Stage
from bench.soak.user import Request, Response, State, User, user_id

CALLERS = 24
# Users of each caller, and seconds between the caller's requests.
USERS, INTERVAL = 6, 0.4
# Longer than any response should take, so that a late one is seen.
TIMEOUT = aiohttp.ClientTimeout(total=30)
# Seconds after the load within which the result of every request must be known.
FINAL = 60.0
CREATE = "create_identity"


@dataclass
class Tally:
    """The requests and responses of all callers.

    Attributes:
        responses: Number of responses by operation and status; status 0 means no response.
        wrong: Descriptions of wrong responses.
        seconds: Durations of the calls that no fault affected.
        failed_creates: Number of creations with unknown result.
        gone: Number of identities that a purge with a lost response has deleted.
    """

    responses: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed_creates: int = 0
    gone: int = 0

    @property
    def calls(self) -> int:
        """Total number of calls."""
        return self.responses.total()


class Callers:
    """All callers.

    Attributes:
        users: All their users.
    """

    def __init__(self, stage: Stage, faults: FaultInjector, seed: int) -> None:
        self._stage = stage
        self._faults = faults
        self._seed = seed
        self.tally = Tally()
        self.users: list[User] = []
        self._may_call = asyncio.Event()
        self._may_call.set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._in_flight = 0

    @property
    def identities(self) -> dict[str, str]:
        """The living identity of each user by user id; empty if the user has none."""
        living = (State.ACTIVE, State.SUSPENDED)
        return {one.user_id: one.identity_id if one.state in living else "" for one in self.users}

    async def run(self, seconds: float) -> None:
        """Call for this long, and then until the result of every request is known."""
        headers = {"x-functions-key": self._stage.app.function_key}
        until = now() + seconds
        async with aiohttp.ClientSession(headers=headers, timeout=TIMEOUT) as session:
            callers = (self._caller(session, number, until) for number in range(CALLERS))
            await asyncio.gather(*callers)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Send nothing during the block, which starts when the last response is there."""
        self._may_call.clear()
        try:
            await self._is_idle.wait()
            yield
        finally:
            self._may_call.set()

    async def _caller(self, session: aiohttp.ClientSession, number: int, until: float) -> None:
        random = Random(self._seed * CALLERS + number)  # noqa: S311 -- repeatable, no secret
        users = [self._new_user() for _ in range(USERS)]
        await asyncio.sleep(INTERVAL * number / CALLERS)
        for end in _intervals(until):
            await self._call(session, random.choice(users), random)
            await asyncio.sleep(end - now())
        await asyncio.gather(*(self._finish(session, user, random) for user in users))

    async def _finish(self, session: aiohttp.ClientSession, user: User, random: Random) -> None:
        """Find out the result of the last request; then check that the user's tokens work."""
        until = now() + FINAL
        while user.pending:
            if now() > until:
                self.tally.wrong.append(f"{user.pending}: the result is unknown")
                return
            await self._call(session, user, random)
            await asyncio.sleep(INTERVAL)
        for token in user.tokens:
            await self._check_token(token, user, is_valid=True)

    def _new_user(self) -> User:
        user = User(user_id(len(self.users) + 1))
        self.users.append(user)
        return user

    async def _call(self, session: aiohttp.ClientSession, user: User, random: Random) -> None:
        """Make the user's next request and check everything that follows from its response."""
        await self._may_call.wait()
        if self._faults.is_quiet:
            user.faults_are_over()
        request, state, known = user.next_request(random), user.state, set(user.tokens)
        began = now()
        response = await self._send(session, request)
        faults = self._faults.affecting(began, now())
        allowed = {status for fault in faults for status in fault.allowed}
        if wrong := user.check(request, response, allowed):
            self.tally.wrong.append(f"{request.operation} with {state.value}: {wrong}")
        self._count(request, response, user, is_quiet=not faults)
        while user.dead_tokens:
            await self._check_token(user.dead_tokens.pop(), user, is_valid=False)
        for token in set(user.tokens) - known:
            await self._check_token(token, user, is_valid=True)
        while user.gone:
            await self._check_gone(user.gone.pop())

    async def _send(self, session: aiohttp.ClientSession, request: Request) -> Response:
        started = time.perf_counter()
        url = f"{self._stage.app.url}/api/{request.path}"
        self._in_flight += 1
        self._is_idle.clear()
        try:
            async with session.request(request.method, url, json=request.body) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return Response(0, {}, time.perf_counter() - started)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._is_idle.set()
        return Response(response.status, _parsed(content), time.perf_counter() - started)

    def _count(self, request: Request, response: Response, user: User, *, is_quiet: bool) -> None:
        self.tally.responses[request.operation, response.status] += 1
        if is_quiet:
            self.tally.seconds.append(response.seconds)
        if request.operation.startswith(CREATE) and not user.is_known:
            self.tally.failed_creates += 1

    async def _check_token(self, token: str, user: User, *, is_valid: bool) -> None:
        """Check whether the token works, as a calling or chat service would."""
        ask = self._stage.stack.control.ask_when_reachable
        verdict = await ask("POST", "tokens/verify", {"token": token})
        if verdict["valid"] is not is_valid:
            reason = verdict["reason"] or "valid"
            self.tally.wrong.append(f"a token of {user.identity_id} is {reason}")

    async def _check_gone(self, identity_id: str) -> None:
        """Check that ACS has deleted the identity."""
        self.tally.gone += 1
        ask = self._stage.stack.control.ask_when_reachable
        found = await ask("GET", f"identities/{identity_id}")
        if found["state"] != "deleted":
            self.tally.wrong.append(f"{identity_id} is {found['state']} in ACS")


def _intervals(until: float) -> Iterator[float]:
    """Yield the end of each interval. After a late request, fewer intervals follow."""
    while now() < until:
        yield now() + INTERVAL


def _parsed(content: bytes) -> dict[str, Any]:
    """Return the fields of the response, which are none if it is not a JSON object."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
