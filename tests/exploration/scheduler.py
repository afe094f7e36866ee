"""The scheduler: everything that can happen next, and what it leads to.

The decisions of the scheduler are a schedule. It fits in one line and can be replayed:

    A3              call A3 takes effect and gets its response
    A3:fails        it fails and has no effect
    A3:throttled    ACS refuses it with 429
    A3:lost         it takes effect, but its response is lost
    A3:denied       ACS denies that it has the identity, which it has
    A3:disowned     ACS says that the identity belongs to another resource
    A3:refused      ACS does not accept the assignment
    A3:late         its caller gives up; it takes effect later, or never
    A3:arrives      the late call takes effect
    A:killed        operation A is killed
    A:answered      the caller of operation A gets a response, and the operation continues
    lease:passes    time passes; also `retention:passes`
    sweeps:run      sweeps finish everything that is due while a late call is still under way
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from msgspec.structs import replace

from identity_service.errors import (
    AcsTooSlow,
    AcsUnavailable,
    AssignmentRefused,
    IdentityBusy,
    IdentityDeleted,
    IdentityNotFound,
    IdentitySuspended,
    RegistryUnavailable,
    Throttled,
    WrongResource,
)
from identity_service.identity import YOUNG, State
from tests.exploration.access import AccessHistory, check_access_end
from tests.exploration.invariants import WITHOUT_USER, History, InvariantViolated, check_end
from tests.exploration.operation import BEGIN, Call, Progress, Response
from tests.exploration.scenarios import DENIED, DISOWNED, TIME_STEPS, Scenario
from tests.exploration.world import USER, ExploredWorld, Product, Snapshot
from tests.support.virtual_time import START

# After this many sweeps nothing may be due any more.
MAX_SWEEPS = 12


class Event(StrEnum):
    """What can happen to a call, to an operation or to the time."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    THROTTLED = "throttled"
    DENIED = "denied"
    DISOWNED = "disowned"
    REFUSED = "refused"
    LOST = "lost"
    LATE = "late"
    ARRIVES = "arrives"
    KILLED = "killed"
    ANSWERED = "answered"
    PASSES = "passes"
    RUN = "run"


FAULTS = {
    Event.FAILS,
    Event.THROTTLED,
    Event.DENIED,
    Event.DISOWNED,
    Event.REFUSED,
    Event.LOST,
    Event.LATE,
    Event.KILLED,
    Event.ANSWERED,
}

_FAULT = "decided by the scheduler"
_ERRORS = {
    ("acs", Event.FAILS): Response(None, AcsUnavailable, _FAULT),
    ("acs", Event.THROTTLED): Response(None, Throttled, _FAULT),
    ("acs", Event.DENIED): Response(None, IdentityNotFound, _FAULT),
    ("acs", Event.DISOWNED): Response(None, WrongResource, _FAULT),
    ("acs", Event.REFUSED): Response(None, AssignmentRefused, _FAULT),
    ("acs", Event.LOST): Response(None, AcsTooSlow, _FAULT),
    ("acs", Event.LATE): Response(None, AcsTooSlow, _FAULT),
    ("registry", Event.FAILS): Response(None, RegistryUnavailable, _FAULT),
    ("registry", Event.LOST): Response(None, RegistryUnavailable, _FAULT),
    ("registry", Event.LATE): Response(None, RegistryUnavailable, _FAULT),
}


class Decision(NamedTuple):
    """One decision: an event, and what it happens to."""

    target: str
    event: Event = Event.SUCCEEDS

    def __str__(self) -> str:
        return self.target if self.event is Event.SUCCEEDS else f"{self.target}:{self.event}"

    @classmethod
    def parse(cls, text: str) -> "Decision":
        """The decision that `str` rendered."""
        target, colon, event = text.partition(":")
        return cls(target, Event(event)) if colon else cls(target)


def format_schedule(decisions: list[Decision]) -> str:
    """The schedule in one line."""
    return " ".join(map(str, decisions))


def parse_schedule(line: str) -> list[Decision]:
    """The schedule in this line."""
    return [Decision.parse(word) for word in line.split()]


class Budget(NamedTuple):
    """How many faults may still happen, and how often time may still pass."""

    faults: int = 0
    passes: int = 0

    def after(self, decision: Decision) -> "Budget":
        """What the decision leaves of it."""
        return Budget(
            self.faults - (decision.event in FAULTS), self.passes - (decision.event is Event.PASSES)
        )


UNLIMITED = Budget(99, 99)


class SystemState(NamedTuple):
    """Everything that the rest of a schedule depends on.

    Attributes:
        late: Calls whose caller has given up, and which have not taken effect yet.
        is_swept: Sweeps ran while late calls were under way.
    """

    operations: tuple[Progress, ...]
    snapshot: Snapshot
    history: History | AccessHistory
    budget: Budget
    late: tuple[Call, ...] = ()
    is_swept: bool = False


class Scheduler:
    """Schedules the operations of one scenario."""

    def __init__(self, scenario: Scenario, product: Product | None = None) -> None:
        self.scenario = scenario
        self._world = ExploredWorld(product or Product(), is_access=scenario.is_access)
        self._sweeps = _Sweeps(self._world)
        self._snapshot = scenario.prepare(self._world)
        self._operations = tuple(
            Progress.first(self._world.operation(chr(ord("A") + number), number + 1, title))
            for number, title in enumerate(scenario.operations)
        )

    def start(self, budget: Budget) -> SystemState:
        """The state before the first decision."""
        kind = AccessHistory if self.scenario.is_access else History
        history = kind.start(self._snapshot)
        return SystemState(self._operations, self._snapshot, history, budget)

    def decisions(self, state: SystemState) -> list[Decision]:
        """Everything that can happen next. Empty at the end of the schedule."""
        calls = [call for progress in state.operations for call in progress.pending]
        found = [Decision(call.id) for call in calls]
        found += [Decision(call.id, Event.ARRIVES) for call in state.late]
        if calls and state.budget.passes:
            found += [Decision(step, Event.PASSES) for step in TIME_STEPS]
        if state.late and not calls and not state.is_swept:
            found.append(Decision("sweeps", Event.RUN))
        if state.budget.faults:
            found += [decision for call in calls for decision in _faults(call)]
            found += [decision for one in state.operations for decision in self._untrue(one)]
            found += [
                Decision(progress.operation.name, Event.ANSWERED)
                for progress in state.operations
                if progress.operation.title in WITHOUT_USER
                and progress.pending
                and not progress.is_answered
            ]
            found += [
                Decision(progress.operation.name, Event.KILLED)
                for progress in state.operations
                if any(call.name != BEGIN for call in progress.pending)
            ]
        return found

    def decide(self, state: SystemState, decision: Decision) -> SystemState:
        """The state after the decision.

        Raises:
            InvariantViolated: it breaks an invariant.
        """
        state = state._replace(budget=state.budget.after(decision))
        match decision.event:
            case Event.KILLED:
                return _with(state, self._operation(state, decision.target).killed())
            case Event.ANSWERED:
                progress = self._operation(state, decision.target)
                return _with(state, progress.answered(state.snapshot.now))
            case Event.PASSES:
                later = state.snapshot.now + TIME_STEPS[decision.target]
                return state._replace(snapshot=state.snapshot._replace(now=later))
            case Event.RUN:
                swept = self._sweeps.run(state.snapshot)
                return self._changed(state, "sweep", swept)._replace(is_swept=True)
            case Event.ARRIVES:
                call = next(call for call in state.late if call.id == decision.target)
                rest = tuple(other for other in state.late if other is not call)
                snapshot, _ = self._world.apply(call, state.snapshot)
                history = state.history.after_arrival(call.id, state.snapshot, snapshot)
                title = self._operation(state, call.id[0]).operation.title
                return self._changed(state._replace(late=rest, history=history), title, snapshot)
        return self._respond(state, decision)

    def _untrue(self, progress: Progress) -> Iterator[Decision]:
        """What ACS may say about an identity that it has."""
        denied = DENIED.get(self.scenario.before, ())
        disowned = DISOWNED.get(self.scenario.before, ())
        for call in progress.pending:
            # Time may have passed since the call was sent and answered.
            if call.name in denied and progress.received[-1].now < START + YOUNG:
                yield Decision(call.id, Event.DENIED)
            if call.name in disowned:
                yield Decision(call.id, Event.DISOWNED)

    def finish(self, state: SystemState) -> list[str]:
        """Let sweeps finish everything. Returns each permitted loss, by kind.

        Raises:
            InvariantViolated: the end breaks an invariant.
        """
        before = without_etags(state.snapshot)
        after = self._sweeps.run(before)
        history = state.history.after_change("sweep", before, after)
        if isinstance(history, AccessHistory):
            check_access_end(before, after, history, state.operations)
            return []
        losses = check_end(after, history, state.operations)
        self._sweeps.check_user(before)
        self._sweeps.check_user(after)
        return losses

    def _respond(self, state: SystemState, decision: Decision) -> SystemState:
        progress, call = next(
            (progress, call)
            for progress in state.operations
            for call in progress.pending
            if call.id == decision.target
        )
        response = _ERRORS.get((call.service, decision.event))
        if decision.event in (Event.SUCCEEDS, Event.LOST):
            snapshot, actual = self._world.apply(call, state.snapshot)
            state = self._changed(state, progress.operation.title, snapshot)
            response = response or actual
        elif decision.event is Event.REFUSED:
            _, actual = self._world.apply(call, state.snapshot)
            if actual.error is AcsTooSlow:  # it is not sent any more
                response = actual
        elif decision.event is Event.LATE:
            late = sorted((*state.late, call), key=lambda call: call.id)
            state = state._replace(late=tuple(late))
        assert response
        after = progress.after(call, response, state.snapshot.now)
        state.history.check_result(after, state.snapshot, self._world.identity_id)
        return _with(state._replace(history=self._heard(state, after, response)), after)

    def _heard(
        self, state: SystemState, progress: Progress, response: Response
    ) -> History | AccessHistory:
        """The history after an operation received the response."""
        if isinstance(state.history, AccessHistory):
            return state.history.after_response(progress, state.operations)
        overtaken = [late.id for late in state.late if late.service == "registry"]
        return state.history.after_response(progress, response, overtaken, state.snapshot)

    def _changed(self, state: SystemState, title: str, snapshot: Snapshot) -> SystemState:
        if snapshot is state.snapshot:
            return state
        history = state.history.after_change(title, state.snapshot, snapshot)
        return state._replace(snapshot=snapshot, history=history)

    def _operation(self, state: SystemState, name: str) -> Progress:
        return next(one for one in state.operations if one.operation.name == name)


def _faults(call: Call) -> Iterator[Decision]:
    if call.name == BEGIN:
        return
    yield Decision(call.id, Event.FAILS)
    if call.service == "acs":
        yield Decision(call.id, Event.THROTTLED)
    if call.name == "put":
        yield Decision(call.id, Event.REFUSED)
    if call.is_write:
        yield Decision(call.id, Event.LOST)
        yield Decision(call.id, Event.LATE)


def _with(state: SystemState, progress: Progress) -> SystemState:
    operations = tuple(
        progress if other.operation.name == progress.operation.name else other
        for other in state.operations
    )
    return state._replace(operations=operations)


class _Sweeps:
    """The sweeps at the end of a schedule. Each snapshot is swept once: the end is the same."""

    def __init__(self, world: ExploredWorld) -> None:
        self._world = world
        self._swept: dict[Snapshot, Snapshot] = {}
        self._checked: set[Snapshot] = set()

    def run(self, snapshot: Snapshot) -> Snapshot:
        """Let time pass and sweeps run until nothing is due at any time.

        Raises:
            InvariantViolated: something stays due, or a sweep reports what it has not done.
        """
        if snapshot not in self._swept:
            self._swept[snapshot] = self._run(snapshot)
        return self._swept[snapshot]

    def check_user(self, snapshot: Snapshot) -> None:
        """Check that the user can get an identity, unless it is marked or being registered.

        Raises:
            InvariantViolated: the user gets none, or not their own.
        """
        if snapshot in self._checked:
            return
        operation = self._world.operation("again", 9, "create for user")
        after, result = self._world.run(operation, snapshot)
        assert result
        if result.error and result.error is not self._expected_error(snapshot):
            raise InvariantViolated(f"the user cannot get an identity any more: {result}")
        if not result.error:
            row = after.row(result.value.id)
            if row is None or row.user_id != USER or row.id not in after.identities:
                raise InvariantViolated("the user gets an identity that is not their own")
            if row.id not in [one.identity_id for one in after.users if one.user_id == USER]:
                raise InvariantViolated("the user gets an identity that the user row does not name")
        self._checked.add(snapshot)

    def _expected_error(self, snapshot: Snapshot) -> type[Exception] | None:
        """Why the user gets no identity now."""
        for user in snapshot.users:
            row = snapshot.row(user.identity_id)
            if row and user.user_id == row.user_id == USER:
                return {
                    State.SUSPENDED: IdentitySuspended,
                    State.DELETED: IdentityDeleted,
                    State.REGISTERING: IdentityBusy,
                }.get(row.state)
        return None

    def _run(self, snapshot: Snapshot) -> Snapshot:
        wait = TIME_STEPS["lease"]
        for number in range(MAX_SWEEPS):
            if not snapshot.entries and not snapshot.access_entries:
                return snapshot
            snapshot = self._sweep(snapshot._replace(now=snapshot.now + wait), f"sweep{number}.")
            wait = TIME_STEPS["retention"]
        raise InvariantViolated(f"something is still due after {MAX_SWEEPS} sweeps")

    def _sweep(self, snapshot: Snapshot, name: str) -> Snapshot:
        after, result = self._world.run(self._world.operation(name, 8, "sweep"), snapshot)
        assert result
        gone = {row.id for row in snapshot.rows} - {row.id for row in after.rows}
        if result.error:
            raise InvariantViolated(f"the sweep fails: {result.error.__name__}: {result.detail}")
        if result.value.purged > len(gone):
            raise InvariantViolated(f"the sweep reports more purges than it did: {result.value}")
        return after


def without_etags(snapshot: Snapshot) -> Snapshot:
    """The snapshot, regardless of who wrote its rows last."""
    return snapshot._replace(
        rows=frozenset(row.with_etag("") for row in snapshot.rows),
        users=frozenset(replace(user, etag="") for user in snapshot.users),
        accesses=frozenset(access.with_etag("") for access in snapshot.accesses),
    )
