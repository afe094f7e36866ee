"""Stub: the fakes of Teams Phone access, until those of memory.py take their place."""

from collections.abc import Collection
from datetime import datetime

from identity_service.identity import Page
from identity_service.ports import Clock
from identity_service.teams_access import Access, AccessState, Assignment
from tests.support.memory import Planned, planned


class MemoryTeamsAssignments(Planned):
    """ACS in memory."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.assignments: dict[tuple[str, str], Assignment] = {}

    @planned
    def put(
        self, tenant_id: str, object_id: str, assignment: Assignment, *, not_after: datetime
    ) -> None:
        """See the port."""
        self.assignments[tenant_id, object_id] = assignment

    @planned
    def get(self, tenant_id: str, object_id: str) -> Assignment | None:
        """See the port."""
        return self.assignments.get((tenant_id, object_id))

    @planned
    def delete(self, tenant_id: str, object_id: str, *, not_after: datetime) -> None:
        """See the port."""
        self.assignments.pop((tenant_id, object_id), None)


class MemoryAccessRegistry(Planned):
    """The registry in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[tuple[str, str], Access] = {}

    async def read(self, tenant_id: str, object_id: str) -> Access | None:
        """See the port."""
        self.calls.append("read")
        return self.rows.get((tenant_id, object_id))

    async def insert(self, access: Access) -> Access:
        """See the port."""
        self.calls.append("insert")
        self.rows[access.tenant_id, access.object_id] = access
        return access

    async def update(self, old: Access, new: Access) -> Access:
        """See the port."""
        return await self.insert(new)

    async def list(
        self,
        tenant_id: str | None,
        states: Collection[AccessState],
        continuation: str | None,
        size: int,
    ) -> Page[Access]:
        """See the port."""
        self.calls.append("list")
        found = [
            row
            for _, row in sorted(self.rows.items())
            if tenant_id in (None, row.tenant_id) and row.state in states
        ]
        start = int(continuation or 0)
        end = start + size
        return Page(found[start:end], str(end) if end < len(found) else None)
