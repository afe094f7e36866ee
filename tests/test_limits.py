"""Limits on what callers can use: calls of one user, and operations at once."""

import asyncio

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
    """The time of the limits, which stands still."""

    now = 1000.0

    def __call__(self) -> float:
        """The current time in seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The clock of the budgets."""
    return Clock()


@pytest.fixture
def budgets(clock: Clock) -> UserBudgets:
    """The budgets of users."""
    return UserBudgets(clock)


def spend(budgets: UserBudgets, user_id: str, calls_per_minute: int) -> int:
    """Send one call. Returns 0, or the seconds to wait."""
    try:
        budgets.spend(user_id, calls_per_minute)
    except TooManyCalls as refused:
        return refused.retry_after or 0
    return 0


# Budgets


@pytest.mark.parametrize(("calls", "wait"), [(1, 60), (2, 30), (30, 2), (60, 1), (7, 9), (1000, 1)])
def test_budget(budgets: UserBudgets, calls: int, wait: int) -> None:
    """A user can send the calls of one minute at once. The next one is refused, with the wait."""
    assert [spend(budgets, "alice", calls) for _ in range(calls + 3)] == [0] * calls + [wait] * 3


def test_budget_comes_back(budgets: UserBudgets, clock: Clock) -> None:
    """After the wait one more call succeeds, and after a minute all of them."""
    for _ in range(30):
        spend(budgets, "alice", 30)

    clock.now += 1.9
    assert spend(budgets, "alice", 30) == 1
    clock.now += 0.1
    assert [spend(budgets, "alice", 30) for _ in range(2)] == [0, 2]
    clock.now += 60
    assert [spend(budgets, "alice", 30) for _ in range(31)] == [0] * 30 + [2]


def test_budget_of_another_user(budgets: UserBudgets) -> None:
    """A user who has no call left does not affect the others."""
    for _ in range(100):
        spend(budgets, "alice", 30)

    assert spend(budgets, "bob", 30) == 0


@given(st.integers(1, 200), st.lists(st.floats(0, 5), max_size=300))
def test_calls_in_any_minute(calls: int, pauses: list[float]) -> None:
    """With any pauses, a user has at most twice the calls in any minute, and never waits longer."""
    clock, accepted = Clock(), list[float]()
    budgets = UserBudgets(clock)
    for pause in pauses:
        clock.now += pause
        wait = spend(budgets, "alice", calls)
        assert 0 <= wait <= max(1, 60 // calls + 1)
        accepted += [] if wait else [clock.now]

    for start in accepted:
        assert sum(start <= each < start + 60 for each in accepted) <= 2 * calls


def test_budgets_use_bounded_memory(budgets: UserBudgets) -> None:
    """10,000 users are remembered. Of more, the one that called longest ago is forgotten."""
    for number in range(USERS):
        spend(budgets, f"user-{number}", 1)
    assert spend(budgets, "user-0", 1) == 60

    spend(budgets, "one more", 1)

    assert spend(budgets, "user-0", 1) == 60
    assert spend(budgets, "user-1", 1) == 0
    assert len(budgets._full_at) == USERS


# Slots


def test_slots() -> None:
    """Each slot is free again after its operation, also after one that failed."""
    slots = Slots()
    for _ in range(OPERATIONS + 1):
        with pytest.raises(ZeroDivisionError), slots.one():
            raise ZeroDivisionError

    with slots.one():
        pass


def test_no_slot_is_left() -> None:
    """Beyond the limit an operation is refused at once. A refusal uses no slot."""
    slots = Slots()
    used = [slots.one() for _ in range(OPERATIONS)]
    for slot in used:
        slot.__enter__()

    for _ in range(3):
        with pytest.raises(Overloaded) as caught, slots.one():
            pass
    assert caught.value.retry_after == 1

    used[0].__exit__(None, None, None)
    with slots.one():
        pass


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
