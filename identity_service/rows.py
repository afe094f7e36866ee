"""The registry's rows: what is written down about an identity, and when something is due with it.

    identity row    the truth about one identity; `due` says when the sweep must look at it again
    agenda row      stands exactly where an identity row has a `due`, in the order of the dues
    user row        a claim: this user's identity is that one; without an identity row it is nothing

States: creating → active ⇄ deleted → purging → (no row), and creating → purging.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

import msgspec

# How long an operation may take until the sweep finishes its work. Liveness only: nothing becomes
# wrong when it is too short or too long.
LEASE = timedelta(seconds=60)


_TIMESTAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


def timestamp(moment: datetime) -> str:
    """The moment in UTC in a fixed width, so that the texts sort as the moments do."""
    return moment.astimezone(UTC).strftime(_TIMESTAMP)


class State(StrEnum):
    """Where an identity is in its life."""

    CREATING = "creating"
    ACTIVE = "active"
    DELETED = "deleted"
    PURGING = "purging"


class IdentityRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The truth about one identity.

    Attributes:
        user_id: The user it belongs to, if any.
        created_on: None when it was made elsewhere.
        deleted_on: When it was deleted; its deletion ends at `scheduled_purge_on`.
        revoked: ACS has taken the revocation that followed this very deletion.
        adopted: Made elsewhere; the row was born in a delete.
        due: When the sweep must look at it; None when nothing is to be done.
        attempts: Failed attempts of the sweep in a row.
        last_error: The code of the last failure.
        etag: The version that was read or written last.
    """

    id: str
    state: State
    user_id: str | None = None
    created_on: datetime | None = None
    deleted_on: datetime | None = None
    scheduled_purge_on: datetime | None = None
    revoked: bool = False
    adopted: bool = False
    due: datetime | None = None
    attempts: int = 0
    last_error: str | None = None
    etag: str = ""

    def but(self, **changes: object) -> Self:
        """The same row with these changes."""
        return msgspec.structs.replace(self, **changes)

    def active(self) -> Self:
        """The row once nothing is to be done about it."""
        return self.but(
            state=State.ACTIVE,
            deleted_on=None,
            scheduled_purge_on=None,
            revoked=False,
            due=None,
            attempts=0,
            last_error=None,
        )

    def deleted(self, now: datetime, retention: timedelta) -> Self:
        """The row with the mark: from here on no token comes out. Its revocation is still due."""
        return self.but(
            state=State.DELETED,
            deleted_on=now,
            scheduled_purge_on=now + retention,
            revoked=False,
            due=now + LEASE,
            attempts=0,
            last_error=None,
        )


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """A user's claim on an identity."""

    user_id: str
    identity_id: str
    etag: str = ""


class AgendaRow(msgspec.Struct, frozen=True, order=True):
    """Something is due with an identity. Agenda rows sort by when, then by identity."""

    due: datetime
    identity_id: str

    def __str__(self) -> str:
        return f"{timestamp(self.due)}|{self.identity_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The row that `str` gave.

        Raises:
            ValueError: it is not of that form.
        """
        due, bar, identity_id = text.partition("|")
        parsed = datetime.strptime(due, _TIMESTAMP).replace(tzinfo=UTC)
        if not (bar and identity_id):
            raise ValueError(text)
        return cls(parsed, identity_id)


class Page(msgspec.Struct, frozen=True):
    """A part of a list of identities. It may be short or empty and yet not be the last."""

    rows: list[IdentityRow]
    continuation: str | None
