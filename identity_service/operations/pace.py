"""The pace of the sweep."""

from datetime import datetime, timedelta

from identity_service.ports import Clock


class Pace:
    """Gives out turns: so many per 30 seconds, evenly; none during a pause, none after the end."""

    def __init__(self, clock: Clock, per_30s: int, end: datetime) -> None:
        self._clock = clock
        self._step = timedelta(seconds=30) / per_30s
        self._end = end
        self._next = clock.now()
        self._pauses = 0

    @property
    def is_over(self) -> bool:
        """Whether no turn is left before the end."""
        return max(self._next, self._clock.now()) >= self._end

    async def turn(self) -> bool:
        """Wait for a turn; False, at once, when it would come after the end.

        Whoever was in line when a pause began gets in line again behind it.
        """
        while not self.is_over:
            pauses, now = self._pauses, self._clock.now()
            mine = max(self._next, now)
            self._next = mine + self._step
            if mine > now:
                await self._clock.sleep((mine - now).total_seconds())
            if pauses == self._pauses:
                return True
        return False

    def pause(self, seconds: float) -> None:
        """Give out no turn for so long."""
        self._pauses += 1
        self._next = max(self._next, self._clock.now() + timedelta(seconds=seconds))
