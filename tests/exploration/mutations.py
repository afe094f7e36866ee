"""The rules of the identity protocol, and a mutation that breaks each of them.

A mutation changes the source of `lifecycle.py`, or how the registry writes.
"""

from datetime import datetime
from inspect import getsource
from types import ModuleType
from typing import NamedTuple

from identity_service import lifecycle
from identity_service.identity import DueEntry, Identity, UserRow
from identity_service.lifecycle import Lifecycle
from identity_service.ports import Conflict
from tests.exploration.scenarios import CREATE, Scenario
from tests.exploration.scheduler import Budget
from tests.exploration.world import GatedRegistry, Product


class Change(NamedTuple):
    """A piece of source text, and its replacement."""

    old: str
    new: str


class Mutation(NamedTuple):
    """Breaks a rule.

    Attributes:
        scenario: The scenario that finds it.
        faults: The number of faults that this takes.
        fact: Part of what is reported.
        changes: The changes of `lifecycle.py`.
        registry: The registry that is used.
    """

    scenario: Scenario
    faults: int
    fact: str
    changes: tuple[Change, ...] = ()
    registry: type[GatedRegistry] = GatedRegistry

    @property
    def budget(self) -> Budget:
        """What may happen in the scenario."""
        return Budget(self.faults)

    def product(self) -> Product:
        """The product with the mutation."""
        return Product(mutated_lifecycle(*self.changes), self.registry)


def mutated_lifecycle(*changes: Change) -> type[Lifecycle]:
    """The class `Lifecycle`, compiled from changed source.

    Raises:
        AssertionError: the source does not contain a piece exactly once, so the mutation must be
            adapted.
    """
    source = getsource(lifecycle)
    for old, new in changes:
        assert source.count(old) == 1, f"lifecycle.py does not contain this exactly once: {old}"
        source = source.replace(old, new)
    module = ModuleType(lifecycle.__name__)
    exec(compile(source, "<mutated lifecycle.py>", "exec"), module.__dict__)  # noqa: S102 -- it is our own source
    mutated: type[Lifecycle] = module.Lifecycle
    return mutated


_ISSUE = "        token = await self._acs.issue_token(identity_id, grant)  # 1\n"
_READ = "        identity = await self._registry.read(identity_id)  # 2\n"
READ_BEFORE_ISSUE = (Change(_ISSUE + _READ, _READ + _ISSUE),)
IGNORE_FAILED_READ = (
    Change(
        _READ,
        f"        try:\n    {_READ}        except Exception:\n            identity = None\n",
    ),
)

RETURN_UNREVOKED = (Change("is State.DELETED and identity.revoked:", "is State.DELETED:"),)
_RECORD = "                return await self._registry.update(marked, marked.record_revocation())"
RECORD_AGAIN_WITHOUT_REVOKING = (
    Change(
        _RECORD,
        "                try:\n"
        f"    {_RECORD}\n"
        "                except Exception:\n"
        "                    current = await self._registry.read(identity_id)\n"
        "                    if current is None or current.state is not State.DELETED:\n"
        "                        return marked\n"
        "                    marked = current\n"
        f"    {_RECORD}",
    ),
)

INSERT_AS_ACTIVE = (
    Change(
        "Identity.create(identity_id, user_id, self._clock.now())",
        "Identity.create(identity_id, user_id, self._clock.now()).finish_creation()",
    ),
    Change(
        "update(identity, identity.finish_creation())\n        except Conflict as error:",
        "update(identity, identity)\n        except Conflict as error:",
    ),
)
_INSERT = "        identity = await self._record(identity_id, user_id)  # 2\n"
_ASSIGN = """\
        if user_id is not None and not await self._assign(user_id, user_row, identity_id):  # 2½
            return await self._use_existing(identity, user_id)
"""
USER_ROW_FIRST = (
    Change(
        _INSERT + _ASSIGN,
        _ASSIGN.replace("(identity, ", "(await self._record(identity_id, user_id), ") + _INSERT,
    ),
)
KEEP_UNRECORDED = (Change("            await self._delete_unrecorded(identity_id)\n", ""),)
DANGLING_USER_ROW_IS_BUSY = (
    Change(
        "            if identity is None:\n                return False\n",
        "            if identity is None:\n                break\n",
    ),
)

START_PURGE_WITHOUT_WRITE = (
    Change(
        "return await self._registry.update(identity, identity.start_purge(self._clock.now()))",
        "return identity",
    ),
)
_RELEASE = "        await self._release_user(identity)  # 4\n"
_REMOVE = "        await self._registry.remove(identity)  # 5\n"
REMOVE_IDENTITY_ROW_FIRST = (Change(_RELEASE + _REMOVE, _REMOVE + _RELEASE),)
REMOVE_ANY_USER_ROW = (
    Change(
        "return user_row if user_row and user_row.identity_id == identity.id else None",
        "return user_row",
    ),
)
KEEP_ADOPTED_ROW = (
    Change(
        "            if identity.adopted:\n                await self._registry.remove",
        "            if False:\n                await self._registry.remove",
    ),
)
RESTORE_UNREVOKED = (Change("if not identity.revoked:", "if False:"),)

COUNT_FAILED_REMOVAL = (
    Change(
        _RELEASE + _REMOVE,
        f"{_RELEASE}        try:\n    {_REMOVE}        except Exception:\n            pass\n",
    ),
)
PURGE_OF_ACTIVE_RETURNS = (
    Change(
        'raise IdentityNotDeleted("Delete it first: DELETE identities/{id}.")',
        "return",
    ),
)


class TwoWrites(GatedRegistry):
    """Writes the row first and then its new due entry."""

    async def update(self, old: Identity, new: Identity) -> Identity:
        """See `ports.Registry`."""
        due: datetime | None = new.due
        if old.due or due is None:
            return await super().update(old, new)

        def write() -> Identity:
            if old.id not in self.rows or self.rows[old.id].etag != old.etag:
                raise Conflict("refused")
            self.rows[old.id] = new.with_etag(self._version())
            return self.rows[old.id]

        updated = await self.perform("update", write)
        await self.perform(
            "insert_due", lambda: self.entries.add(DueEntry(due, new.id, new.due_kind))
        )
        return updated


class NoUserEtag(GatedRegistry):
    """Removes a user row regardless of its ETag."""

    async def remove_user(self, row: UserRow) -> None:
        """See `ports.Registry`."""
        await self.perform("remove_user", lambda: self.users.pop(row.user_id, None))


class NoEtag(GatedRegistry):
    """Updates an identity row regardless of its ETag."""

    async def update(self, old: Identity, new: Identity) -> Identity:
        """See `ports.Registry`."""
        return await self.perform("update", lambda: self._put(self.rows.get(old.id), new))


TOKEN_RETURNED, STILL_VALID = "was returned, and", "is still valid"
NOT_IN_ACS, NO_ROW = "ACS has no such", "in ACS and has no row"
USER_ROW_MISSING = "does not name it"

ISSUING = Scenario(("issue", "delete"), "active")
DELETING = Scenario(("delete", "delete"), "unrevoked")
DELETING_AGAIN = Scenario(("delete", "restore", "issue", "delete"), "unrevoked")
CREATING = Scenario(("create", "sweep"))
CREATING_FOR_USER = Scenario((CREATE, "sweep"))
REPLACING_USER_ROW = Scenario((CREATE, CREATE), "dangling user row")
RESTORING = Scenario(("restore", "purge"), "deleted")
RESTORING_LATE = Scenario(("restore", "sweep"), "deleted, purge due")
UNKNOWN_TO_ACS = Scenario(("delete", "restore"))
PURGING = Scenario(("purge", "purge"), "deleted")
SWEEPING = Scenario(("sweep", "sweep"), "deleted, purge due")
CREATING_AFTER_PURGE = Scenario(("purge", "sweep", CREATE), "deleted, purge due")

RULES: dict[str, Mutation] = {
    "issue reads the row after the token was issued": Mutation(
        ISSUING, 0, TOKEN_RETURNED, READ_BEFORE_ISSUE
    ),
    "issue drops the token if the row cannot be read": Mutation(
        ISSUING, 1, TOKEN_RETURNED, IGNORE_FAILED_READ
    ),
    "a repeated delete revokes before it returns": Mutation(
        DELETING, 0, STILL_VALID, RETURN_UNREVOKED
    ),
    "after a conflict delete revokes again": Mutation(
        DELETING_AGAIN, 0, STILL_VALID, RECORD_AGAIN_WITHOUT_REVOKING
    ),
    "a row is inserted as creating": Mutation(CREATING, 1, NOT_IN_ACS, INSERT_AS_ACTIVE),
    "a row with a user is inserted as creating": Mutation(
        CREATING_FOR_USER, 1, USER_ROW_MISSING, INSERT_AS_ACTIVE
    ),
    "the identity row is written before the user row": Mutation(
        CREATING_FOR_USER, 1, NO_ROW, USER_ROW_FIRST
    ),
    "an identity that cannot be recorded is deleted in ACS": Mutation(
        CREATING, 1, NO_ROW, KEEP_UNRECORDED
    ),
    "the purge is recorded before the delete in ACS": Mutation(
        RESTORING, 0, NOT_IN_ACS, START_PURGE_WITHOUT_WRITE
    ),
    "the user row is removed before the identity row": Mutation(
        PURGING, 1, "which is gone", REMOVE_IDENTITY_ROW_FIRST
    ),
    "a dangling user row counts as absent": Mutation(
        REPLACING_USER_ROW, 0, "cannot get an identity", DANGLING_USER_ROW_IS_BUSY
    ),
    "a user row is removed only if it names the identity": Mutation(
        CREATING_AFTER_PURGE, 0, USER_ROW_MISSING, REMOVE_ANY_USER_ROW
    ),
    "a user row is removed only with its ETag": Mutation(
        CREATING_AFTER_PURGE, 0, USER_ROW_MISSING, registry=NoUserEtag
    ),
    "restore finishes the revocation first": Mutation(
        UNKNOWN_TO_ACS, 1, NOT_IN_ACS, RESTORE_UNREVOKED
    ),
    "an adopted row that ACS does not know is removed": Mutation(
        UNKNOWN_TO_ACS, 0, NOT_IN_ACS, KEEP_ADOPTED_ROW
    ),
    "an identity row and its due entry change together": Mutation(
        ISSUING, 1, "forgotten", registry=TwoWrites
    ),
    "an identity row is updated only with its ETag": Mutation(
        RESTORING_LATE, 0, "it is gone", registry=NoEtag
    ),
    "the sweep counts only its own purges": Mutation(
        SWEEPING, 0, "did not do", COUNT_FAILED_REMOVAL
    ),
    "purge returns only after the identity is gone": Mutation(
        RESTORING, 0, "still exists", PURGE_OF_ACTIVE_RETURNS
    ),
}
