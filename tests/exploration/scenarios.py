"""The scenarios: which operations run at the same time, and what existed before them."""

import random
from typing import NamedTuple

from identity_service.identity import LEASE, UserRow
from tests.exploration.world import EMPTY, USER, ExploredWorld, Snapshot
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
}


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
    if step == "dangling user row":
        row = UserRow(user_id=USER, identity_id="identity-gone", etag="given")
        return snapshot._replace(users=frozenset({row}))
    if step == "created elsewhere":
        identity_id = "identity-elsewhere"
        tokens = frozenset({("token-elsewhere", identity_id)})
        return snapshot._replace(identities=frozenset({identity_id}), tokens=tokens)
    title, _, until = step.partition(" until ")
    return world.run(world.operation(name, 7, title), snapshot, until)[0]


def _together(*operations: str, before: tuple[str, ...] = ("nothing",)) -> list[Scenario]:
    return [Scenario(operations, one) for one in before]


CREATE, CREATE_TOKEN = "create for user", "create with token for user"

PAIRS = [
    *_together(
        CREATE,
        CREATE,
        before=("nothing", "unfinished creation", "unfinished creation, due", "dangling user row"),
    ),
    *_together(CREATE_TOKEN, CREATE_TOKEN, before=("nothing", "unfinished creation")),
    *_together(CREATE, CREATE_TOKEN),
    *_together("create", "sweep"),
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
    *_together("delete", "restore", "issue", "delete", before=("active", "unrevoked")),
]

_TITLES = ("create", CREATE, CREATE_TOKEN, "issue", "delete", "restore", "purge", "sweep")


def random_scenario(chance: random.Random) -> Scenario:
    """A random scenario: mostly a listed one, otherwise any operations after anything."""
    if chance.random() < LISTED:
        return chance.choice(PAIRS + MORE)
    operations = tuple(chance.choices(_TITLES, k=chance.choice((2, 3, 3, 4, 5))))
    return Scenario(operations, chance.choice(list(BEFORE)))
