"""What callers can use of one instance: calls per user, and calls at once."""

import asyncio

import pytest

from identity_service.errors import Overloaded, TooManyCalls
from identity_service.limits import OPERATIONS, USERS, Slots, UserBudgets


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


def test_calls_in_any_minute(budgets: UserBudgets, clock: Clock) -> None:
    """A user who calls all the time gets a burst and the rate: at most twice the rate a minute."""
    count = 0
    for _ in range(600):
        count += accepted(budgets, "alice", 30)
        clock.now += 0.1

    assert count == pytest.approx(60, abs=1)


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


async def use(slots: Slots, end: asyncio.Event, error: Exception | None = None) -> None:
    """An operation that runs until the event."""
    with slots.one():
        await end.wait()
        if error:
            raise error


async def test_calls_beyond_the_slots_are_refused_at_once() -> None:
    """Each operation has a slot until its end. Beyond them, a call is refused with Retry-After."""
    slots, end = Slots(), asyncio.Event()
    running = [asyncio.create_task(use(slots, end)) for _ in range(OPERATIONS)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as caught:
        await use(slots, end)

    assert caught.value.retry_after == 1

    end.set()
    await asyncio.gather(*running)


@pytest.mark.parametrize("ending", ["success", "error", "cancellation"])
async def test_slot_is_free_after_the_end(ending: str) -> None:
    """All slots are free again, however the operations end, and after refusals too."""
    slots, end = Slots(), asyncio.Event()
    for _ in range(2):
        error = ValueError() if ending == "error" else None
        running = [asyncio.create_task(use(slots, end, error)) for _ in range(OPERATIONS)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await use(slots, end)
        if ending == "cancellation":
            for task in running:
                task.cancel()
        else:
            end.set()
        await asyncio.gather(*running, return_exceptions=True)
        end.clear()

    end.set()
    await use(slots, end)
