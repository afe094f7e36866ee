"""Timers and their six-field NCRONTAB schedules, in UTC.

The fields are `{second} {minute} {hour} {day} {month} {weekday}`. Unlike in cron, a day must match
both the day and the weekday field.
Source: https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from pathlib import Path
from typing import NamedTuple

from azure.functions.timer import TimerRequest

# A long sleep would end at the wrong time if the laptop is suspended or the clock is changed.
_LONGEST_SLEEP = 30.0
# 29 February on a given weekday can be 40 years away.
_HORIZON_DAYS = 41 * 366
_SHORTEST_NAME = 3
# The default of a DateTime in .NET.
_NEVER = "0001-01-01T00:00:00"


class ScheduleError(ValueError):
    """An expression that is not NCRONTAB, or that never occurs."""


class _Field(NamedTuple):
    title: str
    first: int
    last: int
    names: tuple[str, ...] = ()


_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The times at which a timer fires, as the sorted values that each field allows."""

    expression: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @classmethod
    def parse(cls, expression: str) -> "Schedule":
        """Parse numbers, `*`, ranges, lists, steps and English names of months and weekdays.

        Raises:
            ScheduleError: the message names the part that is invalid and says why.
        """
        parts = expression.split()
        if len(parts) != len(_FIELDS):
            raise ScheduleError(
                f"{expression!r} has {len(parts)} fields, {len(_FIELDS)} are required"
            )
        allowed = [_allowed(part, field) for part, field in zip(parts, _FIELDS, strict=True)]
        schedule = cls(expression, *allowed)
        schedule.next_after(datetime(2000, 1, 1))  # noqa: DTZ001 -- the time zone does not matter
        return schedule

    def next_after(self, moment: datetime) -> datetime:
        """The first occurrence after `moment`, which must be in UTC.

        Raises:
            ScheduleError: the schedule never occurs, for example on 31 February.
        """
        start = moment.replace(microsecond=0) + timedelta(seconds=1)
        for ahead in range(_HORIZON_DAYS):
            day = start.date() + timedelta(days=ahead)
            if self._includes(day):
                found = self._time_from(time.min if ahead else start.time())
                if found:
                    return datetime.combine(day, found, moment.tzinfo)
        raise ScheduleError(f"{self.expression!r} never occurs")

    def is_slow(self, moment: datetime) -> bool:
        """Whether the next occurrences are at least a minute apart."""
        first = self.next_after(moment)
        return self.next_after(first) - first >= timedelta(minutes=1)

    def _includes(self, day: date) -> bool:
        return (
            day.month in self.months
            and day.day in self.days
            and day.isoweekday() % 7 in self.weekdays
        )

    def _time_from(self, earliest: time) -> time | None:
        hours = [hour for hour in self.hours if hour >= earliest.hour]
        times = (time(*parts) for parts in product(hours, self.minutes, self.seconds))
        return next((found for found in times if found >= earliest), None)


def _allowed(text: str, field: _Field) -> tuple[int, ...]:
    allowed: set[int] = set()
    for part in text.split(","):
        allowed.update(_span(part, field))
    return tuple(sorted(allowed))


def _span(part: str, field: _Field) -> range:
    span, slash, step = part.partition("/")
    if slash and not (_is_number(step) and int(step)):
        raise ScheduleError(f"{part!r} needs a step of 1 or more for the {field.title}")
    first, last = _ends(span, field, open_ended=bool(slash))
    if not field.first <= first <= last <= field.last:
        limits = f"{field.first} to {field.last}"
        raise ScheduleError(f"{part!r} is not an ascending part of {limits} for the {field.title}")
    return range(first, last + 1, int(step or 1))


def _ends(span: str, field: _Field, *, open_ended: bool) -> tuple[int, int]:
    if span == "*":
        return field.first, field.last
    first, dash, last = span.partition("-")
    start = _value(first, field)
    if dash:
        return start, _value(last, field)
    return start, field.last if open_ended else start


def _value(text: str, field: _Field) -> int:
    if _is_number(text):
        return int(text)
    for number, name in enumerate(field.names, field.first):
        if len(text) >= _SHORTEST_NAME and name.startswith(text.lower()):
            return number
    raise ScheduleError(f"{text!r} is not a {field.title}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


class Monitor:
    """Remembers when each timer ran last and runs next, in memory and in a folder if there is one.

    The real host keeps this in the app's storage account.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._statuses: dict[str, dict[str, str]] = {}

    def status(self, name: str) -> dict[str, str] | None:
        """`Last`, `Next` and `LastUpdated` of a timer, or None if it has not run yet."""
        if name not in self._statuses and self._folder:
            with suppress(FileNotFoundError):
                text = (self._folder / f"{name}.json").read_text(encoding="utf-8")
                self._statuses[name] = json.loads(text)
        return self._statuses.get(name)

    def update(self, name: str, last: datetime | None, upcoming: datetime) -> None:
        """Record that a timer ran at `last`, and runs next at `upcoming`."""
        at = last or datetime.now(UTC)
        self._statuses[name] = {
            "Last": last.isoformat() if last else _NEVER,
            "Next": upcoming.isoformat(),
            "LastUpdated": at.isoformat(),
        }
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
            text = json.dumps(self._statuses[name])
            (self._folder / f"{name}.json").write_text(text, encoding="utf-8")


class Timer:
    """Runs one timer function on its schedule. Occurrences during a run are skipped.

    Like the real host, it monitors only schedules of a minute and more: it then runs at once, past
    due, if an occurrence was missed while the host was down.
    """

    def __init__(
        self, name: str, schedule: Schedule, monitor: Monitor, *, is_monitored: bool
    ) -> None:
        self._name = name
        self._schedule = schedule
        self._monitor = monitor
        self._is_monitored = is_monitored and schedule.is_slow(datetime.now(UTC))

    def request(self, *, past_due: bool = False) -> TimerRequest:
        """The value that the function receives."""
        status = self._monitor.status(self._name) if self._is_monitored else None
        return TimerRequest(
            past_due=past_due, schedule_status=status, schedule={"AdjustForDST": True}
        )

    async def run_on_schedule(
        self, run: Callable[[TimerRequest], Awaitable[object]], *, at_start: bool = False
    ) -> None:
        """Run at each occurrence, forever.

        Raises:
            ScheduleError: no further occurrence.
        """
        now = datetime.now(UTC)
        if self._was_missed(now):
            await self._run(run, now, past_due=True)
        elif at_start:
            await self._run(run, now)
        while True:
            now = datetime.now(UTC)
            due = self._schedule.next_after(now)
            if self._is_monitored and not self._monitor.status(self._name):
                self._monitor.update(self._name, None, due)
            await _sleep_until(due)
            await self._run(run, due)

    def _was_missed(self, now: datetime) -> bool:
        status = self._monitor.status(self._name) if self._is_monitored else None
        return status is not None and datetime.fromisoformat(status["Next"]) < now

    async def _run(
        self,
        run: Callable[[TimerRequest], Awaitable[object]],
        due: datetime,
        *,
        past_due: bool = False,
    ) -> None:
        await run(self.request(past_due=past_due))
        if self._is_monitored:
            following = self._schedule.next_after(max(due, datetime.now(UTC)))
            self._monitor.update(self._name, due, following)


async def _sleep_until(moment: datetime) -> None:
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 -- clocks have no events
        await asyncio.sleep(min(left, _LONGEST_SLEEP))
