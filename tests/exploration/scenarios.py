"""The scenarios: which operations run at the same time, and what existed before them."""

import random
from typing import Any, NamedTuple

from msgspec.structs import replace

from identity_service.identity import LEASE, DueEntry, DueKind, UserRow
from tests.exploration.world import (
    ASSIGNMENT,
    ELSEWHERE,
    EMPTY,
    FOREIGN,
    OTHER,
    THEN,
    USER,
    ExploredWorld,
    Snapshot,
)
from tests.support.world import RETENTION, SECOND

# How far the scheduler can advance the clock: past what any operation has set.
TIME_STEPS = {"lease": LEASE + 10 * SECOND, "retention": RETENTION + 10 * SECOND}

# How many random scenarios are among those listed here.
LISTED = 0.6

# What existed before, as the steps that led there. `until` names the call before which the
# operation was killed.
ACTIVE = ("create for user", "issue")
UNREVOKED = (*ACTIVE, "delete until revoke_tokens")
DELETED = (*ACTIVE, "delete")
UNKNOWN_TO_ACS = ("delete until revoke_tokens",)
REGISTERING = ("created elsewhere", "register for user until insert_user")
USER_ROW_WRITTEN = ("created elsewhere", "register for user until update")
REGISTERED = ("created elsewhere", "register for user")
USER_ROW_LEFT = (*REGISTERED, "unregister until remove_user")
SUSPENDED = (*ACTIVE, "suspend")
SUSPENDING = (*ACTIVE, "suspend until revoke_tokens")
DELETING_SUSPENDED = (*SUSPENDING, "delete until revoke_tokens")
DELETED_BY_USER = (*ACTIVE, "delete by user")
UNREVOKED_BY_USER = (*ACTIVE, "delete by user until revoke_tokens")
ASSIGNED = ("assign", "lease", "sweep")
EXPIRING = ("assign for a day", "lease", "sweep")
ACCESS_BEFORE: dict[str, tuple[str, ...]] = {
    "no access": (),
    "assigning": ("assign until put",),
    "assigning, due": ("assign until put", "lease"),
    "assigning refused, due": ("assign refused until put", "lease"),
    "assigned a moment ago": ("assign",),
    "assigned a moment ago, due": ("assign", "lease"),
    "assigned": ASSIGNED,
    "assigned, expiring": EXPIRING,
    "assigned, expired": (*EXPIRING, "retention"),
    "assigned elsewhere": ("assigned elsewhere",),
    "assigned, other assigning, due": (*ASSIGNED, "assign other until put", "lease"),
    "removing": (*ASSIGNED, "remove until delete"),
    "removing, due": (*ASSIGNED, "remove until delete", "lease"),
    "removed": ("assign", "remove"),
    "removed, due": ("assign", "remove", "lease"),
    "removed, assigned by a late call": ("assign", "remove", "assigned elsewhere"),
    "removed, assigned by a late call, other assigning": (
        *("assign", "remove", "assigned elsewhere", "assign other until put"),
    ),
}
BEFORE: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "unfinished creation": ("create for user until update",),
    "unfinished creation, due": ("create for user until update", "lease"),
    "unfinished creation without user row, due": ("create for user until insert_user", "lease"),
    "dangling user row": ("dangling user row",),
    "active": ACTIVE,
    "created elsewhere": ("created elsewhere",),
    "unrevoked": UNREVOKED,
    "unrevoked, due": (*UNREVOKED, "lease"),
    "unrevoked, purge due": (*UNREVOKED, "retention"),
    "deleted": DELETED,
    "deleted, purge due": (*DELETED, "retention"),
    "purging": (*DELETED, "purge until delete"),
    "purging, due": (*DELETED, "purge until delete", "lease"),
    "unknown to ACS": UNKNOWN_TO_ACS,
    "unknown to ACS, due": (*UNKNOWN_TO_ACS, "lease"),
    "deleted by an earlier release, purge due": (*DELETED, "earlier release", "retention"),
    "registering": REGISTERING,
    "registering, due": (*REGISTERING, "lease"),
    "registering, user row written": USER_ROW_WRITTEN,
    "registering, user row written, due": (*USER_ROW_WRITTEN, "lease"),
    "registered": REGISTERED,
    "user row left by unregister": USER_ROW_LEFT,
    "user row of another user's identity": (*USER_ROW_LEFT, "register for other user"),
    "dangling user row, created elsewhere": ("dangling user row", "created elsewhere"),
    "two created elsewhere": ("created elsewhere", "other created elsewhere"),
    "active, other elsewhere": (*ACTIVE, "other created elsewhere"),
    "deleted, other elsewhere": (*DELETED, "other created elsewhere"),
    "purging, other elsewhere": (*DELETED, "purge until delete", "other created elsewhere"),
    "user row left by unregister, purged": (*USER_ROW_LEFT, "delete", "purge"),
    "created elsewhere a moment ago": ("created elsewhere",),
    "registered a moment ago, deleted": (*REGISTERED, "delete"),
    "suspended": SUSPENDED,
    "suspending": SUSPENDING,
    "suspending, due": (*SUSPENDING, "lease"),
    "suspended, deleted": (*SUSPENDED, "delete"),
    "suspended, deleted, purge due": (*SUSPENDED, "delete", "retention"),
    "suspending, deleted": DELETING_SUSPENDED,
    "suspending, unknown to ACS": ("suspend until revoke_tokens",),
    "suspending, unknown to ACS, due": ("suspend until revoke_tokens", "lease"),
    "unrevoked, created elsewhere": ("created elsewhere", "delete until revoke_tokens"),
    "unrevoked, created elsewhere, purge due": (
        *("created elsewhere", "delete until revoke_tokens", "retention"),
    ),
    "unrevoked, created elsewhere a moment ago": (
        *("created elsewhere", "delete until revoke_tokens"),
    ),
    "deleted by user": DELETED_BY_USER,
    "unrevoked by user": UNREVOKED_BY_USER,
    "active a moment ago": ACTIVE,
    "active a moment ago, unrevoked, due": (*UNREVOKED, "lease"),
    "suspending a moment ago, due": (*SUSPENDING, "lease"),
    "suspending a moment ago, deleted": DELETING_SUSPENDED,
    "restored a moment ago": ("created elsewhere", "delete", "restore", "issue"),
    "suspending, created elsewhere a moment ago": (
        *("created elsewhere", "suspend until revoke_tokens"),
    ),
    "active, wrong resource": ACTIVE,
    "deleted, wrong resource": DELETED,
    "suspending, wrong resource": SUSPENDING,
    "registered, wrong resource": REGISTERED,
    "created elsewhere, wrong resource": ("created elsewhere",),
    "of another resource": ("of another resource",),
    "suspending, of another resource, due": (
        *("of another resource", "suspend until revoke_tokens", "lease"),
    ),
    "unrevoked, of another resource, due": (
        *("of another resource", "delete until revoke_tokens", "lease"),
    ),
    **ACCESS_BEFORE,
}
# ACS may deny that it has an identity of the last hour: in these, to these calls.
DENIED = {
    "created elsewhere a moment ago": ("revoke_tokens",),
    "registered a moment ago, deleted": ("delete",),
    "active a moment ago": ("issue_token", "revoke_tokens", "delete"),
    "active a moment ago, unrevoked, due": ("revoke_tokens", "delete"),
    "suspending a moment ago, due": ("revoke_tokens",),
    "suspending a moment ago, deleted": ("revoke_tokens",),
    "restored a moment ago": ("revoke_tokens",),
    "suspending, created elsewhere a moment ago": ("revoke_tokens",),
    "unrevoked, created elsewhere a moment ago": ("revoke_tokens", "delete"),
}
# ACS says that it does not own an identity, if the app uses another resource for a while: in these,
# to these calls.
DISOWNED = {
    "active, wrong resource": ("issue_token", "revoke_tokens"),
    "deleted, wrong resource": ("delete",),
    "suspending, wrong resource": ("revoke_tokens",),
    "registered, wrong resource": ("issue_token", "revoke_tokens"),
    "created elsewhere, wrong resource": ("issue_token", "revoke_tokens"),
}


_GIVEN: dict[str, dict[str, Any]] = {
    "dangling user row": {
        "users": frozenset({UserRow(user_id=USER, identity_id="identity-gone", etag="given")})
    },
    "assigned elsewhere": {"assignments": frozenset({ASSIGNMENT})},
}
_ELSEWHERE = {"created elsewhere": ELSEWHERE, "other created elsewhere": OTHER}


class Scenario(NamedTuple):
    """Operations that run at the same time.

    Attributes:
        operations: Their titles.
        before: What existed before; a key of `BEFORE`.
    """

    operations: tuple[str, ...]
    before: str = "nothing"

    def __str__(self) -> str:
        return f"{' | '.join(self.operations)} -- {self.before}"

    @property
    def is_access(self) -> bool:
        """Whether it is about Teams Phone access, and not about identities."""
        return self.before in ACCESS_BEFORE

    @classmethod
    def parse(cls, text: str) -> "Scenario":
        """The scenario with this name. It need not be listed below."""
        operations, _, before = text.partition(" -- ")
        return cls(tuple(operations.split(" | ")), before or "nothing")

    def prepare(self, world: ExploredWorld) -> Snapshot:
        """The snapshot in which the scenario starts. Sets the identity that it is about."""
        snapshot = EMPTY
        for number, step in enumerate(BEFORE[self.before]):
            snapshot = _after(world, snapshot, step, f"given{number}.")
            known = {row.id for row in snapshot.rows} | snapshot.identities
            world.identity_id = min(known, default=world.identity_id)
        return snapshot


def _after(world: ExploredWorld, snapshot: Snapshot, step: str, name: str) -> Snapshot:
    if step in TIME_STEPS:
        return snapshot._replace(now=snapshot.now + TIME_STEPS[step])
    if step in _GIVEN:
        return snapshot._replace(**_GIVEN[step])
    if step == "of another resource":
        world.identity_id = FOREIGN
        return snapshot
    if step in _ELSEWHERE:
        identity_id = _ELSEWHERE[step]
        return snapshot._replace(
            identities=snapshot.identities | {identity_id},
            tokens=snapshot.tokens | {(f"token-{identity_id}", identity_id)},
        )
    if step == "earlier release":
        return snapshot._replace(
            rows=frozenset(replace(row, due_kind=DueKind.WORK) for row in snapshot.rows),
            entries=frozenset(DueEntry(one.due, one.identity_id) for one in snapshot.entries),
        )
    title, _, until = step.partition(" until ")
    return world.run(world.operation(name, 7, title), snapshot, until)[0]


def _together(*operations: str, before: tuple[str, ...] = ("nothing",)) -> list[Scenario]:
    return [Scenario(operations, one) for one in before]


CREATE, CREATE_TOKEN = "create for user", "create with token for user"
REGISTER, REGISTER_OTHER = "register for user", "register other for user"
MOVE = THEN.join(("unregister", "register for other user"))
MOVE_NEW = THEN.join((CREATE, "unregister", REGISTER))

PAIRS = [
    *_together(
        CREATE,
        CREATE,
        before=("nothing", "unfinished creation", "unfinished creation, due", "dangling user row"),
    ),
    *_together(CREATE_TOKEN, CREATE_TOKEN, before=("nothing", "unfinished creation")),
    *_together(CREATE, CREATE_TOKEN),
    *_together("create", "sweep"),
    *_together("create with token", "sweep"),
    *_together(CREATE, "sweep", before=("nothing", "unfinished creation, due")),
    *_together("issue", "delete", before=("active", "created elsewhere", "unrevoked")),
    *_together("delete", "delete", before=("active", "created elsewhere", "unrevoked")),
    *_together("delete", "sweep", before=("active", "unrevoked, due")),
    *_together("restore", "purge", before=("deleted", "unrevoked", "purging")),
    *_together("restore", "restore", before=("unrevoked",)),
    *_together(
        "restore", "sweep", before=("deleted, purge due", "unrevoked, due", "unrevoked, purge due")
    ),
    *_together("purge", CREATE, before=("deleted", "purging")),
    *_together("purge", "purge", before=("deleted",)),
    *_together(
        "sweep",
        "sweep",
        before=(
            "deleted, purge due",
            "unrevoked, due",
            "unfinished creation, due",
            "unfinished creation without user row, due",
            "purging, due",
            "unknown to ACS, due",
        ),
    ),
    *_together("delete", "delete"),
    *_together("delete", "restore"),
    *_together("delete", "issue"),
    *_together("delete", "restore", before=("unknown to ACS",)),
    *_together("restore", "delete", before=("deleted",)),
    *_together("held sweep", "restore", before=("deleted by an earlier release, purge due",)),
    *_together("held sweep", "sweep", before=("deleted by an earlier release, purge due",)),
]

REGISTRATIONS = [
    *_together(REGISTER),
    *_together(
        REGISTER, REGISTER, before=("created elsewhere", "registering, user row written, due")
    ),
    *_together(REGISTER, "register for other user", before=("created elsewhere",)),
    *_together(REGISTER, REGISTER_OTHER, before=("two created elsewhere",)),
    *_together(REGISTER_OTHER, CREATE, before=("active, other elsewhere",)),
    *_together(REGISTER_OTHER, "delete", before=("active, other elsewhere",)),
    *_together(REGISTER_OTHER, "purge", before=("deleted, other elsewhere",)),
    *_together(REGISTER_OTHER, "purge", before=("purging, other elsewhere",)),
    *_together(REGISTER_OTHER, "unregister", before=("active, other elsewhere",)),
    *_together("register", "delete", before=("created elsewhere",)),
    *_together("register", "unregister", before=("created elsewhere",)),
    *_together(REGISTER, "delete", before=("created elsewhere", "registering", "registered")),
    *_together(
        REGISTER,
        "unregister",
        before=("created elsewhere", "registering, user row written", "registered"),
    ),
    *_together("unregister", REGISTER, before=("registered",)),
    *_together(REGISTER, CREATE, before=("nothing", "created elsewhere", "registering")),
    *_together(REGISTER, CREATE_TOKEN, before=("dangling user row, created elsewhere",)),
    *_together(
        REGISTER,
        "sweep",
        before=(
            "registering, due",
            "registering, user row written, due",
            "user row left by unregister",
        ),
    ),
    *_together("sweep", "sweep", before=("registering, user row written, due",)),
    *_together("unregister", "sweep", before=("registering, user row written, due",)),
    *_together("unregister", "unregister", before=("registered",)),
    *_together("unregister", CREATE, before=("registered", "user row left by unregister")),
    *_together("unregister", "delete", before=("registered",)),
    *_together("unregister", "restore", before=("deleted",)),
    *_together("unregister", "purge", before=("unrevoked",)),
    *_together("unregister", CREATE, before=("unfinished creation",)),
    *_together("unregister for user", MOVE, before=("registered",)),
    *_together(CREATE_TOKEN, MOVE, before=("registered",)),
    *_together(CREATE, CREATE_TOKEN, before=("user row of another user's identity",)),
    *_together(CREATE, "purge", before=("purging",)),
    *_together("delete", "restore", before=("created elsewhere a moment ago",)),
    *_together("purge", "sweep", before=("registered a moment ago, deleted",)),
    *_together(REGISTER, CREATE, before=("user row left by unregister, purged",)),
]

MORE = [
    *_together("issue", "delete", "restore", before=("active", "unrevoked")),
    *_together("delete", "delete", "restore", before=("active", "unrevoked")),
    *_together("delete", "restore", "sweep", before=("nothing", "unrevoked, due")),
    *_together("restore", "purge", "sweep", before=("deleted, purge due",)),
    *_together("purge", "sweep", CREATE, before=("deleted, purge due",)),
    *_together("sweep", "sweep", CREATE, before=("unfinished creation, due",)),
    *_together(CREATE, CREATE, "sweep"),
    *_together(CREATE, CREATE_TOKEN, "delete", before=("active", "unfinished creation")),
    *_together("delete", "restore then delete", before=("created elsewhere a moment ago",)),
    *_together(REGISTER, "sweep", "sweep", before=("registering, user row written, due",)),
    *_together(REGISTER, "sweep", CREATE, before=("registering, user row written, due",)),
    *_together(REGISTER, "delete", "purge", before=("created elsewhere",)),
    *_together(REGISTER, "unregister", CREATE, before=("registered",)),
    *_together(CREATE, MOVE_NEW),
    *_together("issue", "suspend", "resume", before=("suspending",)),
    *_together("suspend", "delete", "restore", before=("active",)),
    *_together("suspend", "resume", "sweep", before=("suspending, due",)),
    *_together("delete", "restore", "sweep", before=("suspending, due",)),
    *_together(CREATE_TOKEN, "suspend", "delete", before=("active",)),
    *_together("delete by user", "suspend", "restore by user", before=("active",)),
    *_together("delete by user", "delete", "restore by user", before=("unrevoked by user",)),
    *_together("delete", "restore by user", "restore", before=("unrevoked by user",)),
    *_together("suspend", "sweep", "resume", before=("created elsewhere a moment ago",)),
    *_together("suspend", "delete", "restore", before=("created elsewhere a moment ago",)),
    *_together(
        *("suspend", "delete", "resume"), before=("suspending, created elsewhere a moment ago",)
    ),
    *_together("purge", "delete", "restore", before=("unrevoked, created elsewhere a moment ago",)),
    *_together("suspend", "resume", "register", before=("created elsewhere a moment ago",)),
    *_together("delete", "restore", "register", before=("created elsewhere a moment ago",)),
    *_together("delete", "delete", "register", before=("created elsewhere a moment ago",)),
]

# These have too many schedules with a fault.
MANY = [
    *_together("delete", "restore", "issue", "delete", before=("active", "unrevoked")),
    *_together(REGISTER, "unregister", "delete", "restore", before=("registered",)),
]

MARKS = [
    *_together("issue", "suspend", before=("active", "created elsewhere", "suspending")),
    *_together("suspend", "suspend", before=("suspending",)),
    *_together("suspend", "sweep", before=("suspending, due",)),
    *_together("suspend", "resume", before=("active", "suspending", "suspending, unknown to ACS")),
    *_together(
        "suspend", "delete", before=("nothing", "active", "suspending", "created elsewhere")
    ),
    *_together("suspend", "restore", before=("deleted",)),
    *_together("suspend", "purge", before=("deleted", "suspending")),
    *_together("suspend", "unregister", before=("registered",)),
    *_together("suspend", REGISTER, before=("created elsewhere", "registering")),
    *_together("suspend", CREATE, before=("unfinished creation", "active")),
    *_together(CREATE_TOKEN, "suspend", before=("active",)),
    *_together(CREATE, CREATE_TOKEN, before=("suspended",)),
    *_together("resume", "suspend", before=("suspended", "suspending, wrong resource")),
    *_together("resume", "resume", before=("suspending",)),
    *_together("resume", "delete", before=("suspended", "suspending")),
    *_together("resume", "sweep", before=("suspending, due", "suspending a moment ago, due")),
    *_together("restore", "resume", before=("suspended, deleted", "suspending, deleted")),
    *_together("restore", "restore", before=("suspending, deleted",)),
    *_together(
        "restore",
        "sweep",
        before=("suspended, deleted, purge due", "unrevoked, created elsewhere, purge due"),
    ),
    *_together("restore", "delete", before=("suspending",)),
    *_together("delete", "restore", before=("suspended",)),
    *_together("resume", "restore", before=("suspended",)),
    *_together("purge", "restore", before=("suspended, deleted",)),
    *_together("sweep", "sweep", before=("suspending, unknown to ACS, due",)),
    *_together("delete by user", "suspend", before=("active",)),
    *_together("delete by user", "delete", before=("active",)),
    *_together("delete by user", "restore by user", before=("suspended", "unrevoked by user")),
    *_together("delete by user", CREATE, before=("active",)),
    *_together("delete", "restore by user", before=("deleted by user", "unrevoked by user")),
    *_together("restore by user", "purge", before=("deleted by user",)),
    *_together("purge", "delete", before=("unrevoked", "unrevoked, created elsewhere")),
    *_together("purge", "restore", before=("unrevoked, created elsewhere",)),
    *_together("delete", "purge", before=("active",)),
]
# ACS denies that it has a young identity, or says that it belongs to another resource.
UNTRUE = [
    *_together("delete", "issue", before=("active a moment ago", "active, wrong resource")),
    *_together("suspend", "issue", before=("active a moment ago", "registered, wrong resource")),
    *_together("delete", "sweep", before=("active a moment ago, unrevoked, due",)),
    *_together("suspend", "sweep", before=("suspending a moment ago, due",)),
    *_together("restore", "sweep", before=("suspending a moment ago, deleted",)),
    *_together("restore", "resume", before=("suspending a moment ago, deleted",)),
    *_together("delete", "restore", before=("restored a moment ago",)),
    *_together("suspend", "resume", before=("created elsewhere a moment ago",)),
    *_together("suspend", "delete", before=("created elsewhere a moment ago",)),
    *_together("suspend", "delete", before=("suspending, created elsewhere a moment ago",)),
    *_together("purge", "sweep", before=("unrevoked, created elsewhere a moment ago",)),
    *_together("purge", "delete", before=("unrevoked, created elsewhere a moment ago",)),
    *_together("purge", "restore", before=("deleted, wrong resource",)),
    *_together("delete", "restore", before=("created elsewhere, wrong resource",)),
    *_together(REGISTER, "delete", before=("created elsewhere, wrong resource",)),
    *_together("suspend", "sweep", before=("of another resource",)),
    *_together("register", "delete", before=("of another resource",)),
    *_together("delete", "sweep", before=("suspending, of another resource, due",)),
    *_together("delete", "sweep", before=("unrevoked, of another resource, due",)),
]

ACCESS = [
    *_together(
        "assign",
        "remove",
        before=("no access", "assigned", "assigned elsewhere", "removing", "removed"),
    ),
    *_together("assign other", "remove", before=("assigned a moment ago", "assigning")),
    *_together("assign", "assign other", before=("no access", "assigned", "removed")),
    *_together("assign", "assign for a day", before=("assigned, expiring",)),
    *_together("assign refused", "assign", before=("no access", "assigned elsewhere", "assigned")),
    *_together("assign refused", "remove", before=("no access", "assigned elsewhere", "removed")),
    *_together("assign refused", before=("removed, assigned by a late call",)),
    *_together("remove", "remove", before=("no access", "assigned", "removed")),
    *_together("remove", "import", before=("no access", "assigned elsewhere", "assigned")),
    *_together("remove", "import", before=("removing", "removed")),
    *_together("assign", "import", before=("assigned elsewhere", "removing")),
    *_together("import", "import", before=("assigned elsewhere",)),
    *_together(
        "assign",
        "sweep",
        before=("assigning, due", "assigned, expired", "removing, due", "removed, due"),
    ),
    *_together(
        "remove",
        "sweep",
        before=(
            "assigning, due",
            "assigning refused, due",
            "assigned a moment ago, due",
            "assigned, expired",
            "removing, due",
            "removed, due",
        ),
    ),
    *_together("import", "sweep", before=("removing, due", "removed, due", "assigned, expired")),
    *_together(
        "sweep",
        "sweep",
        before=(
            "assigning, due",
            "assigning refused, due",
            "assigned, other assigning, due",
            "assigned, expired",
            "removing, due",
        ),
    ),
]
MORE_ACCESS = [
    *_together("assign", "remove", "sweep", before=("removed, due",)),
    *_together("remove", "import", "sweep", before=("assigned elsewhere", "removed, due")),
    *_together("remove", "sweep", "sweep", before=("assigning, due",)),
]
# These have too many schedules with a fault.
MANY_ACCESS = [
    *_together("assign", "remove", "remove", before=("no access",)),
    *_together("assign", "assign other", "remove", before=("no access",)),
    *_together("assign", "remove", "assign refused", before=("no access",)),
    *_together("assign", "remove", "sweep", before=("assigned, other assigning, due",)),
]

TWO = PAIRS + REGISTRATIONS + MARKS + UNTRUE
ALL = TWO + MORE + MANY + ACCESS + MORE_ACCESS + MANY_ACCESS

_TITLES = (
    *(
        "create",
        "create with token",
        CREATE,
        CREATE_TOKEN,
        "issue",
        "delete",
        "restore",
        "purge",
        "sweep",
    ),
    *("register", REGISTER, REGISTER_OTHER, "unregister", "held sweep", MOVE),
    *("suspend", "resume", "delete by user", "restore by user"),
)
_ACCESS_TITLES = (
    *("assign", "assign other", "assign refused", "assign for a day", "remove", "import", "sweep"),
)


def random_scenario(chance: random.Random) -> Scenario:
    """A random scenario: mostly a listed one, otherwise any operations after anything.

    It is about identities or about access: the sweep of a scenario does only the one or the other.
    """
    if chance.random() < LISTED:
        return chance.choice(ALL)
    before = chance.choice(list(BEFORE))
    titles = _ACCESS_TITLES if before in ACCESS_BEFORE else _TITLES
    return Scenario(tuple(chance.choices(titles, k=chance.choice((2, 3, 3, 4, 5)))), before)
