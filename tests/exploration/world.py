"""The world the operations act in: ACS, registry and clock, which can be put back as they were."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from identity_service.errors import ServiceError
from identity_service.model import AccessToken
from identity_service.ports import Clock, RowChanged
from identity_service.rows import AgendaRow, IdentityRow, UserRow
from tests.exploration.performance import Answer, Call, ask, performing
from tests.memory_acs import MemoryAcs
from tests.memory_registry import MemoryRegistry

T = TypeVar("T")

START = datetime(2030, 1, 1, 12, tzinfo=UTC)


class World(NamedTuple):
    """How things are at one moment. Two worlds that are equal have the same future.

    Attributes:
        tokens: The tokens that are alive, and whose they are.
    """

    rows: frozenset[IdentityRow]
    entries: frozenset[AgendaRow]
    users: frozenset[UserRow]
    identities: frozenset[str]
    tokens: frozenset[tuple[str, str]]
    now: datetime

    def row(self, identity_id: str) -> IdentityRow | None:
        """The identity's row."""
        return next((row for row in self.rows if row.id == identity_id), None)


EMPTY = World(frozenset(), frozenset(), frozenset(), frozenset(), frozenset(), START)


class SetClock(Clock):
    """A clock that stands until it is set. No two operations read the same microsecond."""

    def __init__(self) -> None:
        self.base = START

    def now(self) -> datetime:
        """The time of the operation that asks."""
        performance = performing()
        return self.base + timedelta(microseconds=performance.number if performance else 0)

    async def sleep(self, seconds: float) -> None:
        """Do not wait: the sweep's pace is not what is explored."""


class GatedAcs(MemoryAcs):
    """ACS in memory, whose calls wait for the scheduler. What it makes is named after the call."""

    call = ""

    def add(self) -> str:
        """See `MemoryAcs`."""
        self.identities.append(f"identity-{self.call}")
        return self.identities[-1]

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """See `Remote`."""
        answer: T = await ask("acs", call, effect)
        return answer

    def _mint(self, identity_id: str, minutes: int | None) -> AccessToken:
        token = f"token-{self.call}"
        self._alive[token] = identity_id
        return AccessToken(token, self._clock.now() + timedelta(minutes=minutes or 1440))


class GatedRegistry(MemoryRegistry):
    """The registry in memory, whose calls wait for the scheduler, too."""

    call = ""

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """See `Remote`."""
        answer: T = await ask("registry", call, effect)
        return answer

    def _version(self) -> str:
        return self.call


class Stage:
    """ACS, registry and clock of one exploration."""

    def __init__(self, registry: type[GatedRegistry] = GatedRegistry) -> None:
        self.clock = SetClock()
        self.acs = GatedAcs(self.clock)
        self.registry = registry()

    def set_clock(self, now: datetime) -> None:
        """Set the clock."""
        self.clock.base = now

    def take(self, call: Call, world: World) -> tuple[World, Answer]:
        """What becomes of the world when the call takes effect, and what it is answered."""
        self._load(world)
        self.acs.call = self.registry.call = call.id
        try:
            value = _frozen(call.effect())
        except (ServiceError, RowChanged) as error:
            return world, Answer.of(error)
        return self._save() if call.changes else world, Answer(value)

    def _load(self, world: World) -> None:
        self.clock.base = world.now
        self.registry.rows = {row.id: row for row in world.rows}
        self.registry.entries = set(world.entries)
        self.registry.users = {row.user_id: row for row in world.users}
        self.acs.identities = list(world.identities)
        self.acs._alive = dict(world.tokens)

    def _save(self) -> World:
        return World(
            frozenset(self.registry.rows.values()),
            frozenset(self.registry.entries),
            frozenset(self.registry.users.values()),
            frozenset(self.acs.identities),
            frozenset(self.acs._alive.items()),
            self.clock.base,
        )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
