"""Stub with the agreed names. The steps module takes its place."""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from identity_service.errors import (
    TeamsAccessBeingRemoved,
    TeamsAccessChanged,
    TeamsAccessNotFound,
)
from identity_service.identity import Page

PrincipalType = Literal["user", "resourceAccount", "teamsResourceAccount"]


class Assignment(msgspec.Struct, frozen=True):
    """What ACS holds."""

    principal_type: PrincipalType
    client_ids: tuple[str, ...]

    def same_as(self, other: "Assignment | None") -> bool:
        """Whether both mean the same."""
        return (
            other is not None
            and self.principal_type == other.principal_type
            and {one.lower() for one in self.client_ids}
            == {one.lower() for one in other.client_ids}
        )


class AccessState(StrEnum):
    """The state of access."""

    ASSIGNING = "assigning"
    ASSIGNED = "assigned"
    REMOVING = "removing"
    REMOVED = "removed"
    UNKNOWN = "unknown"


class Access(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A row about an assignment."""

    tenant_id: str
    object_id: str
    state: AccessState
    principal_type: PrincipalType
    client_ids: tuple[str, ...]
    expires_on: datetime | None = None
    created_on: datetime
    changed_on: datetime
    due: datetime | None = None
    attempts: int = 0
    last_error: str | None = None
    etag: str = ""


class TeamsAssignments(Protocol):
    """Stub of ports.TeamsAssignments."""

    async def put(
        self, tenant_id: str, object_id: str, assignment: Assignment, *, not_after: datetime
    ) -> None:
        """Create or replace."""

    async def get(self, tenant_id: str, object_id: str) -> Assignment | None:
        """Read."""

    async def delete(self, tenant_id: str, object_id: str, *, not_after: datetime) -> None:
        """Delete."""


class AccessRegistry(Protocol):
    """Stub of ports.AccessRegistry."""

    async def read(self, tenant_id: str, object_id: str) -> Access | None:
        """Read a row."""

    async def insert(self, access: Access) -> Access:
        """Write a new row."""

    async def update(self, old: Access, new: Access) -> Access:
        """Replace a row."""

    async def list(
        self,
        tenant_id: str | None,
        states: Collection[AccessState],
        continuation: str | None,
        size: int,
    ) -> Page[Access]:
        """Up to `size` rows."""


class _Clock(Protocol):
    def now(self) -> datetime: ...


class TeamsAccess:
    """Stub of the steps."""

    def __init__(
        self, assignments: TeamsAssignments, registry: AccessRegistry, clock: _Clock
    ) -> None:
        self._assignments = assignments
        self._registry = registry
        self._clock = clock

    async def _write(  # noqa: PLR0913, PLR0917 -- stub
        self,
        row: Access | None,
        tenant_id: str,
        object_id: str,
        assignment: Assignment,
        state: AccessState,
        expires_on: datetime | None,
    ) -> Access:
        now = self._clock.now()
        new = Access(
            tenant_id=tenant_id,
            object_id=object_id,
            state=state,
            principal_type=assignment.principal_type,
            client_ids=assignment.client_ids,
            expires_on=expires_on,
            created_on=row.created_on if row else now,
            changed_on=now,
        )
        return await (self._registry.update(row, new) if row else self._registry.insert(new))

    async def assign(
        self,
        tenant_id: str,
        object_id: str,
        assignment: Assignment,
        expires_on: datetime | None,
    ) -> tuple[Access, bool]:
        """Assign."""
        row = await self._registry.read(tenant_id, object_id)
        is_new = row is None or row.state in (AccessState.REMOVING, AccessState.REMOVED)
        not_after = self._clock.now() + timedelta(seconds=10)
        state = AccessState.ASSIGNING
        row = await self._write(row, tenant_id, object_id, assignment, state, expires_on)
        await self._assignments.put(tenant_id, object_id, assignment, not_after=not_after)
        state = AccessState.ASSIGNED
        written = await self._write(row, tenant_id, object_id, assignment, state, expires_on)
        return written, is_new

    async def remove(self, tenant_id: str, object_id: str) -> None:
        """Remove."""
        row = await self._registry.read(tenant_id, object_id)
        not_after = self._clock.now() + timedelta(seconds=10)
        held = (
            Assignment(row.principal_type, row.client_ids)
            if row
            else Assignment(principal_type="user", client_ids=())
        )
        row = await self._write(row, tenant_id, object_id, held, AccessState.REMOVING, None)
        await self._assignments.delete(tenant_id, object_id, not_after=not_after)
        await self._write(row, tenant_id, object_id, held, AccessState.REMOVED, None)

    async def get(self, tenant_id: str, object_id: str) -> Access:
        """Get."""
        row = await self._registry.read(tenant_id, object_id)
        if row is None or row.state in (AccessState.REMOVING, AccessState.REMOVED):
            raise TeamsAccessNotFound("The registry has no such access.")
        return row

    async def verify(self, tenant_id: str, object_id: str) -> tuple[Access, Assignment | None]:
        """Get, and ask ACS."""
        row = await self.get(tenant_id, object_id)
        return row, await self._assignments.get(tenant_id, object_id)

    async def take_over(
        self, tenant_id: str, object_id: str, expires_on: datetime | None
    ) -> tuple[Access, bool]:
        """Take over what ACS has."""
        held = await self._assignments.get(tenant_id, object_id)
        if held is None:
            raise TeamsAccessNotFound("ACS has no such assignment.")
        row = await self._registry.read(tenant_id, object_id)
        if row is None:
            state = AccessState.ASSIGNED
            return await self._write(row, tenant_id, object_id, held, state, expires_on), True
        if row.state in (AccessState.REMOVING, AccessState.REMOVED):
            raise TeamsAccessBeingRemoved("It is being removed.")
        same = held.same_as(Assignment(row.principal_type, row.client_ids))
        if not same or row.expires_on != expires_on:
            raise TeamsAccessChanged("The registry has other data.")
        return row, False
