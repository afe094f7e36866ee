"""The Teams Phone protocol: every step that keeps ACS and the access rows in agreement.

docs/teams-protocol.md describes the protocol. The numbers in the comments are the numbers of its
steps. Their order matters: tests/exploration/access_mutations.py shows what each rule prevents.

The rules of `lifecycle.py` hold here too: a write that is refused (`Conflict`) is decided again, in
at most `ROUNDS` rounds, and the result of a call is never assumed.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from identity_service.errors import (
    AssignmentRefused,
    IdentityBusy,
    IdentityNotReadable,
    RegistryUnavailable,
    ServiceError,
    TeamsAccessBeingRemoved,
    TeamsAccessChanged,
    TeamsAccessNotFound,
)
from identity_service.identity import LEASE
from identity_service.lifecycle import ROUNDS
from identity_service.log import EventLog
from identity_service.ports import AccessRegistry, Clock, Conflict, TeamsAssignments
from identity_service.teams_access import SEND_WITHIN, Access, AccessDue, AccessState, Assignment

events = EventLog(__name__)


class Finished(NamedTuple):
    """The sweep's work for an access.

    Attributes:
        access: The row as it was last written.
        error: The failure of ACS, if it failed.
    """

    access: Access
    error: ServiceError | None = None


class _Started(NamedTuple):
    """A change that is written and that ACS has not got yet.

    Attributes:
        before: The row before it, if there was one.
        access: The row that was written.
        not_after: After this moment, nothing of it is sent to ACS.
    """

    before: Access | None
    access: Access
    not_after: datetime


async def _any_resource() -> None:
    """Belong to any resource."""


class TeamsAccess:
    """Everything that changes who has Teams Phone access."""

    def __init__(
        self,
        assignments: TeamsAssignments,
        registry: AccessRegistry,
        clock: Clock,
        settle_resource: Callable[[], Awaitable[None]] = _any_resource,
    ) -> None:
        """Create it.

        Args:
            assignments: What ACS has.
            registry: The rows.
            clock: The clock.
            settle_resource: Decides to which ACS resource the registry belongs, before the first
                row is written.
        """
        self._assignments = assignments
        self._registry = registry
        self._clock = clock
        self._settle_resource = settle_resource

    async def get(self, tenant_id: str, object_id: str) -> Access:
        """The row of an access that is, or is about to be, assigned.

        Raises:
            TeamsAccessNotFound: there is none, or it is removed or being removed.
        """
        access = await self._registry.read(tenant_id, object_id)
        if access is None or access.is_removed:
            raise TeamsAccessNotFound("The registry has no such Teams Phone access.")
        _require_readable(access)
        return access

    async def verify(self, tenant_id: str, object_id: str) -> tuple[Access, Assignment | None]:
        """The row, and what ACS has.

        Raises:
            TeamsAccessNotFound: as for `get`.
        """
        access = await self.get(tenant_id, object_id)
        return access, await self._assignments.get(tenant_id, object_id)

    async def assign(
        self,
        tenant_id: str,
        object_id: str,
        assignment: Assignment,
        expires_on: datetime | None,
    ) -> tuple[Access, bool]:
        """Give access, or replace what was given. Returns whether there was none before.

        Raises:
            AssignmentRefused: ACS does not accept it. Everything is as it was before.
            TeamsAccessChanged: another request changed it at the same time.
            IdentityBusy: there were too many conflicts.
        """
        started = await self._start(
            tenant_id, object_id, lambda row, now: row.assign(assignment, expires_on, now)
        )  # 1, 2
        events.info("teams_access_assigning", tenant_id=tenant_id, object_id=object_id)
        try:
            access = await self._give(started.access, started.not_after)  # 3, 4
        except AssignmentRefused as refused:
            try:
                await self._write_back(started)
            except Conflict:
                raise _changed() from refused
            _log_refusal(started.access, refused)
            raise
        return access, started.before is None or started.before.is_removed  # 5

    async def remove(self, tenant_id: str, object_id: str) -> None:
        """Take the access away, also if only ACS knows about it.

        Raises:
            TeamsAccessChanged: another request gave access at the same time.
            IdentityBusy: there were too many conflicts.
        """
        started = await self._start(tenant_id, object_id, Access.remove)  # 1, 2
        events.info("teams_access_removing", tenant_id=tenant_id, object_id=object_id)
        await self._delete(started.access, started.not_after)  # 3
        try:
            await self._registry.update(started.access, started.access.finish_removal())  # 4
        except Conflict as conflict:
            current = await self._registry.read(tenant_id, object_id)
            if current and not current.is_removed:
                raise _changed() from conflict
        events.info("teams_access_removed", tenant_id=tenant_id, object_id=object_id)  # 5

    async def take_over(
        self, tenant_id: str, object_id: str, expires_on: datetime | None
    ) -> tuple[Access, bool]:
        """Write the row of an assignment that ACS has. Returns whether there was none.

        Nothing is changed at ACS. An access that has a row stays as it is.

        Raises:
            TeamsAccessNotFound: ACS has no such assignment.
            TeamsAccessBeingRemoved: it is being removed.
            TeamsAccessChanged: its row wants another assignment, or has another date.
            IdentityBusy: there were too many conflicts.
        """
        for _ in range(ROUNDS):
            now = self._clock.now()
            found = await self._assignments.get(tenant_id, object_id)  # 1
            if found is None:
                raise TeamsAccessNotFound("ACS has no such assignment.")
            access = await self._registry.read(tenant_id, object_id)  # 2
            if access:
                _require_taken_over(access, found, expires_on)
                return access, False
            await self._settle_resource()
            access = Access.absent(tenant_id, object_id).take_over(found, expires_on, now)
            with suppress(Conflict):
                access = await self._registry.insert(access, not_after=now + SEND_WITHIN)  # 3
                events.info(
                    "teams_access_imported", tenant_id=access.tenant_id, object_id=access.object_id
                )
                return access, True
        raise _busy()

    def due(self, until: datetime) -> AsyncIterator[AccessDue]:
        """The due entries in order, up to those that are due at `until`."""
        return self._registry.due(until)

    async def read_due(self, entry: AccessDue) -> Access | None:
        """The row that is due. None if the entry is outdated."""
        access = await self._registry.read(entry.tenant_id, entry.object_id)
        if access and access.state is not AccessState.UNKNOWN and access.due != entry.due:
            return None
        return access

    async def postpone(self, access: Access, delay: timedelta, code: str) -> None:
        """Let the sweep try again later. What it has sent until now has taken effect then.

        Access that ends on a date is due on that date at the latest.

        Raises:
            Conflict: another call has changed the row.
        """
        now = self._clock.now()
        earliest, until = now + LEASE, now + max(delay, LEASE)
        if access.is_given and access.expires_on:
            until = min(until, max(access.expires_on, earliest))
        await self._registry.update(access, access.postpone(until, code))

    async def finish(self, access: Access) -> Finished:
        """Make ACS agree with the row, which is due. The sweep's work.

        Raises:
            Conflict: another call has changed the row.
            RegistryUnavailable: the registry failed.
        """
        if access.is_given and access.is_expired(self._clock.now()):
            return await self._remove_again(access)
        try:
            found = await self._assignments.get(access.tenant_id, access.object_id)
        except ServiceError as error:
            return Finished(access, error)
        if access.is_given:
            if found and found.same_as(access.assignment):
                confirmed = await self._registry.update(access, access.confirm())
                return Finished(confirmed)
            return await self._assign_again(access, found)
        if found:
            return await self._remove_again(access)
        await self._registry.remove(access)
        events.info(
            "teams_access_forgotten", tenant_id=access.tenant_id, object_id=access.object_id
        )
        return Finished(access)

    async def _start(
        self, tenant_id: str, object_id: str, change: Callable[[Access, datetime], Access]
    ) -> _Started:
        """Write what is wanted. From here on, the sweep finishes it."""
        await self._settle_resource()
        for _ in range(ROUNDS):
            before = await self._registry.read(tenant_id, object_id)  # 1
            if before:
                _require_readable(before)
            now = self._clock.now()
            wanted = change(before or Access.absent(tenant_id, object_id), now)
            not_after = now + SEND_WITHIN
            with suppress(Conflict):
                if before:
                    written = await self._registry.update(before, wanted)  # 2
                else:
                    written = await self._registry.insert(wanted, not_after=not_after)  # 2
                return _Started(before, written, not_after)
        raise _busy()

    async def _write_back(self, started: _Started) -> None:
        """ACS has refused the assignment: write the row as it was before.

        Raises:
            Conflict: another call has changed it since.
        """
        if started.before:
            await self._registry.update(started.access, started.before)
        else:
            await self._registry.remove(started.access)

    async def _give(self, access: Access, not_after: datetime) -> Access:
        """Put the assignment that the row wants into ACS.

        Raises:
            AssignmentRefused: ACS does not accept it.
            TeamsAccessChanged: another call has changed the row meanwhile. If it removes the
                access, what this one has sent is undone.
        """
        wanted = access.assignment
        assert wanted  # noqa: S101 -- for mypy: whatever is given has an assignment
        await self._assignments.put(
            access.tenant_id, access.object_id, wanted, not_after=not_after
        )  # 3
        try:
            given = await self._registry.update(access, access.finish_assignment())  # 4
        except Conflict as conflict:
            current = await self._registry.read(access.tenant_id, access.object_id)
            if current and current.is_removed:
                await self._delete(access, not_after)
            raise _changed() from conflict
        events.info("teams_access_assigned", tenant_id=given.tenant_id, object_id=given.object_id)
        return given

    async def _assign_again(self, access: Access, found: Assignment | None) -> Finished:
        """ACS does not have the assignment that is wanted."""
        now = self._clock.now()
        access = await self._registry.update(access, access.check_again(now))
        try:
            return Finished(await self._give(access, now + SEND_WITHIN))
        except AssignmentRefused as refused:
            accepted = access.accept(found, self._clock.now())
            access = await self._registry.update(access, accepted)
            _log_refusal(access, refused)
            return Finished(access)
        except TeamsAccessChanged:  # the other call decides
            return Finished(access)
        except RegistryUnavailable:
            raise
        except ServiceError as error:
            return Finished(access, error)

    async def _remove_again(self, access: Access) -> Finished:
        """ACS has an assignment that is not wanted, or no longer."""
        now = self._clock.now()
        is_expired = access.is_given
        wanted = access.remove(now) if is_expired else access.remove_again(now)
        access = await self._registry.update(access, wanted)
        try:
            await self._delete(access, now + SEND_WITHIN)
        except ServiceError as error:
            return Finished(access, error)
        events.info(
            "teams_access_removed",
            tenant_id=access.tenant_id,
            object_id=access.object_id,
            expired=is_expired,
        )
        return Finished(access)

    async def _delete(self, access: Access, not_after: datetime) -> None:
        await self._assignments.delete(access.tenant_id, access.object_id, not_after=not_after)


def _log_refusal(access: Access, refused: AssignmentRefused) -> None:
    """Say why ACS has refused an assignment. The sweep has no caller who would read the reason."""
    events.info(
        "teams_access_refused",
        tenant_id=access.tenant_id,
        object_id=access.object_id,
        reason=refused.detail,
    )


def _require_readable(access: Access) -> None:
    if access.state is AccessState.UNKNOWN:
        raise IdentityNotReadable(
            "This release cannot read the row of this Teams Phone access. The log says why."
        )


def _require_taken_over(access: Access, found: Assignment, expires_on: datetime | None) -> None:
    """Require that an import has nothing to write. Without a date, it accepts any date."""
    _require_readable(access)
    if access.is_removed:
        raise TeamsAccessBeingRemoved("The Teams Phone access is being removed.")
    if not found.same_as(access.assignment) or expires_on not in (None, access.expires_on):
        raise TeamsAccessChanged(
            "The registry has other client ids, another principal type or another date."
        )


def _changed() -> TeamsAccessChanged:
    return TeamsAccessChanged("Another request changed this Teams Phone access. Read it again.")


def _busy() -> IdentityBusy:
    return IdentityBusy(
        "Other requests are changing this Teams Phone access. Retry.", retry_after=1
    )
