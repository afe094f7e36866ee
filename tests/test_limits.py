"""What callers can use of one instance: calls per user, and calls at once."""

import asyncio
import contextlib
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import AcsTooSlow, Overloaded, TooManyCalls
from identity_service.limits import (
    CALLS,
    DEADLINE,
    HALF_FULL,
    SLOW,
    SLOW_CALLS,
    USERS,
    Traffic,
    UserBudgets,
)
from identity_service.log import CONNECTING, begin_invocation, connected, current_invocation


class Clock:
    """The time in seconds, which a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the budgets."""
    return Clock()


@pytest.fixture
def budgets(clock: Clock) -> UserBudgets:
    """The budgets of one instance."""
    return UserBudgets(clock)


def accepted(budgets: UserBudgets, user: str, calls_per_minute: int) -> int:
    """How many calls the user can send at once."""
    count = 0
    try:
        while True:
            budgets.spend(user, calls_per_minute)
            count += 1
    except TooManyCalls:
        return count


def wait_of(budgets: UserBudgets, user: str, calls_per_minute: int) -> int:
    """The seconds that a refused user is asked to wait."""
    with pytest.raises(TooManyCalls) as caught:
        budgets.spend(user, calls_per_minute)
    assert caught.value.retry_after
    return caught.value.retry_after


@pytest.mark.parametrize("calls", [1, 7, 30, 59, 61, 100_000])
def test_calls_of_a_minute_can_be_sent_at_once(budgets: UserBudgets, calls: int) -> None:
    """Exactly as many as the setting says."""
    assert accepted(budgets, "alice", calls) == calls


@pytest.mark.parametrize("calls", [1, 7, 30, 59, 61])
def test_calls_become_available_one_by_one(budgets: UserBudgets, clock: Clock, calls: int) -> None:
    """After the burst, each part of a minute gives one call, not sooner."""
    accepted(budgets, "alice", calls)
    for _ in range(3):
        clock.now += 60 / calls - 0.01
        assert accepted(budgets, "alice", calls) == 0
        clock.now += 0.01
        assert accepted(budgets, "alice", calls) == 1


def test_budget_is_full_after_a_minute(budgets: UserBudgets, clock: Clock) -> None:
    """It is never more than full."""
    accepted(budgets, "alice", 30)
    clock.now += 60

    assert accepted(budgets, "alice", 30) == 30

    clock.now += 3600
    assert accepted(budgets, "alice", 30) == 30


@given(st.integers(1, 200), st.lists(st.floats(0, 5), max_size=300))
def test_calls_in_any_minute(calls: int, pauses: list[float]) -> None:
    """With any pauses, a user has at most twice the calls in any minute."""
    clock, times = Clock(), list[float]()
    budgets = UserBudgets(clock)
    for pause in pauses:
        clock.now += pause
        with contextlib.suppress(TooManyCalls):
            budgets.spend("alice", calls)
            times.append(clock.now)

    for start in times:
        assert sum(start <= each < start + 60 for each in times) <= 2 * calls


@pytest.mark.parametrize(("calls", "wait"), [(1, 60), (30, 2), (60, 1), (40, 2), (100_000, 1)])
def test_retry_after(budgets: UserBudgets, clock: Clock, calls: int, wait: int) -> None:
    """It is in whole seconds, at least one, and a call after it is accepted."""
    accepted(budgets, "alice", calls)

    assert wait_of(budgets, "alice", calls) == wait

    clock.now += wait
    budgets.spend("alice", calls)


def test_refused_calls_cost_nothing(budgets: UserBudgets, clock: Clock) -> None:
    """A client that ignores Retry-After does not wait longer."""
    accepted(budgets, "alice", 30)
    for _ in range(1000):
        assert wait_of(budgets, "alice", 30) == 2
    clock.now += 2

    assert accepted(budgets, "alice", 30) == 1


def test_users_are_independent(budgets: UserBudgets) -> None:
    """One user's calls cost no one else."""
    accepted(budgets, "alice", 30)

    assert accepted(budgets, "bob", 30) == 30


def test_number_of_users_is_bounded(budgets: UserBudgets) -> None:
    """The user that called longest ago is forgotten. A refused call counts as a call."""
    accepted(budgets, "alice", 1)
    accepted(budgets, "bob", 1)
    for number in range(USERS - 2):
        budgets.spend(f"user {number}", 1)
    assert wait_of(budgets, "alice", 1) == 60
    budgets.spend("one more", 1)

    assert wait_of(budgets, "alice", 1) == 60
    assert accepted(budgets, "bob", 1) == 1
    assert len(budgets._full_at) == USERS


# Calls at once


class Operations:
    """Operations that hang until they are told to end, and how their callers fared.

    Attributes:
        started: How often each operation was started.
        ends: Ends the hanging calls.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.traffic = Traffic()
        self.started: Counter[str] = Counter()
        self.ends = asyncio.Event()
        self.hangs = True
        self._error = error

    async def call(self, operation: str) -> tuple[str, float]:
        """Call an operation. Returns the outcome and the seconds that it took."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        begin_invocation(operation)

        async def run() -> None:
            self.started[operation] += 1
            if operation == "hangs" and self.hangs:
                with current_invocation().table_call():
                    connected()
                    await self.ends.wait()
            if self._error:
                raise self._error

        try:
            await self.traffic.run(operation, run)
        except (AcsTooSlow, Overloaded, ValueError) as error:
            return type(error).__name__, loop.time() - started
        return "ok", loop.time() - started

    async def many(self, count: int) -> list[tuple[str, float]]:
        """Call the hanging operation this often at once."""
        return await asyncio.gather(*(self.call("hangs") for _ in range(count)))


async def keep_calling(operations: Operations, seconds: float) -> Counter[str]:
    """Call the hanging operation again and again for this long. Returns how often each outcome."""
    loop = asyncio.get_running_loop()
    outcomes: Counter[str] = Counter()
    end = loop.time() + seconds
    while loop.time() < end:
        outcome, _ = await operations.call("hangs")
        outcomes[outcome] += 1
        await asyncio.sleep(0.05)
    return outcomes


def test_a_few_hanging_calls_wait_until_the_deadline(virtual_time: asyncio.Runner) -> None:
    """While the instance is half empty, a call that hangs may still succeed until its deadline."""
    outcomes = virtual_time.run(Operations().many(HALF_FULL))

    assert outcomes == [("AcsTooSlow", DEADLINE)] * HALF_FULL


def test_burst_of_an_operation_that_hangs(virtual_time: asyncio.Runner) -> None:
    """After a second, calls are given up until the instance is half empty."""
    outcomes = Counter(virtual_time.run(Operations().many(32)))

    assert outcomes == {
        ("AcsTooSlow", SLOW): 32 - HALF_FULL,
        ("AcsTooSlow", DEADLINE): HALF_FULL,
    }


def test_burst_of_a_healthy_operation(virtual_time: asyncio.Runner) -> None:
    """While calls are fast, none is refused."""
    operations = Operations()
    operations.hangs = False

    assert virtual_time.run(operations.many(CALLS)) == [("ok", 0)] * CALLS


@pytest.mark.parametrize("name", ["import_identities", "import_teams_access"])
def test_imports_leave_room_for_other_operations(virtual_time: asyncio.Runner, name: str) -> None:
    """At most a quarter of the calls are imports. Another one is refused at once."""
    traffic = Traffic()

    async def wait() -> None:
        await asyncio.sleep(5)

    async def scenario() -> Counter[str]:
        calls = [traffic.run(name, wait) for _ in range(32)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        await traffic.run(name, wait)
        return Counter(type(each).__name__ for each in outcomes)

    assert virtual_time.run(scenario()) == {"NoneType": SLOW_CALLS, "Overloaded": 32 - SLOW_CALLS}


def test_busy_worker(virtual_time: asyncio.Runner) -> None:
    """Calls that take long, but do not wait for an upstream, are not given up."""
    traffic = Traffic()

    async def compute() -> str:
        await asyncio.sleep(5)
        return "done"

    async def scenario() -> list[str]:
        return await asyncio.gather(*(traffic.run("compute", compute) for _ in range(32)))

    assert virtual_time.run(scenario()) == ["done"] * 32


def test_connection_that_hangs(virtual_time: asyncio.Runner) -> None:
    """A call that gets no connection is slow after a second more."""

    async def connect() -> None:
        with current_invocation().table_call():
            await asyncio.Event().wait()

    async def call(traffic: Traffic) -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        begin_invocation("one")
        with pytest.raises(AcsTooSlow):
            await traffic.run("connect", connect)
        return loop.time() - started

    async def scenario() -> list[float]:
        traffic = Traffic()
        return await asyncio.gather(*(call(traffic) for _ in range(32)))

    assert set(virtual_time.run(scenario())) == {CONNECTING + SLOW, DEADLINE}


def test_more_calls_than_the_platform_sends(virtual_time: asyncio.Runner) -> None:
    """They are refused at once and not started."""
    operations = Operations()
    outcomes = Counter(virtual_time.run(operations.many(CALLS + 10)))

    assert (outcomes["Overloaded", 0], operations.started["hangs"]) == (10, CALLS)


def test_repeated_calls_of_an_operation_that_hangs(virtual_time: asyncio.Runner) -> None:
    """Beyond its share, one call a second is started. All others are refused at once."""
    operations = Operations()

    async def scenario() -> Counter[str]:
        callers = [asyncio.create_task(keep_calling(operations, 8)) for _ in range(32)]
        return sum(await asyncio.gather(*callers), Counter[str]())

    outcomes = virtual_time.run(scenario())

    assert 32 <= operations.started["hangs"] <= 32 + 2 * 8
    assert outcomes["Overloaded"] > 1000


def test_other_operations_while_one_hangs(virtual_time: asyncio.Runner) -> None:
    """They are never refused, and never wait."""
    operations = Operations()

    async def scenario() -> set[tuple[str, float]]:
        callers = [asyncio.create_task(keep_calling(operations, 8)) for _ in range(32)]
        others = set()
        for _ in range(100):
            others.add(await operations.call("another"))
            await asyncio.sleep(0.05)
        await asyncio.gather(*callers)
        return others

    assert virtual_time.run(scenario()) == {("ok", 0)}


def test_end_of_the_hang(virtual_time: asyncio.Runner) -> None:
    """New calls succeed within a second, although the old ones still hang. They are given up."""
    operations = Operations()

    async def scenario() -> tuple[list[tuple[str, float]], float]:
        loop = asyncio.get_running_loop()
        old = [asyncio.create_task(operations.call("hangs")) for _ in range(32)]
        await asyncio.sleep(2 * SLOW)
        await operations.call("hangs")  # uses the trial of this second
        operations.hangs = False
        recovered = loop.time()
        outcomes = await keep_calling(operations, SLOW)
        healthy = loop.time() - recovered if outcomes["ok"] else math.inf
        assert await operations.many(8) == [("ok", 0)] * 8
        return await asyncio.gather(*old), healthy

    old, healthy = virtual_time.run(scenario())

    assert healthy < SLOW + 0.1
    assert max(seconds for _, seconds in old) < DEADLINE


def test_failures_do_not_end_a_hang(virtual_time: asyncio.Runner) -> None:
    """A call that fails fast, for example because the caller asked for too much, proves nothing."""
    operations = Operations(ValueError())

    async def scenario() -> list[str]:
        old = [asyncio.create_task(operations.call("hangs")) for _ in range(32)]
        await asyncio.sleep(2 * SLOW)
        old.append(asyncio.create_task(operations.call("hangs")))
        await asyncio.sleep(0.01)
        operations.hangs = False
        outcomes = [(await operations.call("hangs"))[0] for _ in range(2)]
        operations.ends.set()
        await asyncio.gather(*old)
        return outcomes

    assert virtual_time.run(scenario()) == ["ValueError", "Overloaded"]


def test_call_goes_on_after_its_caller_was_answered(virtual_time: asyncio.Runner) -> None:
    """An operation is never cancelled."""
    traffic, done = Traffic(), []

    async def slow() -> None:
        await asyncio.sleep(2 * DEADLINE)
        done.append(True)

    async def scenario() -> None:
        with pytest.raises(AcsTooSlow):
            await traffic.run("slow", slow)
        await asyncio.sleep(2 * DEADLINE)

    virtual_time.run(scenario())

    assert done == [True]
