"""Timers and their six-field NCRONTAB schedules, in UTC.

The fields are `{second} {minute} {hour} {day} {month} {weekday}`. Unlike in cron, a day must match
both the day and the weekday field.
Source: https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import NamedTuple

import azure.functions as func

# A long sleep would end at the wrong time if the laptop is suspended or the clock is changed.
_LONGEST_SLEEP = 30.0
# 29 February on a given weekday can be 40 years away.
_HORIZON_DAYS = 41 * 366
_SHORTEST_NAME = 3


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


class TimerInput(func.TimerRequest):
    """The value that a timer function receives."""

    def __init__(self) -> None:
        # In azure-functions 1.x the base class is abstract and has no constructor of its own.
        pass

    @property
    def past_due(self) -> bool:
        """Always false: the host does not remember runs that were missed while it was down."""
        return False


async def run_on_schedule(schedule: Schedule, run: Callable[[], Awaitable[object]]) -> None:
    """Run at each occurrence, forever. Occurrences during a run are skipped.

    Raises:
        ScheduleError: no further occurrence.
    """
    due = schedule.next_after(datetime.now(UTC))
    while True:
        await _sleep_until(due)
        await run()
        due = schedule.next_after(max(due, datetime.now(UTC)))


async def _sleep_until(moment: datetime) -> None:
    while (left := (moment - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 -- clocks have no events
        await asyncio.sleep(min(left, _LONGEST_SLEEP))
