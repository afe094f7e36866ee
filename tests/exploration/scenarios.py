"""Who meets whom, and what was there before."""

import random
from typing import NamedTuple

from identity_service.rows import UserRow
from tests.exploration.cast import USER, Cast
from tests.exploration.decisions import PASSES
from tests.exploration.stage import EMPTY, World

LISTED = 0.6

# What was there before, as what was done one after the other. `until` names the call before which
# the operation died.
ACTIVE = ("create for user", "issue")
UNREVOKED = (*ACTIVE, "delete until revoke_tokens")
DELETED = (*ACTIVE, "delete")
BEFORE: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "a half-made one": ("create for user until update",),
    "an overdue half-made one": ("create for user until update", "lease"),
    "an overdue unclaimed one": ("create for user until insert_user", "lease"),
    "a dangling claim": ("dangling",),
    "an active one": ACTIVE,
    "one made elsewhere": ("elsewhere",),
    "an unrevoked one": UNREVOKED,
    "an unrevoked one, its lease over": (*UNREVOKED, "lease"),
    "an unrevoked one, due": (*UNREVOKED, "retention"),
    "a deleted one": DELETED,
    "a deleted one, due": (*DELETED, "retention"),
    "one being purged": (*DELETED, "purge until delete"),
    "one being purged, its lease over": (*DELETED, "purge until delete", "lease"),
    "a phantom": ("delete until revoke_tokens",),
    "a phantom, its lease over": ("delete until revoke_tokens", "lease"),
}


class Scenario(NamedTuple):
    """Operations that meet.

    Attributes:
        operations: What happens at once.
        before: What was there; a key of `BEFORE`.
    """

    operations: tuple[str, ...]
    before: str = "nothing"

    def __str__(self) -> str:
        return f"{' | '.join(self.operations)} -- {self.before}"

    @classmethod
    def parse(cls, text: str) -> "Scenario":
        """The scenario of that name, be it listed below or not."""
        operations, _, before = text.partition(" -- ")
        return cls(tuple(operations.split(" | ")), before or "nothing")

    def prepare(self, cast: Cast) -> World:
        """The world in which it begins."""
        world = EMPTY
        for number, step in enumerate(BEFORE[self.before]):
            world = _done(cast, world, step, f"given{number}.")
            known = {row.id for row in world.rows} | world.identities
            cast.identity_id = min(known, default=cast.identity_id)
        return world


def _done(cast: Cast, world: World, step: str, name: str) -> World:
    if step in PASSES:
        return world._replace(now=world.now + PASSES[step])
    if step == "dangling":
        claim = UserRow(user_id=USER, identity_id="identity-gone", etag="given")
        return world._replace(users=frozenset({claim}))
    if step == "elsewhere":
        made = "identity-elsewhere"
        tokens = frozenset({("token-elsewhere", made)})
        return world._replace(identities=frozenset({made}), tokens=tokens)
    title, _, until = step.partition(" until ")
    return cast.play(cast.actor(name, 7, title), world, until)[0]


def _together(*operations: str, before: tuple[str, ...] = ("nothing",)) -> list[Scenario]:
    return [Scenario(operations, one) for one in before]


CREATE, CREATE_TOKEN = "create for user", "create with token for user"

PAIRS = [
    *_together(
        CREATE,
        CREATE,
        before=("nothing", "a half-made one", "an overdue half-made one", "a dangling claim"),
    ),
    *_together(CREATE_TOKEN, CREATE_TOKEN, before=("nothing", "a half-made one")),
    *_together(CREATE, CREATE_TOKEN, before=("nothing",)),
    *_together("create", "sweep"),
    *_together(CREATE, "sweep", before=("nothing", "an overdue half-made one")),
    *_together(
        "issue", "delete", before=("an active one", "one made elsewhere", "an unrevoked one")
    ),
    *_together(
        "delete", "delete", before=("an active one", "one made elsewhere", "an unrevoked one")
    ),
    *_together("delete", "sweep", before=("an active one", "an unrevoked one, its lease over")),
    *_together(
        "restore", "purge", before=("a deleted one", "an unrevoked one", "one being purged")
    ),
    *_together("restore", "restore", before=("an unrevoked one",)),
    *_together(
        "restore",
        "sweep",
        before=("a deleted one, due", "an unrevoked one, its lease over", "an unrevoked one, due"),
    ),
    *_together("purge", CREATE, before=("a deleted one", "one being purged")),
    *_together("purge", "purge", before=("a deleted one",)),
    *_together(
        "sweep",
        "sweep",
        before=(
            "a deleted one, due",
            "an unrevoked one, its lease over",
            "an overdue half-made one",
            "an overdue unclaimed one",
            "one being purged, its lease over",
            "a phantom, its lease over",
        ),
    ),
    *_together("delete", "delete"),
    *_together("delete", "restore"),
    *_together("delete", "issue"),
    *_together("delete", "restore", before=("a phantom",)),
]

MORE = [
    *_together("issue", "delete", "restore", before=("an active one", "an unrevoked one")),
    *_together("delete", "delete", "restore", before=("an active one", "an unrevoked one")),
    *_together(
        "delete", "restore", "sweep", before=("nothing", "an unrevoked one, its lease over")
    ),
    *_together("restore", "purge", "sweep", before=("a deleted one, due",)),
    *_together("purge", "sweep", CREATE, before=("a deleted one, due",)),
    *_together("sweep", "sweep", CREATE, before=("an overdue half-made one",)),
    *_together(CREATE, CREATE, "sweep"),
    *_together(CREATE, CREATE_TOKEN, "delete", before=("an active one", "a half-made one")),
    *_together(
        "delete", "restore", "issue", "delete", before=("an active one", "an unrevoked one")
    ),
]

_TITLES = ("create", CREATE, CREATE_TOKEN, "issue", "delete", "restore", "purge", "sweep")


def drawn(chance: random.Random) -> Scenario:
    """Any scenario: mostly a listed one, else anybody meeting anybody over anything."""
    if chance.random() < LISTED:
        return chance.choice(PAIRS + MORE)
    operations = tuple(chance.choices(_TITLES, k=chance.choice((2, 3, 3, 4, 5))))
    return Scenario(operations, chance.choice(list(BEFORE)))
