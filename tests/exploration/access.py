"""What must hold about Teams Phone access at the end of each schedule."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from identity_service.errors import (
    AcsTooSlow,
    AcsUnavailable,
    AssignmentRefused,
    RegistryUnavailable,
    ServiceError,
    Throttled,
)
from identity_service.teams_access import AccessState, Assignment
from tests.exploration.invariants import InvariantViolated
from tests.exploration.operation import Progress
from tests.exploration.world import ASSIGNMENT, OTHER_ASSIGNMENT, REFUSED_ASSIGNMENT, Snapshot

# What ACS has at last, if only this operation succeeds. What is given for a day has ended.
WANTED: dict[str, Assignment | None] = {
    "assign": ASSIGNMENT,
    "assign other": OTHER_ASSIGNMENT,
    "assign refused": REFUSED_ASSIGNMENT,
    "assign for a day": None,
    "remove": None,
}
_FAULTS = {AcsTooSlow, AcsUnavailable, AssignmentRefused, RegistryUnavailable, Throttled}


class AccessHistory(NamedTuple):
    """What happened so far, as far as the invariants need it.

    Attributes:
        start: The snapshot in which the scenario starts.
        earlier: Pairs of operations: the first had ended before the second started.
    """

    first: Snapshot
    earlier: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def start(cls, snapshot: Snapshot) -> "AccessHistory":
        """The history of the snapshot in which a scenario starts."""
        return cls(snapshot)

    def after_change(self, title: str, before: Snapshot, after: Snapshot) -> "AccessHistory":
        """The history after an operation has changed the snapshot.

        Raises:
            InvariantViolated: it must not change this.
        """
        if title == "import" and after.assignments != before.assignments:
            raise InvariantViolated("import changed what ACS has")
        return self

    def after_arrival(self, call_id: str, before: Snapshot, after: Snapshot) -> "AccessHistory":
        """The history after a late call took effect."""
        return self

    def after_response(
        self, progress: Progress, operations: Collection[Progress]
    ) -> "AccessHistory":
        """The history after an operation received a response."""
        if len(progress.received) > 1 or progress.operation.title not in WANTED:
            return self
        ended = {
            (one.operation.name, progress.operation.name)
            for one in operations
            if (one.result or one.is_killed) and one.operation.title in WANTED
        }
        return self._replace(earlier=self.earlier | ended)

    def check_result(self, progress: Progress, snapshot: Snapshot, identity_id: str) -> None:
        """Check what the operation returned, if it has just returned.

        Raises:
            InvariantViolated: it must not return that now.
        """
        title, result, access = progress.operation.title, progress.result, snapshot.access
        if result is None:
            return
        if result.error:
            if not issubclass(result.error, ServiceError):
                raise InvariantViolated(f"{result.error.__name__} escaped: {result.detail}")
        elif title == "remove" and access and not access.is_removed:
            raise InvariantViolated(f"remove returned, and the access is {access.state}")
        elif title.startswith(("assign", "import")):
            if access is None or not access.is_given:
                raise InvariantViolated(f"{title} returned, and the access is not given")
            if access.assignment != result.value.assignment:
                raise InvariantViolated(f"{title} returned, and the row has another assignment")


def check_access_end(
    before: Snapshot, after: Snapshot, history: AccessHistory, operations: Collection[Progress]
) -> None:
    """Check the end of a schedule, before and after the last sweeps.

    Raises:
        InvariantViolated: ACS does not agree with the rows, or with what was answered.
    """
    _check_removed_at_once(before, history, operations)
    _check_agreement(after, history)
    possible = list(_possible(history, operations))
    if after.assignment not in possible:
        raise InvariantViolated(
            f"ACS has {_name(after.assignment)} at last, and not one of"
            f" {', '.join(map(_name, possible))}"
        )


def _check_removed_at_once(
    snapshot: Snapshot, history: AccessHistory, operations: Collection[Progress]
) -> None:
    """Without faults, nobody has access whose removal was answered, also before the sweep."""
    has_faults = any(
        progress.is_killed or any(one.response.error in _FAULTS for one in progress.received)
        for progress in operations
    )
    first, access = history.first, snapshot.access
    was_removing = first.access and first.access.is_removed and first.assignment
    if access and access.is_removed and snapshot.assignment and not (has_faults or was_removing):
        raise InvariantViolated("the access is removed, and ACS has it until the sweep")


def _check_agreement(snapshot: Snapshot, history: AccessHistory) -> None:
    access, first = snapshot.access, history.first
    if access is None:
        is_elsewhere = first.access is None and first.assignment == snapshot.assignment
        if snapshot.assignment and not is_elsewhere:
            raise InvariantViolated(f"ACS has {_name(snapshot.assignment)}, and there is no row")
        return
    if access.state is not AccessState.ASSIGNED:
        raise InvariantViolated(f"the access is {access.state} and forgotten")
    if access.assignment != snapshot.assignment:
        raise InvariantViolated(
            f"the row has {_name(access.assignment)}, and ACS has {_name(snapshot.assignment)}"
        )


def _possible(
    history: AccessHistory, operations: Collection[Progress]
) -> Iterator[Assignment | None]:
    """What ACS may have at last.

    What an operation wants does not count if it had ended, with whatever result, before another
    one started that has succeeded.

    If ACS refuses to the sweep what was to be assigned, the row takes what ACS has. It may have
    what was replaced before, but not what was removed before.
    """
    first, changes = history.first, [one for one in operations if one.operation.title in WANTED]
    succeeded = {one.operation.name for one in changes if one.result and not one.result.error}
    deciding = succeeded
    if _is_refused_late(first, operations):
        removals = {one.operation.name for one in changes if one.operation.title == "remove"}
        deciding = succeeded & removals
        yield None
        if first.access and first.access.is_given and not first.access.removed_before:
            yield first.assignment
        if any(one.operation.title == "assign for a day" for one in changes):
            yield ASSIGNMENT  # with the end of the refused one, which has none
    if not deciding:
        yield _wanted(first)
    for one in changes:
        name = one.operation.name
        is_refused = one.result and one.result.error is AssignmentRefused
        if not is_refused and not any((name, other) in history.earlier for other in deciding):
            yield WANTED[one.operation.title]


def _wanted(first: Snapshot) -> Assignment | None:
    """What ACS has at last if no operation succeeds."""
    access = first.access
    if access is None or access.assignment == REFUSED_ASSIGNMENT:
        return first.assignment
    return None if access.is_removed or access.expires_on else access.assignment


def _is_refused_late(first: Snapshot, operations: Collection[Progress]) -> bool:
    """Whether ACS may have refused something to a sweep."""
    return (
        (first.access is not None and first.access.assignment == REFUSED_ASSIGNMENT)
        or any(
            one.response.error is AssignmentRefused
            for progress in operations
            if progress.operation.title == "sweep"
            for one in progress.received
        )
        or any(
            progress.operation.title == "assign refused"
            and (progress.result is None or progress.result.error is not AssignmentRefused)
            for progress in operations
        )
    )


def _name(assignment: Assignment | None) -> str:
    return assignment.client_ids[0] if assignment else "nothing"
