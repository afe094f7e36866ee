"""What the operations need from outside. The real adapters and the tests' fakes implement it."""

from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Protocol

from identity_service.identity import (
    DueEntry,
    DueKind,
    Identity,
    Page,
    State,
    SweepRecord,
    UserRow,
)
from identity_service.policies import AccessToken, TokenGrant
from identity_service.teams_access import Access, AccessDue, AccessState, Assignment


class Acs(Protocol):
    """The identities of one ACS resource.

    Every method raises `AcsUnavailable`, `AcsTooSlow`, `AcsRefusedUs` or `Throttled`. Creating and
    issuing tokens raises `CallerGone`, and does nothing, if the caller of the invocation has got a
    response before the request was sent. Methods that take an id also raise `IdentityNotFound`, and
    `WrongResource` if ACS says that the identity is not in this resource.
    """

    async def create(self) -> str:
        """Create an identity and return its id. Never retried: each attempt creates another one."""

    async def create_with_token(self, grant: TokenGrant) -> tuple[str, AccessToken]:
        """Create an identity and its first token in one call. Never retried."""

    async def issue_token(self, identity_id: str, grant: TokenGrant) -> AccessToken:
        """Issue a token."""

    async def revoke_tokens(self, identity_id: str, *, if_awaited: bool = False) -> None:
        """Revoke all tokens that the identity has.

        Args:
            identity_id: The identity.
            if_awaited: Raise `CallerGone` instead of sending it after the caller got a response.
        """

    async def delete(self, identity_id: str) -> None:
        """Delete the identity with its tokens and its data. This cannot be undone."""

    async def exchange_teams_token(self, token: str, app_id: str, user_id: str) -> AccessToken:
        """Exchange a Teams user's Entra token for an ACS access token.

        Raises:
            TeamsTokenRefused: ACS does not accept the token, or not for this app and this user.
        """


class TeamsAssignments(Protocol):
    """The Teams Phone assignments of one ACS resource. ACS cannot list them.

    Every method raises `AcsUnavailable`, `AcsTooSlow`, `AcsRefusedUs` or `Throttled`. A change may
    have happened then, but none is sent after its `not_after`: it raises `AcsTooSlow` instead.
    """

    async def put(
        self, tenant_id: str, object_id: str, assignment: Assignment, *, not_after: datetime
    ) -> None:
        """Create the assignment, or replace it. Repeating this changes nothing.

        Raises:
            AssignmentRefused: ACS does not accept the tenant, the object or the client ids.
        """

    async def get(self, tenant_id: str, object_id: str) -> Assignment | None:
        """Read the assignment. None if ACS says that there is none."""

    async def delete(self, tenant_id: str, object_id: str, *, not_after: datetime) -> None:
        """Delete the assignment with its tokens. It succeeds if there is none."""


class Conflict(Exception):
    """A write was refused: the row has changed since it was read. Nothing was written."""


class Registry(Protocol):
    """The rows described in `identity.py`. An identity row and its due entry change together.

    Every method raises `RegistryUnavailable` if the result is unknown; a write may have happened
    then. Every write raises `Conflict` if it was refused.
    """

    async def read(self, identity_id: str) -> Identity | None:
        """Read an identity's row."""

    async def insert(self, identity: Identity) -> Identity:
        """Write a new row and return it with its ETag."""

    async def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """Replace the row, if it is still as in `old`, and return it with its ETag.

        Raises:
            CallerGone: with `if_awaited`: the caller of the invocation had got a response before
                the write was sent. Nothing was written.
        """

    async def remove(self, identity: Identity) -> None:
        """Delete the row, if it is still as it was read."""

    async def read_user(self, user_id: str) -> UserRow | None:
        """Read a user's row."""

    async def insert_user(self, user_id: str, identity_id: str) -> None:
        """Write the row of a user who has none."""

    async def replace_user(self, row: UserRow, identity_id: str) -> None:
        """Let the user's row name another identity, if it is still as it was read."""

    async def remove_user(self, row: UserRow) -> None:
        """Delete the user's row, if it is still as it was read."""

    async def read_resource(self) -> str | None:
        """Read the GUID of the ACS resource that the registry belongs to, if it is recorded."""

    async def record_resource(self, resource: str) -> None:
        """Record the resource. Refused if one is recorded."""

    def due_entries(
        self,
        kinds: Collection[DueKind] = tuple(DueKind),
        *,
        after: DueEntry | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[DueEntry]:
        """The due entries in order, after `after` and up to those that are due at `until`.

        The cost grows with the number of entries read, not with the number of identities.
        """

    async def count_due(self, kind: DueKind, *, until: datetime, at_most: int) -> int:
        """How many entries of this kind are due at `until`. Counts up to `at_most`."""

    async def list_identities(
        self,
        states: Collection[State],
        continuation: str | None,
        size: int,
        *,
        min_attempts: int = 0,
    ) -> Page[Identity]:
        """Up to `size` identities in one of the states, after so many failures of the sweep.

        Raises:
            InvalidQuery: no earlier page returned this continuation.
        """

    async def read_sweep(self) -> SweepRecord:
        """Read when the sweep ran last."""

    async def record_sweep_start(self, now: datetime) -> None:
        """Record that a sweep has started."""

    async def record_sweep_end(self, now: datetime) -> None:
        """Record that a sweep got to its end."""


class AccessRegistry(Protocol):
    """The rows described in `teams_access.py`. An access row and its due entry change together.

    Every method raises `RegistryUnavailable` if the result is unknown; a write may have happened
    then. Every write raises `Conflict` if it was refused.
    """

    async def read(self, tenant_id: str, object_id: str) -> Access | None:
        """Read an access row."""

    async def insert(self, access: Access, *, not_after: datetime) -> Access:
        """Write a new row and return it with its ETag.

        Raises:
            RegistryUnavailable: also if it was not sent, because it is later than `not_after`.
        """

    async def update(self, old: Access, new: Access) -> Access:
        """Replace the row, if it is still as in `old`, and return it with its ETag."""

    async def remove(self, access: Access) -> None:
        """Delete the row, if it is still as it was read."""

    def due(self, until: datetime) -> AsyncIterator[AccessDue]:
        """The due entries in order, up to those that are due at `until`.

        The cost grows with the number of entries read, not with the number of rows.
        """

    async def list(
        self,
        tenant_id: str | None,
        states: Collection[AccessState],
        continuation: str | None,
        size: int,
    ) -> Page[Access]:
        """Up to `size` rows in one of the states, of one tenant or of all.

        Raises:
            InvalidQuery: no earlier page returned this continuation.
        """


class Clock(Protocol):
    """The time, in UTC."""

    def now(self) -> datetime:
        """The current time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
