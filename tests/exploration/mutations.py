"""The rules of the identity protocol, and a mutation that breaks each of them.

A mutation changes the source of `lifecycle.py` or `sweep.py`, or how the registry writes.
"""

import sys
from datetime import datetime
from inspect import getsource
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

from identity_service import lifecycle, sweep
from identity_service.identity import DueEntry, Identity, UserRow
from identity_service.ports import Conflict
from tests.exploration.scenarios import (
    CREATE,
    CREATE_TOKEN,
    MOVE,
    MOVE_NEW,
    REGISTER,
    REGISTER_OTHER,
    Scenario,
)
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
        sweep: The changes of `sweep.py`.
        passes: How often time must pass.
    """

    scenario: Scenario
    faults: int
    fact: str
    changes: tuple[Change, ...] = ()
    registry: type[GatedRegistry] = GatedRegistry
    sweep: tuple[Change, ...] = ()
    passes: int = 0

    @property
    def budget(self) -> Budget:
        """What may happen in the scenario."""
        return Budget(self.faults, self.passes)

    def product(self) -> Product:
        """The product with the mutation."""
        return Product(
            mutated(lifecycle, *self.changes).Lifecycle,
            self.registry,
            mutated(sweep, *self.sweep).purge_deleted_identities,
        )


def mutated(module: ModuleType, *changes: Change) -> ModuleType:
    """The module, compiled from changed source.

    Raises:
        AssertionError: the source does not contain a piece exactly once, so the mutation must be
            adapted.
    """
    if not changes:
        return module
    source = getsource(module)
    for old, new in changes:
        assert source.count(old) == 1, f"{module.__name__} does not contain this once: {old}"
        source = source.replace(old, new)
    changed = ModuleType(module.__name__)
    # Its dataclasses look their module up.
    with patch.dict(sys.modules, {module.__name__: changed}):
        exec(compile(source, f"<mutated {module.__name__}>", "exec"), changed.__dict__)  # noqa: S102 -- it is our own source
    return changed


_ISSUE = "        token = await self._issue(identity_id, grant)  # 1\n"
_READ = "        identity = await self._registry.read(identity_id)  # 2\n"
READ_BEFORE_ISSUE = (Change(_ISSUE + _READ, _READ + _ISSUE),)
IGNORE_FAILED_READ = (
    Change(
        _READ,
        f"        try:\n    {_READ}        except Exception:\n            identity = None\n",
    ),
)

RETURN_UNREVOKED = (Change("is mark.state and identity.revoked:", "is mark.state:"),)
_RECORD = "                return await self._record_revocation(marked)"
RECORD_AGAIN_WITHOUT_REVOKING = (
    Change(
        _RECORD,
        "                try:\n"
        f"    {_RECORD}\n"
        "                except Exception:\n"
        "                    current = await self._registry.read(identity_id)\n"
        "                    if current is None or current.state is not mark.state:\n"
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
        "identity, identity.finish_creation(), if_awaited=",
        "identity, identity, if_awaited=",
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
KEEP_UNRECORDED = (
    Change(
        "            await self._delete_unrecorded(identity_id)\n            raise Reg",
        "            raise Reg",
    ),
)
DANGLING_USER_ROW_IS_BUSY = (
    Change(
        "            if identity is None:\n                return False\n",
        "            if identity is None:\n                break\n",
    ),
)
ACTIVATE_UNAWAITED = (Change("if_awaited=identity.user_id is None", "if_awaited=False"),)

START_PURGE_WITHOUT_WRITE = (
    Change(
        "started = await self._registry.update(identity, identity.start_purge(self._clock.now()))",
        "started = identity",
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
_FORGET_ADOPTED = "            if identity.adopted:\n                await self._registry.remove"
KEEP_ADOPTED_ROW = (
    Change(
        _FORGET_ADOPTED,
        "            if identity.adopted:\n"
        "                return\n"
        "                await self._registry.remove",
    ),
)
_REVOKE_FIRST = """\
                if not identity.revoked:
                    await self.revoke(identity)  # 2
"""
_RESTORED, _RESUMED = "                restored = ", "                resumed = "
RESTORE_UNREVOKED = (Change(_REVOKE_FIRST + _RESTORED, _RESTORED),)
RESUME_UNREVOKED = (Change(_REVOKE_FIRST + _RESUMED, _RESUMED),)

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


_INSERT_REGISTERING = (
    "                    identity = await self._registry.insert(registering)  # 2\n"
)
_VERIFY = "                await self._verify(identity)  # 3\n"
_CLAIM = "                await self._claim_user(identity)  # 4\n"
REGISTER_USER_ROW_FIRST = (
    Change(
        _INSERT_REGISTERING + _VERIFY + _CLAIM,
        "                    await self._verify(registering)\n"
        "                    await self._claim_user(registering)\n"
        f"{_INSERT_REGISTERING}"
        "                else:\n"
        f"    {_VERIFY}    {_CLAIM}",
    ),
)
REGISTER_AS_ACTIVE = (
    Change(
        "Identity.register(identity_id, user_id, self._clock.now())",
        "Identity.register(identity_id, user_id, self._clock.now()).finish_registration()",
    ),
    Change("identity, identity.finish_registration()\n", "identity, identity\n"),
)
SKIP_VERIFICATION = (Change(_VERIFY, ""),)
VERIFY_BEFORE_INSERT = (
    Change(
        _INSERT_REGISTERING + _VERIFY,
        "                    await self._verify(registering)\n"
        f"{_INSERT_REGISTERING}"
        "                else:\n"
        f"    {_VERIFY}",
    ),
)
_IS_OWN = "            is_own = user_row.identity_id == identity.id\n"
KEEP_OWN_USER_ROW = (Change(_IS_OWN, f"{_IS_OWN}            if is_own:\n                return\n"),)
NOT_KNOWN_ON = (
    Change(
        "registering = Identity.register(identity_id, user_id, self._clock.now())",
        "registering = Identity.register(identity_id, user_id, self._clock.now())\n"
        "                    registering = registering._replace(known_on=None)",
    ),
)
_NOT_KNOWN = "        except IdentityNotFound:\n            _require_old(identity, asked_on)\n"
_NOT_OWNED = "            if isinstance(refusal, WrongResource):\n                raise\n"
_NOT_KNOWN_OR_OWNED = f"{_NOT_OWNED}            _require_old(identity, asked_on)\n"
YOUNG_IS_GONE = (
    Change(
        _NOT_KNOWN + _RELEASE, f"        except IdentityNotFound:\n            pass\n{_RELEASE}"
    ),
)
PURGE_READS_THE_CLOCK_LATE = (
    Change(_NOT_KNOWN + _RELEASE, _NOT_KNOWN.replace("asked_on", "self._clock.now()") + _RELEASE),
)
REVOKE_READS_THE_CLOCK_LATE = (
    Change(_NOT_KNOWN_OR_OWNED, _NOT_KNOWN_OR_OWNED.replace("asked_on", "self._clock.now()")),
)

_READ_USER = "        user_row = await self._user_row_of(identity)  # 1\n"
_POSTPONE = "            identity = await self._registry.update(identity, postponed)  # 2\n"
_REMOVE_USER = "            await self._registry.remove_user(user_row)\n"
_REMOVE_REGISTERING = "        await self._registry.remove(identity)  # 3\n"
ROLL_BACK_WITHOUT_POSTPONING = (Change(_POSTPONE, ""),)
ROLL_BACK_POSTPONES_BEFORE_READING = (
    Change(
        _READ_USER,
        "        postponed = identity.start_rollback(self._clock.now())\n"
        "        identity = await self._registry.update(identity, postponed)\n"
        f"{_READ_USER}",
    ),
    Change(_POSTPONE, ""),
)
ROLL_BACK_KEEPS_USER_ROW = (Change(_REMOVE_USER + _REMOVE_REGISTERING, _REMOVE_REGISTERING),)
ROLL_BACK_LOSER_IN_ACS = (
    Change(
        "            await self.roll_back(identity)\n",
        "            await self.finish_purge(identity)\n",
    ),
)
SWEEP_PURGES_REGISTERING = (
    Change(
        "await self._lifecycle.roll_back(identity)",
        "await self._lifecycle.finish_purge(identity)",
    ),
)

_HELP = """\
                case State.CREATING:
                    await self._finish_creation(identity)
"""
HELP_REGISTERING = (
    Change(
        _HELP,
        f"{_HELP}"
        "                case State.REGISTERING:\n"
        "                    with suppress(Conflict):\n"
        "                        await self._registry.update(\n"
        "                            identity, identity.finish_registration()\n"
        "                        )\n",
    ),
)
_MARK_ANY_STATE = Change(
    "update(identity, mark.write(identity, now))",
    "update(identity, mark.write(identity._replace(state=State.ACTIVE), now))",
)
DELETE_REGISTERING = (
    Change(
        """\
    _require_finished(identity)


def _require_finished""",
        """\


def _require_finished""",
    ),
    _MARK_ANY_STATE,
)
SUSPEND_REGISTERING = (
    Change(
        """\
        raise _deleted(identity)
    _require_finished(identity)
""",
        """\
        raise _deleted(identity)
""",
    ),
    _MARK_ANY_STATE,
)
PURGE_REGISTERING = (
    Change(
        "if identity.state not in (State.DELETED, State.PURGING):",
        "if identity.state is State.ACTIVE:",
    ),
)
_COUNTED = "return identity if identity.belongs_to(user_row.user_id) else None"
ANY_USER_ROW_COUNTS = (Change(_COUNTED, "return identity"),)
SUSPENDED_IS_ABSENT = (
    Change(
        _COUNTED,
        "return identity if identity.belongs_to(user_row.user_id)"
        " and identity.state is not State.SUSPENDED else None",
    ),
)
PURGING_COUNTS = (
    Change("identity.belongs_to(user_row.user_id)", "identity.user_id == user_row.user_id"),
)
TOKEN_OF_ANY_USER = (
    Change(
        "if identity and identity.user_id == user_id and identity.state is not State.PURGING:",
        "if identity:",
    ),
)
RELEASE_USER_IN_CREATION = (
    Change(
        "            raise _busy() from error\n",
        "            with suppress(Conflict):\n"
        "                await self._release_user(identity)\n"
        "            raise _busy() from error\n",
    ),
)

MARK_AGAIN_WITHOUT_WRITE = (
    Change(
        """\
                if identity and identity.state is mark.state and marked is None:
                    identity = await self._repeat(identity, mark.repeat(identity))
""",
        "",
    ),
)
_WRITE_AGAIN = "                    return await self._registry.update(identity, identity)\n"
_IS_RESTORED = "                if identity.state in (State.ACTIVE, State.SUSPENDED):\n"
_IS_RESUMED = "                if identity.state is State.ACTIVE:\n"
_RETURN_ACTIVE = f"{_IS_RESUMED}                    return identity\n"
RESTORE_AGAIN_WITHOUT_WRITE = (
    Change(_IS_RESTORED + _WRITE_AGAIN, _RETURN_ACTIVE + _IS_RESTORED + _WRITE_AGAIN),
)
RESTORE_OF_SUSPENDED_WITHOUT_WRITE = (
    Change(
        _IS_RESTORED + _WRITE_AGAIN,
        _RETURN_ACTIVE.replace("ACTIVE", "SUSPENDED") + _IS_RESTORED + _WRITE_AGAIN,
    ),
)
RESUME_AGAIN_WITHOUT_WRITE = (Change(_IS_RESUMED + _WRITE_AGAIN, _RETURN_ACTIVE),)
REGISTER_AGAIN_WITHOUT_WRITE = (
    Change(
        "return await self._registry.update(identity, identity), False", "return identity, False"
    ),
)
_NOT_OURS = "if marked and marked.adopted and not _is_confirmed(identity, marked):"
GONE_IS_OURS = (Change(_NOT_OURS, _NOT_OURS.replace("not ", "identity and not ")),)
KNOWN_LATER_IS_OURS = (Change("identity.known_on == adopted.known_on and ", ""),)
STILL_ADOPTED_IS_OURS = (Change(" and not identity.adopted\n", "\n"),)

_MARK = """\
                marked_now = await self._write_mark(identity_id, identity, mark, registered_only)
"""
REVOKE_BEFORE_MARK = (
    Change(
        f"{_MARK}                await self.revoke(marked_now)  # 3\n",
        f"                await self._acs.revoke_tokens(identity_id)\n{_MARK}",
    ),
)
SUSPEND_WITHOUT_DUE_ENTRY = (
    Change(
        "write=Identity.suspend,",
        "write=lambda identity, now: identity.suspend(now)._replace(due=None),",
    ),
)
_REQUIRE = "                mark.require(identity)\n"
SUSPEND_OF_DELETED_RETURNS = (
    Change(
        _REQUIRE,
        "                if mark.state is State.SUSPENDED and identity:\n"
        "                    if identity.state is State.DELETED:\n"
        "                        return identity\n"
        f"{_REQUIRE}",
    ),
)
RESTORE_OF_UNREVOKED_SUSPENSION_RETURNS = (
    Change("if identity.state is State.SUSPENDED and not identity.revoked:", "if False:"),
)
RESTORE_LIFTS_SUSPENSION = (
    Change("identity.restore())", "identity._replace(suspended_on=None).restore())"),
)
_TAKE_OVER = "repeat=lambda identity: identity.take_over_deletion(by),"
NOT_TAKEN_OVER = (Change(_TAKE_OVER, "repeat=lambda identity: identity,"),)
TAKEN_OVER_LATE = (
    Change("self._repeat(identity, mark.repeat(identity))", "self._repeat(identity, identity)"),
    Change("self._record_revocation(marked)", "self._record_revocation(mark.repeat(marked))"),
)
_BY_SERVICE = "own.deleter is Actor.SERVICE"
RESTORE_BY_ANYBODY = (Change(_BY_SERVICE, "False"),)
RESTORE_UNREVOKED_BY_ANYBODY = (Change(_BY_SERVICE, f"{_BY_SERVICE} and own.revoked"),)
DELETE_OF_ANY_USER = (
    Change("_require_deletable(_require_own(identity, user_id))", "_require_deletable(identity)"),
)

_IGNORE_YOUNG = "with suppress(IdentityNotKnownYet):"
MARK_IGNORES_YOUNG = (
    Change(
        "                await self.revoke(marked_now)  # 3\n",
        f"                {_IGNORE_YOUNG}\n"
        "                    await self.revoke(marked_now)  # 3\n",
    ),
)
SWEEP_IGNORES_YOUNG = (
    Change(
        "        await self.revoke(identity)\n        await self._record_revocation(identity)\n",
        f"        {_IGNORE_YOUNG}\n"
        "            await self.revoke(identity)\n"
        "        await self._record_revocation(identity)\n",
    ),
)
RESTORE_IGNORES_YOUNG = (
    Change(
        _REVOKE_FIRST + _RESTORED,
        f"""\
                if not identity.revoked:
                    {_IGNORE_YOUNG}
                        await self.revoke(identity)  # 2
{_RESTORED}""",
    ),
)
ADOPTED_WITHOUT_DATE = (
    Change(
        "mark.write(Identity.adopt(identity_id, now), now)",
        "mark.write(Identity.adopt(identity_id, now)._replace(known_on=None), now)",
    ),
)
_RECORDED = "identity.record_revocation()"
ADOPTED_IS_KEPT = (Change(_RECORDED, f"{_RECORDED}._replace(adopted=identity.adopted)"),)
SUSPENSION_STAYS_ADOPTED = (
    Change(
        _RECORDED,
        f"{_RECORDED}._replace(adopted=identity.adopted and identity.state is State.SUSPENDED)",
    ),
)
REVOKED_IF_NOT_OWNED = (Change(_NOT_OWNED, _NOT_OWNED.replace("raise", "return")),)
PURGED_IF_NOT_OWNED = (
    Change(
        _NOT_KNOWN + _RELEASE,
        f"{_NOT_KNOWN}        except WrongResource:\n            pass\n{_RELEASE}",
    ),
)
NOT_FOUND_IF_NOT_OWNED = (
    Change(
        "            _require_active(identity)\n            raise\n",
        "            raise IdentityNotFound(refusal.detail) from refusal\n",
    ),
)
KEEP_ADOPTED_ROW_IF_NOT_OWNED = (
    Change(
        _FORGET_ADOPTED,
        _FORGET_ADOPTED.replace("adopted:", "adopted and isinstance(refusal, IdentityNotFound):"),
    ),
)
KEEP_ADOPTED_SUSPENSION_IF_NOT_OWNED = (
    Change(
        _FORGET_ADOPTED,
        _FORGET_ADOPTED.replace(
            "adopted:",
            "adopted and (identity.state is State.DELETED"
            " or isinstance(refusal, IdentityNotFound)):",
        ),
    ),
)
PURGE_ADOPTED_UNASKED = (
    Change(
        """\
                    if identity.adopted:  # ACS was never asked whether it exists
                        await self.revoke(identity)
""",
        "",
    ),
)

_READ_USER_FIRST = "                user_row = await self._user_row_of(identity)  # 2\n"
_FORGET = "                await self._registry.remove(identity)  # 3\n"
_REMOVE_USER_LAST = """\
                if user_row:
                    with suppress(Conflict):  # another identity has taken it over
                        await self._registry.remove_user(user_row)  # 4
"""
UNREGISTER_READS_LATE = (Change(_READ_USER_FIRST + _FORGET, _FORGET + _READ_USER_FIRST),)
UNREGISTER_REMOVES_USER_FIRST = (
    Change(_REMOVE_USER_LAST, ""),
    Change(_FORGET, _REMOVE_USER_LAST + _FORGET),
)
UNREGISTER_KEEPS_USER_ROW = (Change(_REMOVE_USER_LAST, ""),)
_REGISTERED_STATES = """\
    _require_unmarked(identity)
    if identity.state not in (State.ACTIVE, State.REGISTERING):
        raise _busy()
    return identity
"""
UNREGISTER_DELETED = (Change(_REGISTERED_STATES, "    return identity\n"),)

_IS_DUE = "return is_time and not identity.adopted and not self._cleanup.purge_hold"
PURGE_BEFORE_TIME = (Change(_IS_DUE, "return not identity.adopted"),)
PURGE_ON_HOLD = (Change(_IS_DUE, "return is_time and not identity.adopted"),)
SWEEP_PURGES_ADOPTED_UNASKED = (Change(_IS_DUE, "return is_time and not self._cleanup.purge_hold"),)
SWEEP_PURGES_SUSPENDED = (Change("case State.PURGING:", "case State.PURGING | State.SUSPENDED:"),)


class TwoWrites(GatedRegistry):
    """Writes the row first and then its new due entry."""

    async def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """See `ports.Registry`."""
        due: datetime | None = new.due
        if old.due or due is None:
            return await super().update(old, new, if_awaited=if_awaited)

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

    async def update(self, old: Identity, new: Identity, *, if_awaited: bool = False) -> Identity:
        """See `ports.Registry`."""
        return await self.perform("update", lambda: self._put(self.rows.get(old.id), new))


TOKEN_RETURNED, STILL_VALID = "was returned, and", "is still valid"
NOT_OURS, SOMEBODY_ELSES = "which is not ours", "which is somebody else's"
USER_ROW_OF_NOTHING, SENT_BEFORE = "which is gone", "was sent before"
NOT_IN_ACS, NO_ROW = "ACS has no such", "in ACS and has no row"
NO_CALLER_GOT_IT = "no caller got it"
STILL_EXISTS = "still exists"
USER_ROW_MISSING = "does not name it"
COUNTS_AS_REVOKED, RESTORED_BY_USER = "counts as revoked, and", "and its user restored it"

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
OVERDUE = "registering, user row written, due"
REGISTERING_LATE = Scenario((REGISTER, "sweep"), OVERDUE)
UNREGISTERING = Scenario(("unregister", REGISTER), "registered")
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
    "a row is inserted as creating": Mutation(CREATING, 1, NO_CALLER_GOT_IT, INSERT_AS_ACTIVE),
    "a row with a user is inserted as creating": Mutation(
        CREATING_FOR_USER, 1, USER_ROW_MISSING, INSERT_AS_ACTIVE
    ),
    "the identity row is written before the user row": Mutation(
        CREATING_FOR_USER, 1, USER_ROW_OF_NOTHING, USER_ROW_FIRST
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
        RESTORING, 0, STILL_EXISTS, PURGE_OF_ACTIVE_RETURNS
    ),
    "register writes the identity row before the user row": Mutation(
        Scenario((REGISTER,), "created elsewhere"), 1, USER_ROW_OF_NOTHING, REGISTER_USER_ROW_FIRST
    ),
    "a row is inserted as registering": Mutation(
        Scenario((REGISTER,)), 1, "removed the row", REGISTER_AS_ACTIVE
    ),
    "register asks ACS": Mutation(Scenario((REGISTER,)), 0, NOT_IN_ACS, SKIP_VERIFICATION),
    "register asks ACS after its first write": Mutation(
        Scenario(("register", "delete then purge"), "created elsewhere"),
        0,
        NOT_IN_ACS,
        VERIFY_BEFORE_INSERT,
    ),
    "register writes a user row that names its identity already": Mutation(
        REGISTERING_LATE, 0, USER_ROW_MISSING, KEEP_OWN_USER_ROW
    ),
    "a registered identity has the date since which it is known": Mutation(
        Scenario(("purge",), "registered a moment ago, deleted"), 1, STILL_EXISTS, NOT_KNOWN_ON
    ),
    "a young identity that ACS does not know is not purged": Mutation(
        Scenario(("purge",), "registered a moment ago, deleted"), 1, STILL_EXISTS, YOUNG_IS_GONE
    ),
    "a rollback postpones first": Mutation(
        REGISTERING_LATE, 0, USER_ROW_MISSING, ROLL_BACK_WITHOUT_POSTPONING
    ),
    "a rollback reads the user row before it postpones": Mutation(
        REGISTERING_LATE, 0, USER_ROW_MISSING, ROLL_BACK_POSTPONES_BEFORE_READING
    ),
    "a rollback removes the user row only with the ETag that it has read": Mutation(
        REGISTERING_LATE, 0, USER_ROW_MISSING, registry=NoUserEtag
    ),
    "a rollback removes the user row": Mutation(
        Scenario(("sweep",), OVERDUE), 0, USER_ROW_OF_NOTHING, ROLL_BACK_KEEPS_USER_ROW
    ),
    "a registration that loses is not deleted in ACS": Mutation(
        Scenario((REGISTER_OTHER, CREATE), "active, other elsewhere"),
        0,
        NOT_OURS,
        ROLL_BACK_LOSER_IN_ACS,
    ),
    "the sweep rolls a registration back": Mutation(
        Scenario(("sweep",), OVERDUE), 0, NOT_OURS, sweep=SWEEP_PURGES_REGISTERING
    ),
    "create does not finish a registration": Mutation(
        Scenario((REGISTER, CREATE), "user row left by unregister, purged"),
        0,
        NOT_IN_ACS,
        HELP_REGISTERING,
    ),
    "delete refuses a registration": Mutation(
        Scenario(("delete then restore",), "registering"), 0, USER_ROW_MISSING, DELETE_REGISTERING
    ),
    "purge refuses a registration": Mutation(
        Scenario(("purge",), "registering"), 0, NOT_OURS, PURGE_REGISTERING
    ),
    "a user row counts only if its identity names the user": Mutation(
        Scenario((CREATE, CREATE_TOKEN), "user row of another user's identity"),
        0,
        SOMEBODY_ELSES,
        ANY_USER_ROW_COUNTS,
    ),
    "a user row whose identity is being purged does not count": Mutation(
        Scenario((CREATE,), "purging"), 0, "cannot get an identity", PURGING_COUNTS
    ),
    "a new token is returned only if the identity still names the user": Mutation(
        Scenario((CREATE_TOKEN, MOVE), "registered"), 0, SOMEBODY_ELSES, TOKEN_OF_ANY_USER
    ),
    "an identity without a user becomes active only while its caller waits": Mutation(
        Scenario(("create",)), 1, NO_CALLER_GOT_IT, ACTIVATE_UNAWAITED
    ),
    "a creation that fails at its end leaves the user row alone": Mutation(
        Scenario((CREATE, MOVE_NEW)), 0, USER_ROW_MISSING, RELEASE_USER_IN_CREATION
    ),
    "delete of a deleted identity writes its row": Mutation(
        Scenario(("restore", "delete"), "deleted"), 1, SENT_BEFORE, MARK_AGAIN_WITHOUT_WRITE
    ),
    "restore of an active identity writes its row": Mutation(
        Scenario(("delete", "restore"), "active"), 1, SENT_BEFORE, RESTORE_AGAIN_WITHOUT_WRITE
    ),
    "restore of a suspended identity writes its row": Mutation(
        Scenario(("delete", "restore"), "suspended"),
        1,
        SENT_BEFORE,
        RESTORE_OF_SUSPENDED_WITHOUT_WRITE,
    ),
    "register of a registered identity writes its row": Mutation(
        UNREGISTERING, 1, SENT_BEFORE, REGISTER_AGAIN_WITHOUT_WRITE
    ),
    "an adopted row that is gone is not ours": Mutation(
        Scenario(("delete", "restore"), "created elsewhere a moment ago"),
        1,
        "not recorded",
        GONE_IS_OURS,
    ),
    "an adopted row that was registered anew is not ours": Mutation(
        Scenario(("delete", "restore", "register"), "created elsewhere a moment ago"),
        1,
        "not recorded",
        KNOWN_LATER_IS_OURS,
    ),
    "unregister reads the user row first": Mutation(
        UNREGISTERING, 0, USER_ROW_MISSING, UNREGISTER_READS_LATE
    ),
    "unregister removes the user row last": Mutation(
        Scenario(("unregister",), "registered"), 1, USER_ROW_MISSING, UNREGISTER_REMOVES_USER_FIRST
    ),
    "unregister removes the user row": Mutation(
        Scenario(("unregister",), "registered"), 0, USER_ROW_OF_NOTHING, UNREGISTER_KEEPS_USER_ROW
    ),
    "unregister removes the user row only with the ETag that it has read": Mutation(
        UNREGISTERING, 0, USER_ROW_MISSING, registry=NoUserEtag
    ),
    "unregister refuses a deleted identity": Mutation(
        Scenario(("unregister",), "deleted"), 0, "which is deleted", UNREGISTER_DELETED
    ),
    "unregister refuses an unfinished creation": Mutation(
        Scenario(("unregister",), "unfinished creation"), 0, NO_ROW, UNREGISTER_DELETED
    ),
    "the sweep purges nothing before its time": Mutation(
        Scenario(("sweep",), "unrevoked, due"), 0, "before its time", sweep=PURGE_BEFORE_TIME
    ),
    "the sweep purges nothing while purges are on hold": Mutation(
        Scenario(("held sweep",), "unrevoked, purge due"), 0, "on hold", sweep=PURGE_ON_HOLD
    ),
    "suspend writes its mark before it revokes": Mutation(
        Scenario(("issue", "suspend"), "active"), 0, STILL_VALID, REVOKE_BEFORE_MARK
    ),
    "suspend writes its mark with a due entry": Mutation(
        Scenario(("suspend",), "active"), 1, "forgotten", SUSPEND_WITHOUT_DUE_ENTRY
    ),
    "a repeated suspend revokes before it returns": Mutation(
        Scenario(("suspend", "suspend"), "suspending"), 0, STILL_VALID, RETURN_UNREVOKED
    ),
    "after a conflict suspend revokes again": Mutation(
        Scenario(("suspend", "resume", "issue", "suspend"), "suspending"),
        0,
        STILL_VALID,
        RECORD_AGAIN_WITHOUT_REVOKING,
    ),
    "suspend refuses a deleted identity": Mutation(
        Scenario(("suspend",), "deleted by user"), 0, "not recorded", SUSPEND_OF_DELETED_RETURNS
    ),
    "suspend refuses a registration": Mutation(
        Scenario(("suspend then resume",), "registering"), 0, USER_ROW_MISSING, SUSPEND_REGISTERING
    ),
    "suspend of a suspended identity writes its row": Mutation(
        Scenario(("resume", "suspend"), "suspended"), 1, SENT_BEFORE, MARK_AGAIN_WITHOUT_WRITE
    ),
    "resume of an active identity writes its row": Mutation(
        Scenario(("suspend", "resume"), "active"), 1, SENT_BEFORE, RESUME_AGAIN_WITHOUT_WRITE
    ),
    "resume finishes the revocation first": Mutation(
        Scenario(("suspend", "resume")), 0, NOT_IN_ACS, RESUME_UNREVOKED
    ),
    "restore refuses a suspension that is not revoked": Mutation(
        Scenario(("restore",), "suspending"),
        0,
        COUNTS_AS_REVOKED,
        RESTORE_OF_UNREVOKED_SUSPENSION_RETURNS,
    ),
    "restore returns to a suspension": Mutation(
        Scenario(("restore",), "suspended, deleted"), 0, "lifted that", RESTORE_LIFTS_SUSPENSION
    ),
    "a user row whose identity is suspended counts": Mutation(
        Scenario((CREATE,), "suspended"), 0, "are of the same user", SUSPENDED_IS_ABSENT
    ),
    "purge refuses a suspended identity": Mutation(
        Scenario(("purge",), "suspended"), 0, NOT_OURS, PURGE_REGISTERING
    ),
    "the sweep does not purge a suspended identity": Mutation(
        Scenario(("sweep",), "suspending, due"), 0, NOT_OURS, sweep=SWEEP_PURGES_SUSPENDED
    ),
    "unregister refuses a suspended identity": Mutation(
        Scenario(("unregister",), "suspended"), 0, "which is suspended", UNREGISTER_DELETED
    ),
    "a service's delete takes over a user's deletion": Mutation(
        Scenario(("delete",), "deleted by user"), 0, "not recorded", NOT_TAKEN_OVER
    ),
    "a service's delete takes over a user's deletion at once": Mutation(
        Scenario(("delete", "restore by user"), "unrevoked by user"),
        0,
        "not recorded",
        TAKEN_OVER_LATE,
    ),
    "a user does not restore what a service has deleted": Mutation(
        Scenario(("restore by user",), "deleted"), 0, RESTORED_BY_USER, RESTORE_BY_ANYBODY
    ),
    "a user does not restore what a service is deleting": Mutation(
        Scenario(("restore by user",), "unrevoked"),
        0,
        RESTORED_BY_USER,
        RESTORE_UNREVOKED_BY_ANYBODY,
    ),
    "a user deletes only an identity that names the user": Mutation(
        Scenario(("delete by user",), "user row of another user's identity"),
        0,
        SOMEBODY_ELSES,
        DELETE_OF_ANY_USER,
    ),
    "delete does not believe that a young identity is gone": Mutation(
        Scenario(("delete",), "active a moment ago"), 1, STILL_VALID, MARK_IGNORES_YOUNG
    ),
    "suspend does not believe that a young identity is gone": Mutation(
        Scenario(("suspend",), "active a moment ago"), 1, STILL_VALID, MARK_IGNORES_YOUNG
    ),
    "the sweep does not believe that a young identity is gone": Mutation(
        Scenario(("sweep",), "suspending a moment ago, due"),
        1,
        COUNTS_AS_REVOKED,
        SWEEP_IGNORES_YOUNG,
    ),
    "restore of a suspension does not believe that a young identity is gone": Mutation(
        Scenario(("restore",), "suspending a moment ago, deleted"),
        1,
        COUNTS_AS_REVOKED,
        RESTORE_IGNORES_YOUNG,
    ),
    "a revocation reads the clock before it asks ACS": Mutation(
        Scenario(("delete",), "active a moment ago"),
        1,
        STILL_VALID,
        REVOKE_READS_THE_CLOCK_LATE,
        passes=1,
    ),
    "a purge reads the clock before it asks ACS": Mutation(
        Scenario(("purge",), "registered a moment ago, deleted"),
        1,
        STILL_EXISTS,
        PURGE_READS_THE_CLOCK_LATE,
        passes=1,
    ),
    "an adopted identity has the date since which it is known": Mutation(
        Scenario(("delete",), "restored a moment ago"), 1, STILL_VALID, ADOPTED_WITHOUT_DATE
    ),
    "a deletion that is revoked is not adopted any more": Mutation(
        Scenario(("delete",), "created elsewhere"), 0, "still due", ADOPTED_IS_KEPT
    ),
    "a suspension that is revoked is not adopted any more": Mutation(
        Scenario(("suspend", "delete"), "created elsewhere a moment ago"),
        1,
        "after its suspension",
        SUSPENSION_STAYS_ADOPTED,
    ),
    "an adopted suspension that is gone is not ours": Mutation(
        Scenario(("suspend", "resume"), "created elsewhere a moment ago"),
        1,
        "not recorded",
        GONE_IS_OURS,
    ),
    "an adopted suspension that was registered anew is not ours": Mutation(
        Scenario(("suspend", "resume", "register"), "created elsewhere a moment ago"),
        1,
        "not recorded",
        KNOWN_LATER_IS_OURS,
    ),
    "an adopted suspension that is now an adopted deletion is not ours": Mutation(
        Scenario(("suspend", "delete"), "created elsewhere a moment ago"),
        1,
        "after its suspension",
        STILL_ADOPTED_IS_OURS,
    ),
    "an identity of another resource is not revoked": Mutation(
        Scenario(("delete",), "active, wrong resource"), 1, STILL_VALID, REVOKED_IF_NOT_OWNED
    ),
    "an identity of another resource is not purged": Mutation(
        Scenario(("purge",), "deleted, wrong resource"), 1, STILL_EXISTS, PURGED_IF_NOT_OWNED
    ),
    "an identity of another resource is not unknown to issue": Mutation(
        Scenario(("issue",), "active, wrong resource"),
        1,
        "issue does not find it",
        NOT_FOUND_IF_NOT_OWNED,
    ),
    "an adopted row of another resource's identity is removed": Mutation(
        Scenario(("sweep",), "unrevoked, of another resource, due"),
        0,
        "still due",
        KEEP_ADOPTED_ROW_IF_NOT_OWNED,
    ),
    "such a row is removed whoever wrote it": Mutation(
        Scenario(("sweep",), "suspending, of another resource, due"),
        0,
        "still due",
        KEEP_ADOPTED_SUSPENSION_IF_NOT_OWNED,
    ),
    "purge asks ACS about an adopted identity first": Mutation(
        Scenario(("purge",), "unrevoked, of another resource, due"),
        0,
        "still due",
        PURGE_ADOPTED_UNASKED,
    ),
    "the sweep asks ACS about an adopted identity first": Mutation(
        Scenario(("sweep",), "unrevoked, of another resource, due"),
        0,
        "still due",
        sweep=SWEEP_PURGES_ADOPTED_UNASKED,
        passes=1,
    ),
}
