"""The rules of the Teams Phone protocol, and a mutation that breaks each of them.

A mutation changes the source of `access_lifecycle.py`, or how the registry writes.
"""

from datetime import datetime
from typing import NamedTuple

from identity_service import access_lifecycle
from identity_service.teams_access import Access, AccessDue
from tests.exploration.mutations import Change, mutated
from tests.exploration.scenarios import Scenario
from tests.exploration.scheduler import Budget
from tests.exploration.world import GatedAccessRegistry, Product


class AccessMutation(NamedTuple):
    """Breaks a rule.

    Attributes:
        scenario: The scenario that finds it.
        budget: The faults and time steps that this takes.
        fact: Part of what is reported.
        changes: The changes of `access_lifecycle.py`.
        registry: The registry that is used.
    """

    scenario: Scenario
    budget: Budget
    fact: str
    changes: tuple[Change, ...] = ()
    registry: type[GatedAccessRegistry] = GatedAccessRegistry

    def product(self) -> Product:
        """The product with the mutation."""
        teams_access = mutated(access_lifecycle, *self.changes).TeamsAccess
        return Product(teams_access=teams_access, access_registry=self.registry)


class NoEtag(GatedAccessRegistry):
    """Writes a row regardless of its ETag."""

    def _require_unchanged(self, access: Access) -> None:
        pass

    def _reschedule(self, removed: AccessDue | None, added: AccessDue | None) -> None:
        self.entries = {added} if added else set()


class NoDueEntry(GatedAccessRegistry):
    """Writes a row, and its due entry not in the same batch, but never."""

    def _reschedule(self, removed: AccessDue | None, added: AccessDue | None) -> None:
        self.entries -= {removed} if removed else set()


class LateInsert(GatedAccessRegistry):
    """Inserts a row however late it is."""

    async def insert(self, access: Access, *, not_after: datetime) -> Access:
        """See `ports.AccessRegistry`."""
        return await super().insert(access, not_after=datetime.max.replace(tzinfo=not_after.tzinfo))


_WRITE = """            with suppress(Conflict):
                if before:
"""
PUT_BEFORE_WRITE = (
    Change(
        _WRITE,
        "            if wanted.is_given:\n"
        "                await self._assignments.put(\n"
        "                    tenant_id, object_id, wanted.assignment, not_after=not_after\n"
        "                )\n" + _WRITE,
    ),
)
_START_REMOVAL = (
    "        started = await self._start(tenant_id, object_id, Access.remove)  # 1, 2\n"
)
DELETE_BEFORE_WRITE = (
    Change(
        _START_REMOVAL,
        "        await self._registry.read(tenant_id, object_id)\n"
        "        absent = Access.absent(tenant_id, object_id)\n"
        "        await self._delete(absent, self._clock.now() + SEND_WITHIN)\n" + _START_REMOVAL,
    ),
    Change("        await self._delete(started.access, started.not_after)  # 3\n", ""),
)
REMOVE_WITHOUT_ROW_UNRECORDED = (
    Change(
        _START_REMOVAL,
        "        if await self._registry.read(tenant_id, object_id) is None:\n"
        "            absent = Access.absent(tenant_id, object_id)\n"
        "            await self._delete(absent, self._clock.now() + SEND_WITHIN)\n"
        "            return\n" + _START_REMOVAL,
    ),
)
REMOVED_ALREADY = (
    Change(
        _START_REMOVAL,
        "        current = await self._registry.read(tenant_id, object_id)\n"
        "        if current and current.state == 'removed':\n"
        "            return\n" + _START_REMOVAL,
    ),
)
_FINISH_REMOVAL = (
    "            await self._registry.update("
    "started.access, started.access.finish_removal())  # 4\n"
)
REMOVE_UNCHECKED = (Change(_FINISH_REMOVAL, "            pass\n"),)
FORGET_AT_ONCE = (
    Change(_FINISH_REMOVAL, "            await self._registry.remove(started.access)\n"),
)
_OVERTAKEN = "            if current and not current.is_removed:\n"
OVERTAKEN_REMOVAL_SUCCEEDS = (Change(_OVERTAKEN, "            if False:\n"),)
_FINISH_ASSIGNMENT = (
    "            given = await self._registry.update(access, access.finish_assignment())  # 4\n"
)
ASSIGN_UNCHECKED = (Change(_FINISH_ASSIGNMENT, "            given = access\n"),)
SETTLED_AT_ONCE = (
    Change(
        _FINISH_ASSIGNMENT,
        "            given = await self._registry.update(access, access.confirm())\n",
    ),
)
OVERTAKEN_PUT_STAYS = (
    Change("            if current and current.is_removed:\n", "            if False:\n"),
)
NEVER_TOO_LATE = (
    Change(
        "            not_after = now + SEND_WITHIN\n", "            not_after = now + 3 * LEASE\n"
    ),
)
REFUSED_IS_KEPT = (
    Change("                await self._write_back(started)\n", "                pass\n"),
)
_TAKE_BACK = """        if started.before:
            await self._registry.update(started.access, started.before)
        else:
"""
REFUSED_IS_FORGOTTEN = (Change(_TAKE_BACK, "        if True:\n"),)
REFUSED_IS_REMOVED = (
    Change(
        "            await self._registry.remove(started.access)\n",
        "            removed = started.access.remove(self._clock.now())\n"
        "            await self._registry.update(started.access, removed)\n",
    ),
)
REFUSED_ALTHOUGH_CHANGED = (
    Change("                raise _changed() from refused\n", "                pass\n"),
)
TAKE_OVER_REMOVED = (
    Change(
        "            if access:\n                _require_taken_over(",
        "            if access and access.is_removed:\n"
        "                given = access.assign(found, expires_on, now).confirm()\n"
        "                return await self._registry.update(access, given), True\n"
        "            if access:\n                _require_taken_over(",
    ),
)
IMPORT_WITHOUT_LIMIT = (
    Change(
        "self._registry.insert(access, not_after=now + SEND_WITHIN)  # 3",
        "self._registry.insert(access, not_after=now + 3 * LEASE)",
    ),
)
SWEEP_FORGETS_UNASKED = (
    Change(
        "        if found:\n            return await self._remove_again",
        "        if False:\n            return await self._remove_again",
    ),
)
SWEEP_CONFIRMS_UNASKED = (
    Change(
        "            if found and found.same_as(access.assignment):\n", "            if True:\n"
    ),
)
SWEEP_PUTS_UNRECORDED = (
    Change("        access = await self._registry.update(access, access.check_again(now))\n", ""),
)
SWEEP_PUT_UNCHECKED = (
    Change(
        "            return Finished(await self._give(access, now + SEND_WITHIN))\n",
        "            await self._assignments.put(\n"
        "                access.tenant_id,\n"
        "                access.object_id,\n"
        "                access.assignment,\n"
        "                not_after=now + SEND_WITHIN,\n"
        "            )\n"
        "            return Finished(access)\n",
    ),
)
_REMOVED_LATE = "            expired=is_expired,\n        )\n"
SWEEP_DELETES_UNRECORDED = (
    Change(
        "        access = await self._registry.update(access, wanted)\n        try:\n",
        "        try:\n",
    ),
    Change(
        _REMOVED_LATE,
        _REMOVED_LATE + "        access = await self._registry.update(access, wanted)\n",
    ),
)
SWEEP_RETRIES_REFUSED = (
    Change(
        "            access = await self._registry.update(access, accepted)\n",
        "            accepted = access.check_again(self._clock.now())\n"
        "            access = await self._registry.update(access, accepted)\n",
    ),
)
SWEEP_ACCEPTS_AFTER_REMOVAL = (
    Change(
        "            accepted = access.accept(found, self._clock.now())\n",
        "            before = access.finish_assignment()\n"
        "            accepted = before.accept(found, self._clock.now())\n",
    ),
)
FORGETS_THE_REMOVAL_BEFORE = (
    Change(
        "wanted = change(before or",
        "wanted = change(before and before.confirm() if before and before.is_given else before or",
    ),
)
SWEEP_NEVER_ENDS = (
    Change(
        "        if access.is_given and access.is_expired(self._clock.now()):\n",
        "        if False:\n",
    ),
)
SWEEP_USES_OUTDATED_ENTRY = (Change(" and access.due != entry.due:\n", " and False:\n"),)

AT_LAST, NO_ROW, UNTIL_SWEEP = "ACS has", "there is no row", "has it until the sweep"
FORGOTTEN, RETURNED = "forgotten", "returned, and the access is"
ROW_DIFFERS = "the row has"

ONE_FAULT, NO_FAULT = Budget(1), Budget()

ACCESS_RULES: dict[str, AccessMutation] = {
    "assign writes the row before it asks ACS": AccessMutation(
        Scenario(("assign",), "no access"), ONE_FAULT, NO_ROW, PUT_BEFORE_WRITE
    ),
    "remove writes the row before it asks ACS": AccessMutation(
        Scenario(("assign", "remove"), "no access"), NO_FAULT, UNTIL_SWEEP, DELETE_BEFORE_WRITE
    ),
    "a removal is written also without a row": AccessMutation(
        Scenario(("assign", "remove"), "no access"),
        ONE_FAULT,
        RETURNED,
        REMOVE_WITHOUT_ROW_UNRECORDED,
    ),
    "a repeated removal writes the row": AccessMutation(
        Scenario(("assign", "remove"), "removed"), ONE_FAULT, AT_LAST, REMOVED_ALREADY
    ),
    "a removal that was overtaken does not succeed": AccessMutation(
        Scenario(("assign", "remove"), "no access"),
        NO_FAULT,
        RETURNED,
        OVERTAKEN_REMOVAL_SUCCEEDS,
    ),
    "a removal finds out whether it was overtaken": AccessMutation(
        Scenario(("assign", "remove"), "no access"), NO_FAULT, RETURNED, REMOVE_UNCHECKED
    ),
    "a removed row stays until the sweep has asked ACS": AccessMutation(
        Scenario(("assign", "remove"), "no access"), ONE_FAULT, NO_ROW, FORGET_AT_ONCE
    ),
    "an assignment finds out whether it was overtaken": AccessMutation(
        Scenario(("assign", "remove"), "no access"), NO_FAULT, RETURNED, ASSIGN_UNCHECKED
    ),
    "an assigned row stays due until the sweep has asked ACS": AccessMutation(
        Scenario(("remove", "assign"), "assigned"), ONE_FAULT, ROW_DIFFERS, SETTLED_AT_ONCE
    ),
    "an overtaken assignment is undone at once": AccessMutation(
        Scenario(("assign", "remove"), "no access"), NO_FAULT, UNTIL_SWEEP, OVERTAKEN_PUT_STAYS
    ),
    "nothing is sent to ACS long after its row was written": AccessMutation(
        Scenario(("assign", "remove"), "assigned"), ONE_FAULT, NO_ROW, NEVER_TOO_LATE
    ),
    "no row is inserted long after it was read that there is none": AccessMutation(
        Scenario(("assign", "remove"), "no access"), ONE_FAULT, AT_LAST, registry=LateInsert
    ),
    "a refused assignment is taken back": AccessMutation(
        Scenario(("assign",), "no access"), ONE_FAULT, AT_LAST, REFUSED_IS_KEPT
    ),
    "a refused assignment gives back the row that was there": AccessMutation(
        Scenario(("assign refused",), "removed, assigned by a late call"),
        NO_FAULT,
        NO_ROW,
        REFUSED_IS_FORGOTTEN,
    ),
    "a refused assignment removes nothing": AccessMutation(
        Scenario(("assign refused",), "assigned elsewhere"), NO_FAULT, AT_LAST, REFUSED_IS_REMOVED
    ),
    "a refusal that cannot be taken back is not reported": AccessMutation(
        Scenario(("assign", "assign refused"), "no access"),
        ONE_FAULT,
        AT_LAST,
        REFUSED_ALTHOUGH_CHANGED,
    ),
    "import does not take over what is being removed": AccessMutation(
        Scenario(("import",), "removing"), NO_FAULT, AT_LAST, TAKE_OVER_REMOVED
    ),
    "import writes soon after it has asked ACS": AccessMutation(
        Scenario(("import", "remove"), "assigned elsewhere"),
        ONE_FAULT,
        ROW_DIFFERS,
        IMPORT_WITHOUT_LIMIT,
    ),
    "the sweep asks ACS before it forgets a row": AccessMutation(
        Scenario(("assign", "remove"), "no access"), ONE_FAULT, NO_ROW, SWEEP_FORGETS_UNASKED
    ),
    "the sweep asks ACS before it confirms an assignment": AccessMutation(
        Scenario(("assign",), "no access"), ONE_FAULT, ROW_DIFFERS, SWEEP_CONFIRMS_UNASKED
    ),
    "the sweep writes the row before it assigns": AccessMutation(
        Scenario(("sweep", "remove", "sweep"), "assigning, due"),
        Budget(0, 1),
        NO_ROW,
        SWEEP_PUTS_UNRECORDED,
    ),
    "the sweep finds out whether it was overtaken": AccessMutation(
        Scenario(("sweep", "remove"), "assigning, due"),
        NO_FAULT,
        UNTIL_SWEEP,
        SWEEP_PUT_UNCHECKED,
    ),
    "the sweep writes the row before it removes": AccessMutation(
        Scenario(("sweep", "assign", "sweep"), "assigned, expired"),
        Budget(0, 1),
        ROW_DIFFERS,
        SWEEP_DELETES_UNRECORDED,
    ),
    "what ACS refuses to the sweep does not stay due": AccessMutation(
        Scenario(("sweep",), "assigning refused, due"),
        NO_FAULT,
        "still due",
        SWEEP_RETRIES_REFUSED,
    ),
    "what replaces a removal and is refused is removed": AccessMutation(
        Scenario(("assign refused",), "removed, assigned by a late call"),
        ONE_FAULT,
        AT_LAST,
        SWEEP_ACCEPTS_AFTER_REMOVAL,
    ),
    "what replaces a removal twice and is refused is removed": AccessMutation(
        Scenario(("assign refused",), "removed, assigned by a late call, other assigning"),
        ONE_FAULT,
        AT_LAST,
        FORGETS_THE_REMOVAL_BEFORE,
    ),
    "the sweep ends what has expired": AccessMutation(
        Scenario(("sweep",), "assigned, expired"), NO_FAULT, "still due", SWEEP_NEVER_ENDS
    ),
    "the sweep uses only the entry of the row": AccessMutation(
        Scenario(("sweep", "assign", "remove"), "removed, due"),
        ONE_FAULT,
        NO_ROW,
        SWEEP_USES_OUTDATED_ENTRY,
    ),
    "a row is written only with its ETag": AccessMutation(
        Scenario(("assign", "remove"), "assigned"), NO_FAULT, UNTIL_SWEEP, registry=NoEtag
    ),
    "a row and its due entry are written together": AccessMutation(
        Scenario(("assign",), "no access"), ONE_FAULT, FORGOTTEN, registry=NoDueEntry
    ),
}
