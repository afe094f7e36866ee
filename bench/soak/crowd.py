"""The callers: steady, mixed, and each sure of what the next answer must be."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import aiohttp

from bench.soak.faults import Faults, now
from bench.soak.stage import Stage
from bench.soak.subject import Answer, State, Step, Subject, user_id

CALLERS = 24
# Users of one caller, who asks for one of them every so many seconds.
USERS, INTERVAL = 6, 0.4
# Seconds; longer than anything may take, so that it is seen when something does.
PATIENCE = aiohttp.ClientTimeout(total=30)
# Seconds after which it must be known what has become of everything.
PARTING = 60.0
CREATE = "create_identity"


@dataclass
class Tally:
    """What was asked and answered.

    Attributes:
        answers: How often each operation was answered with each status; 0 is no answer.
        wrong: What was wrong, in words.
        seconds: How long the answers took while all was well.
        failed_creates: Creations of which the caller does not know whether they happened.
        waiting: Users who had to wait for a purge that a fault had cut short.
    """

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failed_creates: int = 0
    waiting: int = 0

    @property
    def calls(self) -> int:
        """All of them."""
        return self.answers.total()


class Crowd:
    """All callers.

    Attributes:
        subjects: Every user there is.
    """

    def __init__(self, stage: Stage, faults: Faults, seed: int) -> None:
        self._stage = stage
        self._faults = faults
        self._seed = seed
        self.tally = Tally()
        self.subjects: list[Subject] = []

    @property
    def held(self) -> dict[str, str]:
        """The identities that the users have, by user id; empty for a user who has none."""
        return {
            one.user_id: one.identity_id if one.state is State.ACTIVE else ""
            for one in self.subjects
        }

    async def run(self, seconds: float) -> None:
        """Ask for so long, and then until every caller knows where each of its users stands."""
        headers = {"x-functions-key": self._stage.azure.keys.function_key}
        until = now() + seconds
        async with aiohttp.ClientSession(headers=headers, timeout=PATIENCE) as session:
            callers = (self._caller(session, number, until) for number in range(CALLERS))
            await asyncio.gather(*callers)

    async def _caller(self, session: aiohttp.ClientSession, number: int, until: float) -> None:
        dice = Random(self._seed * CALLERS + number)  # noqa: S311 -- repeatable, no secret
        mine = [self._newcomer() for _ in range(USERS)]
        await asyncio.sleep(INTERVAL * number / CALLERS)
        for turn in _turns(until):
            place = dice.randrange(USERS)
            await self._turn(session, mine[place], dice)
            if mine[place].has_to_wait and mine[place].is_known:
                self.tally.waiting += 1
                mine[place] = self._newcomer()
            await asyncio.sleep(turn - now())
        await asyncio.gather(*(self._part(session, subject, dice) for subject in mine))

    async def _part(self, session: aiohttp.ClientSession, subject: Subject, dice: Random) -> None:
        """Find out what has become of the last request; then its tokens must still work."""
        until = now() + PARTING
        while subject.pending:
            if subject.has_to_wait:
                self.tally.waiting += 1
                return
            if now() > until:
                self.tally.wrong.append(f"{subject.pending}: what became of it, nobody knows")
                return
            await self._turn(session, subject, dice)
            await asyncio.sleep(INTERVAL)
        for token in subject.tokens:
            await self._verify(token, subject, is_valid=True)

    def _newcomer(self) -> Subject:
        subject = Subject(user_id(len(self.subjects) + 1))
        self.subjects.append(subject)
        return subject

    async def _turn(self, session: aiohttp.ClientSession, subject: Subject, dice: Random) -> None:
        if self._faults.is_calm:
            subject.calm()
        step, state, known = subject.next(dice), subject.state, set(subject.tokens)
        began = now()
        answer = await self._ask(session, step)
        felt = self._faults.felt(began, now())
        if wrong := subject.judge(step, answer, {one for each in felt for one in each.excused}):
            self.tally.wrong.append(f"{step.operation} with {state.value}: {wrong}")
        self._count(step, answer, subject, is_calm=not felt)
        while subject.dead_tokens:
            await self._verify(subject.dead_tokens.pop(), subject, is_valid=False)
        for token in set(subject.tokens) - known:
            await self._verify(token, subject, is_valid=True)
        if subject.is_gone:
            await self._seek(subject)

    async def _ask(self, session: aiohttp.ClientSession, step: Step) -> Answer:
        started = time.perf_counter()
        url = f"{self._stage.app.url}/api/{step.path}"
        try:
            async with session.request(step.method, url, json=step.body) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError):
            return Answer(0, {}, time.perf_counter() - started)
        return Answer(response.status, _read(content), time.perf_counter() - started)

    def _count(self, step: Step, answer: Answer, subject: Subject, *, is_calm: bool) -> None:
        self.tally.answers[step.operation, answer.status] += 1
        if is_calm:
            self.tally.seconds.append(answer.seconds)
        if step.operation.startswith(CREATE) and not subject.is_known:
            self.tally.failed_creates += 1

    async def _verify(self, token: str, subject: Subject, *, is_valid: bool) -> None:
        """Find out whether the token works, as a calling or chat service would."""
        verdict = await self._stage.ask("POST", "/tokens/verify", {"token": token})
        if verdict["valid"] is not is_valid:
            reason = verdict["reason"] or "valid"
            self.tally.wrong.append(f"a token of {subject.identity_id} is {reason}")

    async def _seek(self, subject: Subject) -> None:
        """Make sure that ACS has deleted it."""
        found = await self._stage.ask("GET", f"/identities/{subject.identity_id}")
        if found["state"] != "deleted":
            self.tally.wrong.append(f"{subject.identity_id} is {found['state']} in ACS")


def _turns(until: float) -> Iterator[float]:
    """When each turn ends, one interval after the other; a late one is not made up for."""
    while now() < until:
        yield now() + INTERVAL


def _read(content: bytes) -> dict[str, Any]:
    """The answer's members; none where it is no JSON object, which is for the judge to say."""
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
