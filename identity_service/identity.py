"""The domain: an identity, its states, and every change of state.

    creating ──► active ◄──► suspended     registering ──► active
        │          │ ▲          │ ▲        registering ──► (no row): rolled back
        ▼          ▼ │          ▼ │        active      ──► (no row): unregistered
     purging ◄── deleted: a restore goes back to where the identity came from
        └──► (no row)

The registry holds three kinds of rows about identities, and two rows about itself:

    identity row    what we know about one identity; `due` says when the sweep must look at it
    due entry       exists exactly when its identity row has a `due`; sorts by kind, then by time
    user row        names a user's identity; it counts only if that identity's row names the user
                    and is not being purged
    resource row    the ACS resource that all its identities belong to; see resource.py
    sweep row       when the sweep ran last
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

import msgspec

from identity_service.errors import InvalidIdentityId

T = TypeVar("T")

# How long an operation may take before the sweep finishes its work. For identities it only decides
# how soon something is finished. Teams Phone access depends on it: what a call sends to ACS must
# have taken effect by then (docs/teams-protocol.md, rule 4).
LEASE = timedelta(seconds=60)
# ACS has answered "doesn't exist" about an identity that it had just created. Before this age, such
# an answer proves nothing.
YOUNG = timedelta(hours=1)

# Both halves look like GUIDs, but the second is not a version 4 GUID. The other prefixes belong to
# the sovereign clouds. Source: CommunicationIdentifier in Microsoft's SDKs, and recorded ids.
_GUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ID_PATTERN = f"8:(?:acs|gcch-acs|dod-acs):{_GUID}_{_GUID}"
_ID = re.compile(ID_PATTERN)

_TIMESTAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


def is_identity_id(text: str) -> bool:
    """Whether the text is the id of an ACS identity."""
    return _ID.fullmatch(text) is not None


def identity_id(text: str) -> str:
    """Return the text if it is the id of an ACS identity.

    Raises:
        InvalidIdentityId: it is not. Other text must not reach ACS: the SDK would sign a wrong URL,
            or even call another operation.
    """
    if not is_identity_id(text):
        raise InvalidIdentityId(
            _look_alike(text) or "The id is not the id of an ACS identity.",
            field="id",
            allowed="8:acs:<GUID>_<GUID> in lower case (or 8:gcch-acs:, 8:dod-acs:)",
        )
    return text


def resource_of(identity_id: str) -> str:
    """The GUID of the ACS resource that an identity belongs to: the first one in its id."""
    return identity_id.rpartition("_")[0].rpartition(":")[2]


# Texts that callers often send instead of an id, and what to do about them.
_LOOK_ALIKES = (
    (
        r"8:(orgid|gcch|dod):.*",
        "This is the id of a Teams user. Exchange a token with POST teams/token.",
    ),
    (
        r"8:(teamsvisitor|live|sfb|echo123).*",
        "This is the id of another kind of user. Send the id of an ACS identity.",
    ),
    (r"28:.*", "This is the id of a bot. Send the id of an ACS identity."),
    (r"4:.*|\+[0-9]+", "This is a phone number. Send the id of an ACS identity."),
    (r"19:.*", "This is the id of a chat thread. Send the id of an ACS identity."),
    (
        r"(\[|%(25)*5B)object.*|undefined|null|None|NaN|true|false|-?[0-9]+",
        "This is a value that was not converted to text. Send the `id` field of the identity.",
    ),
    (r"[{<:].*|%(25)*7B.*", "This is the placeholder of a URL, or JSON. Send the id itself."),
    (
        r".*%[0-9A-F]{2}.*",
        "The id is encoded twice, or has a character that no id has.",
    ),
    (rf"[\"'].*{_GUID}_{_GUID}.*", "The id has quotation marks. Send it without them."),
    (rf"(acs:)?{_GUID}_{_GUID}", "The prefix 8:acs: is missing or incomplete."),
    (_GUID, "This is a single GUID. The id of an identity has a prefix and two GUIDs."),
    (r".+@.+", "This is the id of a user. GET identities?userId= finds the user's identity."),
    (
        r".*[^!-~].*",
        "The id has white space, or characters that are not ASCII and look like others.",
    ),
    (
        r"8:((gcch|dod)-)?acs:.*",
        "After the prefix there must be two GUIDs, joined by an underscore, and nothing else.",
    ),
)


def _look_alike(text: str) -> str:
    """What the text is instead of an id, if it is recognised."""
    if is_identity_id(text.strip().lower()):
        return "The id must be in lower case and without white space."
    for pattern, explanation in _LOOK_ALIKES:
        if re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL):
            return explanation
    return ""


def timestamp(moment: datetime) -> str:
    """The moment in UTC with a fixed width, so that texts sort in the order of their times."""
    return moment.astimezone(UTC).strftime(_TIMESTAMP)


def parse_timestamp(text: str) -> datetime:
    """The moment that `timestamp` wrote.

    Raises:
        ValueError: it did not write this.
    """
    return datetime.strptime(text, _TIMESTAMP).replace(tzinfo=UTC)


@dataclass(frozen=True)
class SignedInUser:
    """A user whose sign-in the platform has checked.

    Attributes:
        user_id: `aad/<tenant>/<object id>` for Entra, `<provider>/<issuer or ->/<subject>` for
            other providers. Services find the user's identity under this `userId`.
        object_id: The object id in Entra. None for users of other providers.
    """

    user_id: str
    object_id: str | None = None


class Actor(StrEnum):
    """Who has deleted an identity. Only a service can undo what a service did."""

    USER = "user"
    SERVICE = "service"


class State(StrEnum):
    """The state of an identity.

    `UNKNOWN` is never written. It stands for a row that this release cannot read, because a newer
    release has written it or because it is damaged. Nothing changes such a row.
    """

    CREATING = "creating"
    REGISTERING = "registering"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"
    PURGING = "purging"
    UNKNOWN = "unknown"


class DueKind(StrEnum):
    """Why an identity is due: work is not finished, or its purge waits for its date."""

    WORK = "t"
    PURGE = "p"


class IllegalTransition(Exception):
    """A bug: code tried to change an identity in a way that its state does not allow."""


class Identity(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An identity as its row in the registry has it.

    Each change of state is a method that returns the changed row. It raises `IllegalTransition` if
    the current state does not allow the change. Nothing here writes to the registry.

    Attributes:
        user_id: The user that the identity belongs to, if any.
        created_on: When this service created it. None if it was created elsewhere.
        known_on: For an identity that was created elsewhere: when the registry first wrote about
            it.
        deleted_on: When it was deleted.
        scheduled_purge_on: When the sweep purges it.
        deleted_by: Who deleted it. See `deleter`.
        suspended_on: When it was suspended. A deletion and a restore keep it.
        revoked: ACS has accepted the revocation that follows the current deletion or suspension.
        adopted: The row was first written by a delete or a suspend, and ACS has not yet confirmed
            that the identity exists.
        due: When the sweep must look at it. None if no work is pending.
        due_kind: Why. Rows of earlier releases have no kind, which means work.
        attempts: How often in a row the sweep has failed.
        last_error: The problem code of the last failure.
        unknown_columns: What a newer release has added to the row. A write keeps it.
        etag: The version of the row that was last read or written.
    """

    id: str
    state: State
    user_id: str | None = None
    created_on: datetime | None = None
    known_on: datetime | None = None
    deleted_on: datetime | None = None
    scheduled_purge_on: datetime | None = None
    deleted_by: Actor | None = None
    suspended_on: datetime | None = None
    revoked: bool = False
    adopted: bool = False
    due: datetime | None = None
    due_kind: DueKind = DueKind.WORK
    attempts: int = 0
    last_error: str | None = None
    unknown_columns: tuple[tuple[str, Any], ...] = ()
    etag: str = ""

    @classmethod
    def create(cls, identity_id: str, user_id: str | None, now: datetime) -> Self:
        """A new identity that ACS has just created."""
        return cls(
            id=identity_id,
            state=State.CREATING,
            user_id=user_id,
            created_on=now,
            due=now + LEASE,
        )

    @classmethod
    def register(cls, identity_id: str, user_id: str | None, now: datetime) -> Self:
        """An identity that was created elsewhere. Whether ACS has it is not known yet."""
        return cls(
            id=identity_id,
            state=State.REGISTERING,
            user_id=user_id,
            known_on=now,
            due=now + LEASE,
        )

    @classmethod
    def adopt(cls, identity_id: str, now: datetime) -> Self:
        """An identity that was created elsewhere and that a delete or a suspend writes about.

        It is never written in this form, because no row may be active before ACS has confirmed
        that the identity exists.
        """
        return cls(id=identity_id, state=State.ACTIVE, known_on=now, adopted=True)

    def finish_creation(self) -> Self:
        """Make a new identity active."""
        return self._settle(State.ACTIVE, State.CREATING)

    def finish_registration(self) -> Self:
        """Make a registered identity active, after ACS has confirmed that it exists."""
        return self._settle(State.ACTIVE, State.REGISTERING)

    def start_rollback(self, now: datetime) -> Self:
        """Postpone a registration that is rolled back, which invalidates its ETag."""
        self._require(State.REGISTERING)
        return self._replace(due=now + LEASE, due_kind=DueKind.WORK)

    def delete(self, now: datetime, retention: timedelta, by: Actor) -> Self:
        """Mark it as deleted. From here on no token is returned; the revocation is still due."""
        self._require(State.ACTIVE, State.SUSPENDED)
        return self._start_revocation(
            State.DELETED,
            now,
            # A release that does not know suspensions can leave it in an active row.
            suspended_on=self.suspended_on if self.state is State.SUSPENDED else None,
            deleted_on=now,
            scheduled_purge_on=now + retention,
            deleted_by=by,
        )

    def take_over_deletion(self, by: Actor) -> Self:
        """The row for a repeated deletion. If a service repeats it, a user cannot undo it."""
        self._require(State.DELETED)
        return self._replace(deleted_by=by) if by is Actor.SERVICE else self

    def restore(self) -> Self:
        """Undo the deletion. An identity that was suspended before is suspended again."""
        if self.suspended_on is None:
            return self._settle(State.ACTIVE, State.DELETED)
        return self._settle(State.SUSPENDED, State.DELETED, revoked=True)

    def suspend(self, now: datetime) -> Self:
        """Mark it as suspended. From here on no token is returned; the revocation is still due."""
        self._require(State.ACTIVE)
        return self._start_revocation(State.SUSPENDED, now, suspended_on=now)

    def resume(self) -> Self:
        """Undo the suspension."""
        return self._settle(State.ACTIVE, State.SUSPENDED, suspended_on=None)

    def record_revocation(self) -> Self:
        """Record that ACS has accepted the revocation that follows the mark."""
        if self.state is State.SUSPENDED:
            return self._settle(State.SUSPENDED, State.SUSPENDED, revoked=True)
        self._require(State.DELETED)
        return self._replace(
            revoked=True,
            adopted=False,
            due=self.scheduled_purge_on,
            due_kind=DueKind.PURGE,
            attempts=0,
            last_error=None,
        )

    def wait_for_purge(self) -> Self:
        """Move the due entry of an earlier release to those that wait for their purge."""
        self._require(State.DELETED)
        return self._replace(due_kind=DueKind.PURGE)

    def start_purge(self, now: datetime) -> Self:
        """Decide that the identity is purged. This cannot be undone.

        It is due after a lease at the latest, so that an interrupted purge is finished soon.
        """
        self._require(State.CREATING, State.DELETED)
        lease = now + LEASE
        due = lease if self.due is None else min(self.due, lease)
        return self._replace(state=State.PURGING, adopted=False, due=due, due_kind=DueKind.WORK)

    def postpone(self, until: datetime, error_code: str) -> Self:
        """Retry later, after the sweep has failed."""
        self._require(
            State.CREATING, State.REGISTERING, State.SUSPENDED, State.DELETED, State.PURGING
        )
        return self._replace(
            attempts=self.attempts + 1, last_error=error_code, due=until, due_kind=DueKind.WORK
        )

    def belongs_to(self, user_id: str) -> bool:
        """Whether a user row that names this identity counts."""
        return self.user_id == user_id and self.state is not State.PURGING

    def found_at(self, entry: "DueEntry") -> Self | None:
        """The row if the due entry is its own. None if the entry is outdated.

        A write by a release that does not know the kinds erases the kind from the row. The entry
        still has it. If the row cannot be read, neither can its due, so any entry may be its own.
        """
        if self.state is State.UNKNOWN:
            return self
        return self._replace(due_kind=entry.kind) if self.due == entry.due else None

    @property
    def due_entry(self) -> "DueEntry | None":
        """Its due entry."""
        return DueEntry(self.due, self.id, self.due_kind) if self.due else None

    @property
    def deleter(self) -> Actor:
        """Who deleted it. Earlier releases did not record it; then it counts as the user."""
        return self.deleted_by or Actor.USER

    def has_mark_of(self, other: Self) -> bool:
        """Whether it has the deletion or the suspension of `other`, and not a later one."""
        same = self.state is other.state and self.suspended_on == other.suspended_on
        return same and self.deleted_on == other.deleted_on

    def with_etag(self, etag: str) -> Self:
        """The row with the version that a write has returned."""
        return self._replace(etag=etag)

    def is_young(self, now: datetime) -> bool:
        """Whether "doesn't exist" from ACS proves nothing about it yet."""
        since = self.created_on or self.known_on
        return since is not None and now - since < YOUNG

    def _start_revocation(self, state: State, now: datetime, **changes: object) -> Self:
        """Mark it. The sweep finishes the revocation if the call does not."""
        return self._replace(
            state=state,
            revoked=False,
            due=now + LEASE,
            due_kind=DueKind.WORK,
            attempts=0,
            last_error=None,
            **changes,
        )

    def _settle(
        self, state: State, before: State, *, revoked: bool = False, **changes: object
    ) -> Self:
        """Put it into a state in which no work is pending."""
        self._require(before)
        return self._replace(
            state=state,
            deleted_on=None,
            scheduled_purge_on=None,
            deleted_by=None,
            revoked=revoked,
            adopted=False,
            due=None,
            due_kind=DueKind.WORK,
            attempts=0,
            last_error=None,
            **changes,
        )

    def _require(self, *states: State) -> None:
        if self.state not in states:
            raise IllegalTransition(f"not allowed for an identity that is {self.state}")

    def _replace(self, **changes: object) -> Self:
        return msgspec.structs.replace(self, **changes)


class UserRow(msgspec.Struct, frozen=True, kw_only=True):
    """The registry's entry for a user: the id of the user's identity."""

    user_id: str
    identity_id: str
    etag: str = ""


class SweepRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The registry's row about the sweep. Without a row, nothing is known.

    Attributes:
        last_started_on: When it started last.
        last_completed_on: When it last got to its end. A sweep that fails or is killed does not.
    """

    last_started_on: datetime | None = None
    last_completed_on: datetime | None = None


class DueEntry(msgspec.Struct, frozen=True, order=True):
    """Work is due for an identity. Entries sort by time, then by identity."""

    due: datetime
    identity_id: str
    kind: DueKind = DueKind.WORK

    @property
    def position(self) -> str:
        """Where it is in the order. Entries of both kinds are in one order."""
        return f"{timestamp(self.due)}|{self.identity_id}"

    @classmethod
    def at(cls, position: str, kind: DueKind = DueKind.WORK) -> Self:
        """The entry at this position.

        Raises:
            ValueError: the text is not a position.
        """
        due, bar, identity_id = position.partition("|")
        parsed = parse_timestamp(due)
        if not (bar and identity_id):
            raise ValueError(position)
        return cls(parsed, identity_id, kind)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list.

    Attributes:
        items: May be fewer than requested, or none, even if more pages follow.
        continuation: Where the next page starts. None on the last page.
    """

    items: list[T]
    continuation: str | None = None
