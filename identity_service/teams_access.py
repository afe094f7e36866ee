"""Teams Phone access: who may use the ACS resource with an Entra sign-in of their own.

An *assignment* is what ACS holds. *Access* is the registry's row about it: what is wanted.

    (no row) ──► assigning ──► assigned
                   ▲  │          ▲  │     each write of the wanted state keeps the row due, until
                   │  ▼          │  ▼     the sweep has seen at ACS that it holds
                 removing ──► removed ──► (no row)

The registry holds two kinds of rows about it:

    access row    what we know about the access of one user or resource account
    due entry     exists exactly when its access row has a `due`; sorts by time
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, Self

import msgspec

from identity_service.identity import LEASE, IllegalTransition, parse_timestamp, timestamp

PrincipalType = Literal["user", "resourceAccount", "teamsResourceAccount"]

# A change is sent to ACS at most this long after the row was written that wants it. So every change
# has taken effect, or never will, when the row is due: LEASE is far longer than this and the time
# limit of a call together.
SEND_WITHIN = timedelta(seconds=10)


class Assignment(msgspec.Struct, frozen=True):
    """What ACS holds about a user or a resource account. Its tenant and its object name it.

    Attributes:
        principal_type: What the object is.
        client_ids: The applications with which a user may sign in. Resource accounts need none.
    """

    principal_type: PrincipalType
    client_ids: tuple[str, ...]

    def same_as(self, other: "Assignment | None") -> bool:
        """Whether both allow the same, whatever the order and the case of the client ids.

        Microsoft's articles and its specification name a resource account differently. ACS may
        return the other name.
        """
        return other is not None and self._key == other._key

    @property
    def _key(self) -> tuple[bool, frozenset[str]]:
        return self.principal_type == "user", frozenset(each.lower() for each in self.client_ids)


class AccessState(StrEnum):
    """The state of an access.

    `UNKNOWN` is never written. It stands for a row that this release cannot read, because a newer
    release has written it or because it is damaged. Nothing changes such a row.
    """

    ASSIGNING = "assigning"
    ASSIGNED = "assigned"
    REMOVING = "removing"
    REMOVED = "removed"
    UNKNOWN = "unknown"


class Access(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An access as its row in the registry has it.

    Each change is a method that returns the changed row. It raises `IllegalTransition` if the
    current state does not allow the change. Nothing here writes to the registry.

    Attributes:
        tenant_id: The Entra tenant, a GUID in lower case.
        object_id: The user or the resource account in it, a GUID in lower case.
        principal_type: What the object is. None if only a removal has written about it.
        client_ids: The applications with which it may sign in.
        expires_on: When the sweep removes it.
        removed_before: What is being assigned replaces a removal: if ACS refuses it, the removal
            counts again.
        created_on: When it was assigned or taken over.
        changed_on: When a request, or the sweep, last changed what is wanted.
        due: When the sweep must look at it. None if nothing is left to do.
        attempts: How often in a row the sweep has failed.
        last_error: The problem code of the last failure.
        unknown_columns: What a newer release has added to the row. A write keeps it.
        etag: The version of the row that was last read or written.
    """

    tenant_id: str
    object_id: str
    state: AccessState
    principal_type: PrincipalType | None = None
    client_ids: tuple[str, ...] = ()
    expires_on: datetime | None = None
    removed_before: bool = False
    created_on: datetime | None = None
    changed_on: datetime | None = None
    due: datetime | None = None
    attempts: int = 0
    last_error: str | None = None
    unknown_columns: tuple[tuple[str, Any], ...] = ()
    etag: str = ""

    @classmethod
    def absent(cls, tenant_id: str, object_id: str) -> Self:
        """An access without a row. It is never written in this form."""
        return cls(tenant_id=tenant_id, object_id=object_id, state=AccessState.REMOVED)

    def assign(self, assignment: Assignment, expires_on: datetime | None, now: datetime) -> Self:
        """Want this assignment. ACS does not have it yet."""
        is_new = self.changed_on is None
        was_removed = (self.is_removed and not is_new) or self.removed_before
        return self._want(AccessState.ASSIGNING, now)._replace(
            created_on=self.created_on if self.is_given else now,
            principal_type=assignment.principal_type,
            client_ids=assignment.client_ids,
            expires_on=expires_on,
            removed_before=was_removed,
        )

    def take_over(self, assignment: Assignment, expires_on: datetime | None, now: datetime) -> Self:
        """The row of an assignment that ACS has and that nothing here is about to change."""
        self._require(AccessState.REMOVED)
        return self._replace(
            state=AccessState.ASSIGNED,
            created_on=now,
            changed_on=now,
            principal_type=assignment.principal_type,
            client_ids=assignment.client_ids,
            expires_on=expires_on,
            due=expires_on,
        )

    def finish_assignment(self) -> Self:
        """Record that ACS has accepted the assignment. The sweep still has to see it."""
        self._require(AccessState.ASSIGNING, AccessState.ASSIGNED)
        return self._replace(state=AccessState.ASSIGNED, removed_before=False)

    def remove(self, now: datetime) -> Self:
        """Want that ACS has no assignment. It may still have one."""
        return self._want(AccessState.REMOVING, now)

    def remove_again(self, now: datetime) -> Self:
        """Still want that ACS has no assignment, although the sweep has found one."""
        self._require(AccessState.REMOVING, AccessState.REMOVED)
        return self._replace(state=AccessState.REMOVING, due=now + LEASE)

    def finish_removal(self) -> Self:
        """Record that ACS has accepted the removal. The sweep still has to see it."""
        self._require(AccessState.REMOVING)
        return self._replace(state=AccessState.REMOVED)

    def check_again(self, now: datetime) -> Self:
        """Let the sweep look again when everything that is sent now has taken effect."""
        return self._replace(due=now + LEASE)

    def confirm(self) -> Self:
        """Record that the sweep has seen the assignment at ACS."""
        self._require(AccessState.ASSIGNING, AccessState.ASSIGNED)
        return self._replace(
            state=AccessState.ASSIGNED,
            removed_before=False,
            due=self.expires_on,
            attempts=0,
            last_error=None,
        )

    def accept(self, found: Assignment | None, now: datetime) -> Self:
        """Want what ACS has, because it refuses what was wanted. A removal counts again."""
        self._require(AccessState.ASSIGNING, AccessState.ASSIGNED)
        if found is None or self.removed_before:
            return self.remove(now)
        return self._want(AccessState.ASSIGNED, now)._replace(
            principal_type=found.principal_type, client_ids=found.client_ids
        )

    def postpone(self, until: datetime, error_code: str) -> Self:
        """Retry later, after the sweep has failed."""
        return self._replace(attempts=self.attempts + 1, last_error=error_code, due=until)

    def with_etag(self, etag: str) -> Self:
        """The row with the version that a write has returned."""
        return self._replace(etag=etag)

    def is_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_on is not None and self.expires_on <= now

    @property
    def is_given(self) -> bool:
        """Whether access is wanted."""
        return self.state in (AccessState.ASSIGNING, AccessState.ASSIGNED)

    @property
    def is_removed(self) -> bool:
        """Whether no access is wanted."""
        return self.state in (AccessState.REMOVING, AccessState.REMOVED)

    @property
    def assignment(self) -> Assignment | None:
        """What is wanted at ACS, or was before the removal. None if that is not known."""
        if self.principal_type is None:
            return None
        return Assignment(self.principal_type, self.client_ids)

    @property
    def due_entry(self) -> "AccessDue | None":
        """Its due entry."""
        return AccessDue(self.due, self.tenant_id, self.object_id) if self.due else None

    def _want(self, state: AccessState, now: datetime) -> Self:
        """Change what is wanted. The row is due until the sweep has seen that it holds."""
        self._require(*(each for each in AccessState if each is not AccessState.UNKNOWN))
        return self._replace(
            state=state,
            removed_before=False,
            changed_on=now,
            due=now + LEASE,
            attempts=0,
            last_error=None,
        )

    def _require(self, *states: AccessState) -> None:
        if self.state not in states:
            raise IllegalTransition(f"not allowed for an access that is {self.state}")

    def _replace(self, **changes: object) -> Self:
        return msgspec.structs.replace(self, **changes)


class AccessDue(msgspec.Struct, frozen=True, order=True):
    """Work is due for an access. Entries sort by time."""

    due: datetime
    tenant_id: str
    object_id: str

    @property
    def position(self) -> str:
        """Where it is in the order."""
        return f"{timestamp(self.due)}|{self.tenant_id}|{self.object_id}"

    @classmethod
    def at(cls, position: str) -> Self:
        """The entry at this position.

        Raises:
            ValueError: the text is not a position.
        """
        due, tenant_id, object_id = position.split("|")
        return cls(parse_timestamp(due), tenant_id, object_id)
