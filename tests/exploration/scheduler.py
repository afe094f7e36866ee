"""The scheduler: every decision it can take at a moment, and what becomes of it."""

from collections.abc import Iterator
from typing import NamedTuple

from identity_service.errors import AcsTooSlow, AcsUnavailable, RegistryUnavailable, Throttled
from tests.exploration.cast import Cast, Product
from tests.exploration.decisions import PASSES, Budget, Decision, Fate
from tests.exploration.invariants import check_end
from tests.exploration.performance import BEGIN, Answer, Call
from tests.exploration.scenarios import Scenario
from tests.exploration.settling import Settling, comparable
from tests.exploration.stage import World
from tests.exploration.stand import Stand
from tests.exploration.watch import Watch

_ANSWERS = {
    ("acs", Fate.FAILS): Answer(None, AcsUnavailable, "as decided"),
    ("acs", Fate.THROTTLED): Answer(None, Throttled, "as decided"),
    ("acs", Fate.UNANSWERED): Answer(None, AcsTooSlow, "as decided"),
    ("acs", Fate.LATE): Answer(None, AcsTooSlow, "as decided"),
    ("registry", Fate.FAILS): Answer(None, RegistryUnavailable, "as decided"),
    ("registry", Fate.UNANSWERED): Answer(None, RegistryUnavailable, "as decided"),
    ("registry", Fate.LATE): Answer(None, RegistryUnavailable, "as decided"),
}


class Moment(NamedTuple):
    """Everything on which the rest of a schedule depends.

    Attributes:
        late: Calls that nobody waits for, and that have not taken effect yet.
        is_settled: Sweeps ran while late calls were on their way.
    """

    stands: tuple[Stand, ...]
    world: World
    watch: Watch
    budget: Budget
    late: tuple[Call, ...] = ()
    is_settled: bool = False


class Exploration:
    """One scenario, explored."""

    def __init__(self, scenario: Scenario, product: Product | None = None) -> None:
        self.scenario = scenario
        self._cast = Cast(product or Product())
        self._stage = self._cast.stage
        self._settling = Settling(self._cast)
        self._world = scenario.prepare(self._cast)
        self._stands = tuple(
            Stand.first(self._cast.actor(chr(ord("A") + number), number + 1, title))
            for number, title in enumerate(scenario.operations)
        )
        self._elsewhere = {"identity-elsewhere"}

    def start(self, budget: Budget) -> Moment:
        """The moment before anything has happened."""
        return Moment(self._stands, self._world, Watch.first(self._world), budget)

    def decisions(self, moment: Moment) -> list[Decision]:
        """Everything that can happen next; nothing, when all is over."""
        calls = [call for stand in moment.stands for call in stand.waiting]
        found = [Decision(call.id) for call in calls]
        found += [Decision(call.id, Fate.ARRIVES) for call in moment.late]
        if calls and moment.budget.passes:
            found += [Decision(time, Fate.PASSES) for time in PASSES]
        if moment.late and not calls and not moment.is_settled:
            found.append(Decision("sweeps", Fate.RUN))
        if moment.budget.faults:
            found += [decision for call in calls for decision in _faults(call)]
            found += [
                Decision(stand.actor.name, Fate.KILLED)
                for stand in moment.stands
                if any(call.name != BEGIN for call in stand.waiting)
            ]
        return found

    def decide(self, moment: Moment, decision: Decision) -> Moment:
        """The moment that the decision leads to.

        Raises:
            Violated: it leads to what must not be.
        """
        moment = moment._replace(budget=moment.budget.after(decision))
        match decision.fate:
            case Fate.KILLED:
                return _moved(moment, self._stand(moment, decision.who).killed())
            case Fate.PASSES:
                later = moment.world.now + PASSES[decision.who]
                return moment._replace(world=moment.world._replace(now=later))
            case Fate.RUN:
                settled = self._settling.settle(moment.world)
                return self._changed(moment, "sweep", settled)._replace(is_settled=True)
            case Fate.ARRIVES:
                call = next(call for call in moment.late if call.id == decision.who)
                rest = tuple(other for other in moment.late if other is not call)
                world, _ = self._stage.take(call, moment.world)
                title = self._stand(moment, call.id[0]).actor.title
                return self._changed(moment._replace(late=rest), title, world)
        return self._called(moment, decision)

    def end(self, moment: Moment) -> list[str]:
        """What is lost by then, by kind, of what may be lost.

        Raises:
            Violated: the end is not as it must be.
        """
        world = self._settling.settle(comparable(moment.world))
        lost = check_end(world, moment.watch, moment.stands, self._elsewhere)
        self._settling.ask_again(world)
        return lost

    def _called(self, moment: Moment, decision: Decision) -> Moment:
        stand, call = next(
            (stand, call)
            for stand in moment.stands
            for call in stand.waiting
            if call.id == decision.who
        )
        answer = _ANSWERS.get((call.service, decision.fate))
        if decision.fate in (Fate.HAPPENS, Fate.UNANSWERED):
            world, taken = self._stage.take(call, moment.world)
            moment = self._changed(moment, stand.actor.title, world)
            answer = answer or taken
        elif decision.fate is Fate.LATE:
            late = sorted((*moment.late, call), key=lambda call: call.id)
            moment = moment._replace(late=tuple(late))
        assert answer
        heard = stand.after(call, answer, moment.world.now)
        moment.watch.check(heard, moment.world, self._cast.identity_id)
        watch = moment.watch.of_answer(stand.actor.name, answer)
        return _moved(moment._replace(watch=watch), heard)

    def _changed(self, moment: Moment, title: str, world: World) -> Moment:
        if world is moment.world:
            return moment
        return moment._replace(world=world, watch=moment.watch.of_world(title, moment.world, world))

    def _stand(self, moment: Moment, name: str) -> Stand:
        return next(stand for stand in moment.stands if stand.actor.name == name)


def _faults(call: Call) -> Iterator[Decision]:
    if call.name == BEGIN:
        return
    yield Decision(call.id, Fate.FAILS)
    if call.service == "acs":
        yield Decision(call.id, Fate.THROTTLED)
    if call.changes:
        yield Decision(call.id, Fate.UNANSWERED)
        yield Decision(call.id, Fate.LATE)


def _moved(moment: Moment, stand: Stand) -> Moment:
    stands = tuple(
        stand if other.actor.name == stand.actor.name else other for other in moment.stands
    )
    return moment._replace(stands=stands)
