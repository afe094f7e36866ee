"""ACS and the registry in memory. The contract tests run on these fakes and on the real adapters.

A test can plan what happens to the next calls of a method: they fail, they take effect but their
response is lost, or another caller acts just before.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import msgspec

from identity_service.errors import (
    AcsTooSlow,
    AssignmentRefused,
    CallerGone,
    IdentityNotFound,
    InvalidQuery,
    RegistryUnavailable,
    ServiceError,
    WrongResource,
)
from identity_service.identity import (
    DueEntry,
    DueKind,
    Identity,
    Page,
    State,
    SweepRecord,
    UserRow,
)
from identity_service.log import current_invocation
from identity_service.policies import AccessToken, TokenGrant
from identity_service.ports import AccessRegistry, Acs, Clock, Conflict, Registry, TeamsAssignments
from identity_service.teams_access import Access, AccessDue, AccessState, Assignment

A = ParamSpec("A")
T = TypeVar("T")
E = TypeVar("E", DueEntry, AccessDue)

RESOURCE = "8:acs:00000000-1111-2222-3333-444444444444"
# Valid ids that no test creates. The second one belongs to another ACS resource.
UNKNOWN = f"{RESOURCE}_ffffffff-1111-2222-3333-444444444444"
FOREIGN = UNKNOWN.replace("00000000", "99999999")

_CONTINUATION = "after:"


@dataclass(frozen=True)
class Plan:
    """What happens to one call.

    Attributes:
        before: What another caller does just before the call takes effect.
        refused: The error that the call raises instead of taking effect.
        lost: The error that the call raises although it took effect.
    """

    before: Callable[[], Awaitable[object]] | None = None
    refused: Exception | None = None
    lost: Exception | None = None


class Planned:
    """A service in memory whose calls can be planned. Plans are used in their order.

    Each method is `planned`. Its effect happens at once, in `perform`.

    Attributes:
        calls: The names of the methods called, in order.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._plans: defaultdict[str, deque[Plan]] = defaultdict(deque)

    def passes(self, call: str, times: int = 1) -> None:
        """The next calls succeed, so that later plans apply to later calls."""
        self._plan(call, Plan(), times)

    def fails(self, call: str, error: Exception, times: int = 1) -> None:
        """The next calls fail without an effect."""
        self._plan(call, Plan(refused=error), times)

    def loses(self, call: str, error: Exception, times: int = 1) -> None:
        """The next calls take effect, but fail."""
        self._plan(call, Plan(lost=error), times)

    def precede(self, call: str, before: Callable[[], Awaitable[object]], times: int = 1) -> None:
        """Another caller acts just before each of the next calls takes effect."""
        self._plan(call, Plan(before=before), times)

    async def perform(self, call: str, effect: Callable[[], T]) -> T:
        """Let other tasks run, then let the call take effect as planned."""
        self.calls.append(call)
        plan = self._plans[call].popleft() if self._plans[call] else Plan()
        await asyncio.sleep(0)
        if plan.before:
            await plan.before()
        if plan.refused:
            raise plan.refused
        if plan.lost:
            with contextlib.suppress(Conflict, ServiceError):
                effect()
            raise plan.lost
        return effect()

    def _plan(self, call: str, plan: Plan, times: int) -> None:
        self._plans[call].extend([plan] * times)


def planned(
    effect: Callable[Concatenate[Any, A], T],
) -> Callable[Concatenate[Any, A], Coroutine[Any, Any, T]]:
    """Make the effect of a call the method of a port."""

    @wraps(effect)
    async def call(self: Any, /, *args: A.args, **kwargs: A.kwargs) -> T:
        result: T = await self.perform(effect.__name__, lambda: effect(self, *args, **kwargs))
        return result

    return call


class MemoryAcs(Planned, Acs):
    """The port `Acs` in memory.

    Attributes:
        identities: The ids that exist, oldest first.
        grants: The grant of each token that was requested, in order.
        issued_for: The ids that tokens were requested for, in order.
        exchanges: The arguments of each Teams token exchange, in order.
        revocations: The ids whose tokens were revoked, in order.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.identities: list[str] = []
        self.grants: list[TokenGrant] = []
        self.issued_for: list[str] = []
        self.exchanges: list[tuple[str, str, str]] = []
        self.revocations: list[str] = []
        self._clock = clock
        self._valid: dict[str, str] = {}
        self._count = 0

    def is_valid(self, token: str) -> bool:
        """Whether the token is still valid."""
        return token in self._valid

    def add(self) -> str:
        """Create an identity, as another app would, and return its id."""
        self._count += 1
        self.identities.append(f"{RESOURCE}_{self._count:08x}-1111-2222-3333-444444444444")
        return self.identities[-1]

    @planned
    def create(self) -> str:
        """See `ports.Acs`."""
        require_caller()
        return self.add()

    @planned
    def create_with_token(self, grant: TokenGrant) -> tuple[str, AccessToken]:
        """See `ports.Acs`."""
        require_caller()
        identity_id = self.add()
        return identity_id, self._issue(identity_id, grant)

    @planned
    def issue_token(self, identity_id: str, grant: TokenGrant) -> AccessToken:
        """See `ports.Acs`."""
        require_caller()
        self.issued_for.append(identity_id)
        self._require(identity_id)
        return self._issue(identity_id, grant)

    @planned
    def revoke_tokens(self, identity_id: str, *, if_awaited: bool = False) -> None:
        """See `ports.Acs`."""
        if if_awaited:
            require_caller()
        self._require(identity_id)
        self.revocations.append(identity_id)
        self._invalidate_tokens(identity_id)

    @planned
    def delete(self, identity_id: str) -> None:
        """See `ports.Acs`."""
        self._require(identity_id)
        self.identities.remove(identity_id)
        self._invalidate_tokens(identity_id)

    @planned
    def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """See `ports.Acs`."""
        require_caller()
        self.exchanges.append((token, app_id, user_id))
        return self._issue(user_id, TokenGrant(("voip",), 60))

    def _require(self, identity_id: str) -> None:
        if identity_id in self.identities:
            return
        if not identity_id.startswith(RESOURCE):
            raise WrongResource("ACS has no such identity in this resource.")
        raise IdentityNotFound("ACS has no such identity.")

    def _issue(self, identity_id: str, grant: TokenGrant) -> AccessToken:
        self.grants.append(grant)
        token = self._new_token()
        self._valid[token] = identity_id
        now = self._clock.now()
        return AccessToken.received(token, now + timedelta(minutes=grant.minutes), now)

    def _new_token(self) -> str:
        self._count += 1
        return f"token-{self._count}"

    def _invalidate_tokens(self, identity_id: str) -> None:
        self._valid = {token: owner for token, owner in self._valid.items() if owner != identity_id}


class MemoryAssignments(Planned, TeamsAssignments):
    """The port `TeamsAssignments` in memory.

    Attributes:
        assignments: What ACS has, by tenant id and object id.
        refused: What it does not accept.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.assignments: dict[tuple[str, str], Assignment] = {}
        self.refused: set[Assignment] = set()
        self._clock = clock

    @planned
    def put(
        self, tenant_id: str, object_id: str, assignment: Assignment, *, not_after: datetime
    ) -> None:
        """See `ports.TeamsAssignments`."""
        self._require_time(not_after)
        if assignment in self.refused:
            raise AssignmentRefused("ACS does not accept this.")
        self.assignments[tenant_id, object_id] = assignment

    @planned
    def get(self, tenant_id: str, object_id: str) -> Assignment | None:
        """See `ports.TeamsAssignments`."""
        return self.assignments.get((tenant_id, object_id))

    @planned
    def delete(self, tenant_id: str, object_id: str, *, not_after: datetime) -> None:
        """See `ports.TeamsAssignments`."""
        self._require_time(not_after)
        self.assignments.pop((tenant_id, object_id), None)

    def _require_time(self, not_after: datetime) -> None:
        if self._clock.now() > not_after:
            raise AcsTooSlow("It is too late to send this.")


class Rows(Planned, Generic[E]):
    """Rows with versions, and their due entries.

    Attributes:
        entries: The due entries.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: set[E] = set()
        self._versions = 0

    def _reschedule(self, removed: E | None, added: E | None) -> None:
        if removed == added:
            return
        _require(removed is None or removed in self.entries)
        _require(added not in self.entries)
        self.entries -= {removed}
        self.entries |= {added} if added else set()

    def _version(self) -> str:
        self._versions += 1
        return f"version-{self._versions}"


class MemoryRegistry(Rows[DueEntry], Registry):
    """The port `Registry` in memory.

    Attributes:
        rows: The identity rows, by id.
        users: The user rows, by user id.
        resource: The recorded resource.
        swept: When the sweep ran last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[str, Identity] = {}
        self.users: dict[str, UserRow] = {}
        self.resource: str | None = None
        self.swept = SweepRecord()

    @planned
    def read(self, identity_id: str) -> Identity | None:
        """See `ports.Registry`."""
        return self.rows.get(identity_id)

    @planned
    def insert(self, identity: Identity) -> Identity:
        """See `ports.Registry`."""
        _require(identity.id not in self.rows)
        return self._put(None, identity)

    @planned
    def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """See `ports.Registry`."""
        if if_awaited:
            require_caller()
        _require(old.id in self.rows and self.rows[old.id].etag == old.etag)
        return self._put(old, new)

    @planned
    def remove(self, identity: Identity) -> None:
        """See `ports.Registry`."""
        row = self.rows.get(identity.id)
        _require(row is not None and row.etag == identity.etag)
        self._reschedule(identity.due_entry, None)
        del self.rows[identity.id]

    @planned
    def read_user(self, user_id: str) -> UserRow | None:
        """See `ports.Registry`."""
        return self.users.get(user_id)

    @planned
    def insert_user(self, user_id: str, identity_id: str) -> None:
        """See `ports.Registry`."""
        _require(user_id not in self.users)
        self._put_user(user_id, identity_id)

    @planned
    def replace_user(self, row: UserRow, identity_id: str) -> None:
        """See `ports.Registry`."""
        _require(row.user_id in self.users and self.users[row.user_id].etag == row.etag)
        self._put_user(row.user_id, identity_id)

    @planned
    def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`. Removing a row that does not exist succeeds, as in the table."""
        _require(row.user_id not in self.users or self.users[row.user_id].etag == row.etag)
        self.users.pop(row.user_id, None)

    @planned
    def read_resource(self) -> str | None:
        """See `ports.Registry`."""
        return self.resource

    @planned
    def record_resource(self, resource: str) -> None:
        """See `ports.Registry`."""
        _require(self.resource is None)
        self.resource = resource

    async def due_entries(
        self,
        kinds: Collection[DueKind] = tuple(DueKind),
        *,
        after: DueEntry | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DueEntry]:
        """See `ports.Registry`. It is read at once, so an entry can be outdated when it is used."""

        def effect() -> list[DueEntry]:
            return sorted(
                entry
                for entry in self.entries
                if entry.kind in kinds
                and (after is None or entry.position > after.position)
                and (until is None or entry.due <= until)
            )

        for entry in await self.perform("due_entries", effect):
            yield entry

    @planned
    def count_due(self, kind: DueKind, *, until: datetime, at_most: int) -> int:
        """See `ports.Registry`."""
        due = [entry for entry in self.entries if entry.kind is kind and entry.due <= until]
        return min(len(due), at_most)

    @planned
    def list_identities(
        self,
        states: Collection[State],
        continuation: str | None,
        size: int,
        *,
        min_attempts: int = 0,
    ) -> Page[Identity]:
        """See `ports.Registry`."""
        after = _after(continuation)
        found = [
            row
            for row in self.rows.values()
            if row.state in states and row.attempts >= min_attempts
        ]
        rest = sorted((row for row in found if row.id > after), key=lambda row: row.id)
        more = len(rest) > size
        return Page(rest[:size], f"{_CONTINUATION}{rest[size - 1].id}" if more else None)

    @planned
    def read_sweep(self) -> SweepRecord:
        """See `ports.Registry`."""
        return self.swept

    @planned
    def record_sweep_start(self, now: datetime) -> None:
        """See `ports.Registry`."""
        self.swept = msgspec.structs.replace(self.swept, last_started_on=now)

    @planned
    def record_sweep_end(self, now: datetime) -> None:
        """See `ports.Registry`."""
        self.swept = msgspec.structs.replace(self.swept, last_completed_on=now)

    def change(self, identity_id: str, **changes: object) -> None:
        """Change a row as another caller would, between two steps of an operation."""
        row = self.rows[identity_id]
        self._put(row, msgspec.structs.replace(row, **changes))

    def _put(self, old: Identity | None, identity: Identity) -> Identity:
        """Write the row, which was `old`, and its new due entry; all or nothing."""
        self._reschedule(old.due_entry if old else None, identity.due_entry)
        self.rows[identity.id] = identity.with_etag(self._version())
        return self.rows[identity.id]

    def _put_user(self, user_id: str, identity_id: str) -> None:
        self.users[user_id] = UserRow(
            user_id=user_id, identity_id=identity_id, etag=self._version()
        )


class MemoryAccessRegistry(Rows[AccessDue], AccessRegistry):
    """The port `AccessRegistry` in memory.

    Attributes:
        rows: The access rows, by tenant id and object id.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.rows: dict[tuple[str, str], Access] = {}
        self._clock = clock

    @planned
    def read(self, tenant_id: str, object_id: str) -> Access | None:
        """See `ports.AccessRegistry`."""
        return self.rows.get((tenant_id, object_id))

    @planned
    def insert(self, access: Access, *, not_after: datetime) -> Access:
        """See `ports.AccessRegistry`."""
        if self._clock.now() > not_after:
            raise RegistryUnavailable("It is too late to send this.")
        _require((access.tenant_id, access.object_id) not in self.rows)
        return self._put(None, access)

    @planned
    def update(self, old: Access, new: Access) -> Access:
        """See `ports.AccessRegistry`."""
        self._require_unchanged(old)
        return self._put(old, new)

    @planned
    def remove(self, access: Access) -> None:
        """See `ports.AccessRegistry`."""
        self._require_unchanged(access)
        self._reschedule(access.due_entry, None)
        del self.rows[access.tenant_id, access.object_id]

    async def due(self, until: datetime) -> AsyncIterator[AccessDue]:
        """See `ports.AccessRegistry`. It is read at once, so an entry can be outdated."""

        def effect() -> list[AccessDue]:
            return sorted(entry for entry in self.entries if entry.due <= until)

        for entry in await self.perform("due", effect):
            yield entry

    @planned
    def list(
        self,
        tenant_id: str | None,
        states: Collection[AccessState],
        continuation: str | None,
        size: int,
    ) -> Page[Access]:
        """See `ports.AccessRegistry`."""
        after = _after(continuation)
        found = {
            f"{row.tenant_id}|{row.object_id}": row
            for row in self.rows.values()
            if row.state in states and tenant_id in (None, row.tenant_id)
        }
        rest = sorted(key for key in found if key > after)
        items = [found[key] for key in rest[:size]]
        return Page(items, f"{_CONTINUATION}{rest[size - 1]}" if len(rest) > size else None)

    def _require_unchanged(self, access: Access) -> None:
        row = self.rows.get((access.tenant_id, access.object_id))
        _require(row is not None and row.etag == access.etag)

    def _put(self, old: Access | None, access: Access) -> Access:
        """Write the row, which was `old`, and its new due entry; all or nothing."""
        self._reschedule(old.due_entry if old else None, access.due_entry)
        written = access.with_etag(self._version())
        self.rows[access.tenant_id, access.object_id] = written
        return written


def require_caller() -> None:
    """Refuse what is done only for a caller who still waits."""
    if current_invocation().is_over:
        raise CallerGone("The caller has got a response already.")


def _require(condition: bool) -> None:
    if not condition:
        raise Conflict("refused")


def _after(continuation: str | None) -> str:
    if continuation is None:
        return ""
    if not continuation.startswith(_CONTINUATION):
        raise InvalidQuery.continuation()
    return continuation.removeprefix(_CONTINUATION)
