"""What callers can use of one instance: calls per user, and calls at once."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity_service.errors import Overloaded, TooManyCalls
from identity_service.http.binding import BoundOperation
from identity_service.limits import OPERATIONS, USERS, Slots, UserBudgets
from identity_service.operations import identities, status
from identity_service.ports import Acs
from tests.http.edge import content, memory_services, request, serve
from tests.support.world import World
from tools.openapi.document import operations


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


async def hang(acs: Acs) -> None:
    """Wait for an upstream that never responds."""
    await asyncio.Event().wait()


def test_hanging_operations(virtual_time: asyncio.Runner, world: World) -> None:
    """While operations hang, new calls are refused at once; health and openapi respond.

    A slot is used until the operation ends, not until its caller has a response.
    """
    services = memory_services(world)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        hanging = [serve(request(), hang, services) for _ in range(OPERATIONS)]
        codes = [content(response)["code"] for response in await asyncio.gather(*hanging)]
        assert codes == ["acs_too_slow"] * OPERATIONS
        started = loop.time()
        refused = await serve(request(), identities.list_identities, services)

        assert (refused.status_code, content(refused)["code"]) == (503, "overloaded")
        assert refused.headers["Retry-After"] == "1"
        for operation in (status.health, status.openapi):
            assert (await serve(request(), operation, services)).status_code == 200
        assert loop.time() == started

    virtual_time.run(scenario())


@pytest.mark.parametrize("name", operations())
def test_every_operation_that_waits_for_an_upstream_uses_a_slot(name: str, world: World) -> None:
    """Only health and openapi wait for nothing, and ready asks once for all callers together."""
    bound = BoundOperation(operations()[name], memory_services(world))

    assert bound.calls_upstream == (name not in {"health", "openapi", "ready"})
