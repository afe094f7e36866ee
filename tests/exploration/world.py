"""The world of the explored operations. It can be reset to a snapshot."""

from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from identity_service.access_lifecycle import TeamsAccess
from identity_service.due_work import SweepReport
from identity_service.errors import IdentityNotFound, ServiceError, WrongResource
from identity_service.identity import (
    DueEntry,
    DueKind,
    Identity,
    SignedInUser,
    SweepRecord,
    UserRow,
)
from identity_service.lifecycle import Lifecycle
from identity_service.limits import Verifications
from identity_service.operations.identities import resume_identity, suspend_identity
from identity_service.operations.me import delete_me, restore_me
from identity_service.ports import Conflict
from identity_service.schemas import DeletionResponse, IdentityResponse, IssuedTokenResponse
from identity_service.sweep import purge_deleted_identities
from identity_service.teams_access import Access, AccessDue, Assignment
from tests.exploration.operation import (
    Call,
    Execution,
    Operation,
    Response,
    begin,
    remote_call,
    running,
)
from tests.support.memory import (
    MemoryAccessRegistry,
    MemoryAcs,
    MemoryAssignments,
    MemoryRegistry,
    require_caller,
)
from tests.support.virtual_time import START, VirtualClock
from tests.support.world import World

T = TypeVar("T")

USER = "user"
OTHER_USER = "other user"
UNKNOWN = "identity-unknown"
# Identities that were created elsewhere. The operations on `OTHER` say so in their titles.
ELSEWHERE = "identity-elsewhere"
OTHER = "identity-other"
# An identity of another ACS resource.
FOREIGN = "identity-foreign"

# Whose Teams Phone access the operations are about, and what they want. ACS refuses the last one.
PRINCIPAL = "tenant", "object"
ASSIGNMENT = Assignment("user", ("client",))
OTHER_ASSIGNMENT = Assignment("user", ("other client",))
REFUSED_ASSIGNMENT = Assignment("user", ("refused client",))
# When the access ends that is given for a day.
EXPIRES_ON = START + timedelta(days=1)

# Joins the titles of operations that one caller runs one after the other.
THEN = " then "


class Snapshot(NamedTuple):
    """Everything in the world at one moment. Equal snapshots have the same future.

    Attributes:
        tokens: Each valid token with the id of its identity.
        accesses: The access rows.
        assignments: What ACS has about Teams Phone.
    """

    rows: frozenset[Identity]
    entries: frozenset[DueEntry]
    users: frozenset[UserRow]
    identities: frozenset[str]
    tokens: frozenset[tuple[str, str]]
    now: datetime
    accesses: frozenset[Access] = frozenset()
    access_entries: frozenset[AccessDue] = frozenset()
    assignments: frozenset[Assignment] = frozenset()

    @property
    def access(self) -> Access | None:
        """The only access row."""
        return next(iter(self.accesses), None)

    @property
    def assignment(self) -> Assignment | None:
        """The only assignment in ACS."""
        return next(iter(self.assignments), None)

    def row(self, identity_id: str) -> Identity | None:
        """The identity's row."""
        return next((row for row in self.rows if row.id == identity_id), None)


EMPTY = Snapshot(frozenset(), frozenset(), frozenset(), frozenset(), frozenset(), START)


class FixedClock(VirtualClock):
    """A clock that the scheduler sets.

    No two operations read the same second: responses have whole seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.time = START

    def now(self) -> datetime:
        """The time of the running operation."""
        execution = running()
        return self.time + timedelta(seconds=execution.number if execution else 0)

    async def sleep(self, seconds: float) -> None:
        """Do not wait: the sweep's rate limit is not explored."""


class GatedAcs(MemoryAcs):
    """ACS in memory. Its calls wait for the scheduler; a new id or token contains the call's id."""

    call_id = ""

    def add(self) -> str:
        """See `MemoryAcs`."""
        self.identities.append(f"identity-{self.call_id}")
        return self.identities[-1]

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """See `Planned`."""
        value: T = await remote_call("acs", call, effect)
        return value

    def load(self, snapshot: Snapshot) -> None:
        """Reset it to the snapshot."""
        self.identities = list(snapshot.identities)
        self._valid = dict(snapshot.tokens)

    @property
    def tokens(self) -> frozenset[tuple[str, str]]:
        """Each valid token with the id of its identity."""
        return frozenset(self._valid.items())

    def _new_token(self) -> str:
        return f"token-{self.call_id}"

    def _require(self, identity_id: str) -> None:
        if identity_id == FOREIGN:
            raise WrongResource("The identity is not in this resource.")
        if identity_id not in self.identities:  # an id here says nothing about its resource
            raise IdentityNotFound("ACS has no such identity.")


class GatedRegistry(MemoryRegistry):
    """The registry in memory. Its calls wait for the scheduler; a new ETag is the call's id."""

    call_id = ""
    is_explored = True

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """See `Planned`."""
        value: T = await remote_call("registry", call, effect)
        return value

    async def due_entries(
        self,
        kinds: Collection[DueKind] = tuple(DueKind),
        *,
        after: DueEntry | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DueEntry]:
        """See `ports.Registry`."""
        if self.is_explored:
            async for entry in super().due_entries(kinds, after=after, until=until):
                yield entry

    async def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """See `ports.Registry`. A write that has been sent takes effect, awaited or not."""
        if if_awaited:
            require_caller()
        return await super().update(old, new)

    def load(self, snapshot: Snapshot) -> None:
        """Reset it to the snapshot."""
        self.rows = {row.id: row for row in snapshot.rows}
        self.entries = set(snapshot.entries)
        self.users = {row.user_id: row for row in snapshot.users}

    # The row about the sweep changes nothing else, so it is not explored.

    async def read_sweep(self) -> SweepRecord:
        """See `ports.Registry`."""
        return SweepRecord(last_started_on=START, last_completed_on=START)

    async def record_sweep_start(self, now: datetime) -> None:
        """See `ports.Registry`."""

    async def record_sweep_end(self, now: datetime) -> None:
        """See `ports.Registry`."""

    def _version(self) -> str:
        return self.call_id


class GatedAssignments(MemoryAssignments):
    """Teams Phone assignments in memory. Their calls wait for the scheduler."""

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """See `Planned`."""
        value: T = await remote_call("acs", call, effect)
        return value

    def load(self, snapshot: Snapshot) -> None:
        """Reset them to the snapshot."""
        self.assignments = {PRINCIPAL: snapshot.assignment} if snapshot.assignment else {}
        self.refused = {REFUSED_ASSIGNMENT}


class GatedAccessRegistry(MemoryAccessRegistry):
    """The access rows in memory. Their calls wait for the scheduler; an ETag is the call's id."""

    call_id = ""
    is_explored = True

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """See `Planned`."""
        value: T = await remote_call("registry", call, effect)
        return value

    async def due(self, until: datetime) -> AsyncIterator[AccessDue]:
        """See `ports.AccessRegistry`."""
        if self.is_explored:
            async for entry in super().due(until):
                yield entry

    def load(self, snapshot: Snapshot) -> None:
        """Reset it to the snapshot."""
        self.rows = {PRINCIPAL: snapshot.access} if snapshot.access else {}
        self.entries = set(snapshot.access_entries)

    def _version(self) -> str:
        return self.call_id


class NoLimit(Verifications):
    """Does not limit verifications: their rate is not explored."""

    async def acquire(self, longest_wait: float = 0) -> None:
        """See `Verifications`."""


class Product(NamedTuple):
    """What is explored. A mutation replaces one of them."""

    lifecycle: type[Lifecycle] = Lifecycle
    registry: type[GatedRegistry] = GatedRegistry
    sweep: Callable[..., Coroutine[Any, Any, SweepReport]] = purge_deleted_identities
    teams_access: type[TeamsAccess] = TeamsAccess
    access_registry: type[GatedAccessRegistry] = GatedAccessRegistry


class ExploredWorld(World):
    """The world of one exploration.

    Args:
        product: What is explored.
        is_access: Whether the operations are about Teams Phone access, and not about identities.
            The sweep then reads only what is due about the one or the other.

    Attributes:
        identity_id: The identity that the operations are about.
    """

    clock: FixedClock
    acs: GatedAcs
    registry: GatedRegistry
    assignments: GatedAssignments
    access_registry: GatedAccessRegistry

    def __init__(self, product: Product, *, is_access: bool = False) -> None:
        super().__init__()
        self.identity_id = UNKNOWN
        self.clock = FixedClock()
        self.acs = GatedAcs(self.clock)
        self.registry = product.registry()
        self.lifecycle = product.lifecycle(self.acs, self.registry, self.clock)
        self.assignments = GatedAssignments(self.clock)
        self.access_registry = product.access_registry(self.clock)
        self.teams_access = product.teams_access(self.assignments, self.access_registry, self.clock)
        self.access_registry.is_explored = is_access
        self.registry.is_explored = not is_access
        self.verifications = NoLimit(1)
        self._sweep = product.sweep
        self._starts: dict[str, Callable[[str], Coroutine[Any, Any, Any]]] = {
            "create": lambda _: self.create(),
            "create for user": lambda _: self.create(USER),
            "create with token": lambda _: self.create_with_token(),
            "create with token for user": lambda _: self.create_with_token(USER),
            "register": self.register,
            "register for user": lambda identity_id: self.register(identity_id, USER),
            "register for other user": lambda identity_id: self.register(identity_id, OTHER_USER),
            "register other for user": lambda _: self.register(OTHER, USER),
            "unregister": self.unregister,
            "unregister for user": lambda identity_id: self.unregister(identity_id, USER),
            "issue": self.issue,
            "suspend": self.suspend,
            "resume": self.resume,
            "delete": self.delete,
            "restore": self.restore,
            "delete by user": lambda _: self.delete_by_user(),
            "restore by user": lambda _: self.restore_by_user(),
            "purge": self.purge,
            "assign": lambda _: self.assign(ASSIGNMENT),
            "assign other": lambda _: self.assign(OTHER_ASSIGNMENT),
            "assign refused": lambda _: self.assign(REFUSED_ASSIGNMENT),
            "assign for a day": lambda _: self.assign(ASSIGNMENT, EXPIRES_ON),
            "remove": lambda _: self.teams_access.remove(*PRINCIPAL),
            "import": lambda _: self.take_over(),
            "sweep": lambda _: self.sweep(),
            "held sweep": lambda _: self.sweep(hold=True),
        }

    def operation(self, name: str, number: int, title: str) -> Operation:
        """The operation with this title, to be run in this world."""
        return Operation(name, number, title, lambda: self._start(title), self.set_clock)

    def set_clock(self, now: datetime) -> None:
        """Set the clock."""
        self.clock.time = now

    def apply(self, call: Call, snapshot: Snapshot) -> tuple[Snapshot, Response]:
        """Let the call take effect: the snapshot after it, and its response."""
        self.set_clock(snapshot.now)
        self.registry.load(snapshot)
        self.acs.load(snapshot)
        self.assignments.load(snapshot)
        self.access_registry.load(snapshot)
        self.acs.call_id = self.registry.call_id = self.access_registry.call_id = call.id
        try:
            value = call.effect()
        except (ServiceError, Conflict) as error:
            return snapshot, Response.of_error(error)
        # A response must be hashable.
        response = Response(tuple(value) if isinstance(value, list) else value)
        return self._snapshot() if call.is_write else snapshot, response

    def run(
        self, operation: Operation, snapshot: Snapshot, until: str = ""
    ) -> tuple[Snapshot, Response | None]:
        """Run the operation alone, to its end or up to its first call with the name `until`."""
        self.set_clock(snapshot.now)
        execution = Execution(operation)
        while execution.pending:
            call = next(iter(execution.pending.values()))
            if call.name == until:
                break
            snapshot, response = self.apply(call, snapshot)
            execution.respond(call.id, response)
        return snapshot, execution.result

    async def issue(self, identity_id: str, minutes: int = 1440) -> IssuedTokenResponse:
        """issue_token. It reads the clock before its first call."""
        await begin()
        return await super().issue(identity_id, minutes)

    async def suspend(self, identity_id: str) -> IdentityResponse:
        """suspend_identity."""
        return await suspend_identity(identity_id, self.lifecycle, self.registered_only)

    async def resume(self, identity_id: str) -> IdentityResponse:
        """resume_identity."""
        return await resume_identity(identity_id, self.lifecycle)

    async def delete_by_user(self) -> DeletionResponse:
        """delete_me."""
        return await delete_me(SignedInUser(USER), self.registry, self.lifecycle, self.deletion)

    async def restore_by_user(self) -> IdentityResponse:
        """restore_me."""
        return await restore_me(SignedInUser(USER), self.registry, self.lifecycle)

    async def sweep(self, *, hold: bool = False) -> SweepReport:
        """purge_deleted_identities."""
        await begin()
        cleanup = replace(self.cleanup, purge_hold=hold)
        return await self._sweep(
            self.lifecycle,
            self.registry,
            self.clock,
            cleanup,
            self.resource,
            self.teams_access,
        )

    async def assign(self, assignment: Assignment, expires_on: datetime | None = None) -> Access:
        """Give Teams Phone access."""
        access, _ = await self.teams_access.assign(*PRINCIPAL, assignment, expires_on)
        return access

    async def take_over(self) -> Access:
        """Import Teams Phone access. It reads the clock before its first call."""
        await begin()
        access, _ = await self.teams_access.take_over(*PRINCIPAL, None)
        return access

    async def _start(self, title: str) -> Any:
        """Run the operations one after the other. They are about what a creation returned."""
        identity_id = self.identity_id
        *first, last = title.split(THEN)
        for step in first:
            with suppress(ServiceError):
                result = await self._starts[step](identity_id)
                identity_id = getattr(result, "id", identity_id)
        return await self._starts[last](identity_id)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            frozenset(self.registry.rows.values()),
            frozenset(self.registry.entries),
            frozenset(self.registry.users.values()),
            frozenset(self.acs.identities),
            self.acs.tokens,
            self.clock.time,
            frozenset(self.access_registry.rows.values()),
            frozenset(self.access_registry.entries),
            frozenset(self.assignments.assignments.values()),
        )
