"""The end of every schedule: sweeps, and time, until nothing is due any more."""

from msgspec.structs import replace

from tests.exploration.cast import USER, Cast
from tests.exploration.decisions import PASSES
from tests.exploration.stage import World
from tests.exploration.watch import Violated

PATIENCE = 12


class Settling:
    """Runs sweeps. The same world always ends the same way, so each is settled once."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._ends: dict[World, World] = {}
        self._asked: dict[World, None] = {}

    def settle(self, world: World) -> World:
        """The world once nothing is due, now or ever.

        Raises:
            Violated: it never comes to that, or a sweep reports what it has not done.
        """
        if world not in self._ends:
            self._ends[world] = self._settled(world)
        return self._ends[world]

    def ask_again(self, world: World) -> None:
        """Let the user ask for an identity once more.

        Raises:
            Violated: there is none.
        """
        if world in self._asked:
            return
        after, outcome = self._cast.play(self._cast.actor("again", 9, "create for user"), world)
        if outcome is None or outcome.error:
            raise Violated(f"the user gets no identity any more: {outcome}")
        row = after.row(outcome.value.id)
        if row is None or row.user_id != USER or row.id not in after.identities:
            raise Violated("the user gets an identity that is somebody else's")
        if [row.id] != [user.identity_id for user in after.users]:
            raise Violated("the user gets an identity that the user row does not name")
        self._asked[world] = None

    def _settled(self, world: World) -> World:
        wait = PASSES["lease"]
        for number in range(PATIENCE):
            if not world.entries:
                return world
            world = self._swept(world._replace(now=world.now + wait), f"sweep{number}.")
            wait = PASSES["retention"]
        raise Violated("the agenda never comes to its end")

    def _swept(self, world: World, name: str) -> World:
        after, outcome = self._cast.play(self._cast.actor(name, 8, "sweep"), world)
        assert outcome
        gone = {row.id for row in world.rows} - {row.id for row in after.rows}
        if outcome.error:
            raise Violated(f"the sweep ends with {outcome.error.__name__}: {outcome.detail}")
        if outcome.value.purged > len(gone):
            raise Violated(f"the sweep reports more purges than it did: {outcome.value}")
        return after


def comparable(world: World) -> World:
    """The world, the same whoever wrote its rows last."""
    return world._replace(
        rows=frozenset(row.but(etag="last") for row in world.rows),
        users=frozenset(replace(user, etag="last") for user in world.users),
    )
